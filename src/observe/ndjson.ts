import type { DeadLetter, Outcome } from "../core/types.ts";
import { isoTime } from "../lib/clock.ts";
import { safeJson } from "../lib/text.ts";
import { formatAddress } from "../lib/units.ts";
import type { MasterEvent, MasterStatus, RunReason } from "./events.ts";
import { reasonInWords, sourceFaultInWords } from "./phrases.ts";

/** Every event of `--json`, each with a remark for the help of its command. */
export const jsonEvents = {
  master: {
    started: "",
    listening: "",
    joined: "",
    left: "",
    late: "errors that came after their job had ended",
    warning: "",
    control: "what an operator did",
    dead: "one a dead letter",
    status: "every --status-interval",
    stopping: "",
    ended: "with exitCode and the counts",
  },
  slave: { started: "", state: "", status: "every --status-interval", ended: "with exitCode" },
} as const;

type EventName = { [P in keyof typeof jsonEvents]: keyof (typeof jsonEvents)[P] }[keyof typeof jsonEvents];

/** What `--json` writes, one object a line. */
export type ProgramEvent = Readonly<{ event: EventName } & Record<string, unknown>>;

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

/** The lines of `--json` for what happens at a master: one event, or one a dead letter; none where nobody is told. */
export function linesOf(event: MasterEvent): readonly ProgramEvent[] {
  switch (event.kind) {
    case "started": {
      const { key, runId, resumed, statePath, address, fingerprint } = event;
      const listening = { address: formatAddress(address), ...address, fingerprint };
      return [{ event: "started", key, runId, resumed, statePath }, { event: "listening", ...listening }];
    }
    case "joined": {
      const { session, slave, procs } = event;
      return [{ event: "joined", session, slave, procs }];
    }
    case "left": {
      const { session, slave, reason } = event;
      return [{ event: "left", session, slave, reason }];
    }
    case "late": {
      const { slave, errors, count } = event;
      return [{ event: "late", slave, errors, count }];
    }
    case "warning":
      return [{ event: "warning", message: event.message }];
    case "control": {
      const { command, value, by } = event;
      return [{ event: "control", command, value, by }];
    }
    case "dead letters":
      return event.letters.map(deadLine);
    case "stopping":
      return [{ event: "stopping" }];
    case "log":
    case "attempt failed":
    case "saved":
    case "ended":
      return [];
    default:
      return event satisfies never;
  }
}

function deadLine({ seq, history, row }: DeadLetter): ProgramEvent {
  const last = history.attempts.at(-1);
  const { failures, crashes } = history;
  return {
    event: "dead",
    seq,
    failures,
    crashes,
    how: last?.how,
    message: last?.message,
    slave: last?.slave,
    ...(row === undefined ? {} : { path: row.path, reason: row.reason }),
  };
}

/** The line of a run's numbers. */
export function statusLine(status: MasterStatus): ProgramEvent {
  return { event: "status", ...status, ...reasonForJson(status.reason) };
}

/** `reason` is in words for people, `reasonCode` for programs. */
export function reasonForJson(reason: RunReason): { reason: string; reasonCode: string } {
  return { reason: reasonInWords(reason), reasonCode: reason.code };
}

/** An outcome as it is written: what the source threw in words. */
export function outcomeForJson(outcome: Outcome): Readonly<Record<string, unknown>> {
  if (outcome.kind !== "source failed") return outcome;
  return { kind: outcome.kind, message: sourceFaultInWords(outcome) };
}
