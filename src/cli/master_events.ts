import { Writable } from "node:stream";
import { writeNow } from "../lib/exit_guard.ts";
import type { MasterResult } from "../master/types.ts";
import type { MasterEvent, MasterStatus } from "../observe/events.ts";
import { EventWriter, linesOf, outcomeForJson, type ProgramEvent, statusLine } from "../observe/ndjson.ts";

/** Says on stdout, for `--json`, what happens at a master. */
export class MasterEvents {
  readonly #writer: EventWriter | null;

  /** Null: nothing is to be said. */
  constructor(writer: EventWriter | null) {
    this.#writer = writer;
  }

  happened(event: MasterEvent): void {
    if (this.#writer !== null) { for (const line of linesOf(event)) this.#writer.write(line); }
  }

  status(status: MasterStatus): void {
    this.#writer?.write(statusLine(status));
  }

  ended(result: MasterResult, exitCode: number): void {
    this.#writer?.write(endedLine(result, exitCode));
  }

  /** The process ends: what is not written at once never is. */
  endedEarly(result: MasterResult): void {
    // A line that is not written whole would take this one with it.
    if (this.#writer === null || process.stdout.writableLength > 0) return;
    const output = new Writable({ write: (text, _, done) => (writeNow(1, String(text)), done()) });
    new EventWriter(output).write(endedLine(result, 1));
  }
}

function endedLine(
  { outcome, status, late, elapsedMs, savedFinally, error, finishFault, statePath, deadPath }: MasterResult,
  exitCode: number,
): ProgramEvent {
  const { failures, handedOut, handedOutAgain, done, skipped, dead, stranded } = status;
  const { repeated, repeatedAtLeast } = status;
  return {
    event: "ended",
    outcome: outcomeForJson(outcome),
    exitCode,
    handedOut,
    handedOutAgain,
    done,
    skipped,
    dead,
    stranded,
    repeated,
    repeatedAtLeast,
    elapsedMs,
    savedFinally,
    failures,
    lateErrors: late.count,
    late: late.errors,
    statePath,
    deadPath,
    ...(finishFault === null ? {} : { onFinish: finishFault }),
    ...(error === undefined ? {} : { error: error.message }),
  };
}
