import { Writable } from "node:stream";
import type { DeadLetter } from "../core/types.ts";
import { writeNow } from "../lib/exit_guard.ts";
import { formatAddress } from "../lib/units.ts";
import type { Master, MasterEvent, MasterResult, MasterStatus } from "../master/types.ts";
import { EventWriter } from "../terminal/events.ts";

/** Says on stdout, for `--json`, what happens at a master. */
export class MasterEvents {
  readonly #writer: EventWriter | null;
  /** What happened before `started`, which is to come first. */
  #held: MasterEvent[] | null = [];

  /** Null: nothing is to be said. */
  constructor(writer: EventWriter | null) {
    this.#writer = writer;
  }

  started(master: Master, key: string): void {
    const { runId, resumed, statePath, fingerprint } = master;
    this.#writer?.write({ event: "started", key, runId, resumed, statePath });
    this.#writer?.write({
      event: "listening",
      address: formatAddress(master.address),
      ...master.address,
      fingerprint,
    });
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of held) this.happened(event);
  }

  happened(event: MasterEvent): void {
    if (this.#held !== null) return void this.#held.push(event);
    switch (event.kind) {
      case "joined":
        return this.#writer?.write({
          event: "joined",
          session: event.session,
          slave: event.slave,
          procs: event.procs,
        });
      case "left":
        return this.#writer?.write({
          event: "left",
          session: event.session,
          slave: event.slave,
          reason: event.reason,
        });
      case "late": {
        const { slave, errors, count } = event;
        return this.#writer?.write({ event: "late", slave, errors, count });
      }
      case "warning":
        return this.#writer?.write({ event: "warning", message: event.message });
      case "dead letters":
        return event.letters.forEach((letter) => this.#dead(letter));
      case "stopping":
        return this.#writer?.write({ event: "stopping" });
      case "saved":
      case "ended":
        return;
      default:
        return event satisfies never;
    }
  }

  status(status: MasterStatus, ratePerSecond: number): void {
    this.#writer?.write({ event: "status", ratePerSecond, ...status });
  }

  ended(
    { outcome, status, late, elapsedMs, savedFinally, error, finishFault, statePath, deadPath }: MasterResult,
    exitCode: number,
  ): void {
    const { failures, handedOut, handedOutAgain, done, skipped, dead, stranded } = status;
    const { repeated, repeatedAtLeast } = status;
    this.#writer?.write({
      event: "ended",
      outcome,
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
    });
  }

  /** The process ends: what is not written at once never is. */
  endedEarly(result: MasterResult): void {
    // A line that is not written whole would take this one with it.
    if (this.#writer === null || process.stdout.writableLength > 0) return;
    const output = new Writable({ write: (text, _, done) => (writeNow(1, String(text)), done()) });
    new MasterEvents(new EventWriter(output)).ended(result, 1);
  }

  #dead({ seq, history, row }: DeadLetter): void {
    const last = history.attempts.at(-1);
    const { failures, crashes } = history;
    this.#writer?.write({
      event: "dead",
      seq,
      failures,
      crashes,
      how: last?.how,
      message: last?.message,
      slave: last?.slave,
      ...(row === undefined ? {} : { path: row.path, reason: row.reason }),
    });
  }
}
