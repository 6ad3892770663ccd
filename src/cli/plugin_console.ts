import { Console } from "node:console";
import { Writable } from "node:stream";

/** Sends what a plugin writes with `console` to `writeLine`, a line at a time: stdout is for data, and stderr has a status. */
export function redirectConsole(writeLine: (line: string) => void): void {
  const stream = new LineStream(writeLine);
  const console = new Console({ stdout: stream, stderr: stream, colorMode: false });
  for (
    const name of [
      "log",
      "info",
      "debug",
      "warn",
      "error",
      "table",
      "dir",
      "trace",
      "group",
      "groupEnd",
    ] as const
  ) {
    globalThis.console[name] = console[name].bind(console) as never;
  }
}

/** Cuts what is written into lines. */
export class LineStream extends Writable {
  readonly #writeLine: (line: string) => void;
  #rest = "";

  constructor(writeLine: (line: string) => void) {
    super({ decodeStrings: false });
    this.#writeLine = writeLine;
  }

  override _write(chunk: string | Uint8Array, _: string, done: () => void): void {
    const lines = (this.#rest + (typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk))).split(
      "\n",
    );
    this.#rest = lines.pop()!;
    for (const line of lines) this.#writeLine(line);
    done();
  }

  override _final(done: () => void): void {
    if (this.#rest !== "") this.#writeLine(this.#rest);
    this.#rest = "";
    done();
  }
}
