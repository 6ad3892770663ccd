import { isoTime } from "../lib/clock.ts";
import { safeJson } from "../lib/text.ts";

/** What `--json` writes, one object a line. `docs` of the fields are in the command's help. */
type ProgramEvent = Readonly<{ event: string } & Record<string, unknown>>;

/** Writes events to stdout as newline-delimited JSON; each is stamped with the wall-clock time in ISO 8601, UTC. What is unsafe to show is escaped. */
export class EventWriter {
  readonly #output: NodeJS.WritableStream;
  #isBroken = false;

  constructor(output: NodeJS.WritableStream) {
    this.#output = output;
    // A reader that went away must not end a run.
    output.on("error", () => this.#isBroken = true);
  }

  write(event: ProgramEvent): void {
    if (this.#isBroken) return;
    const { event: name, ...fields } = event;
    this.#output.write(
      `${safeJson(JSON.stringify({ event: name, at: isoTime(), ...fields }, jsonValue))}\n`,
    );
  }
}

/** JSON has neither big integers nor bytes: they are written as decimal text and as base64. */
function jsonValue(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64");
  }
  return value;
}
