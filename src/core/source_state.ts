import { type Block, JobSpan, type Unsendable } from "../base/job_span.ts";
import { errorMessageCharsMax, sourceRetryMs } from "../base/limits.ts";
import { asClause, printable } from "../base/printable.ts";
import type { Furthest, Mark } from "./furthest.ts";
import { headline, placeIn } from "./headline.ts";
import type { Jobs } from "./jobs.ts";
import type { Effect } from "./types.ts";

/**
 * The run's side of the source: when `getJobs` is called, and what its first job says of how it reads `last`.
 *
 *              ended
 *     OPEN ------------> ENDED          CLOSED (from any state: a stop, or a finished run that starts over)
 *     ^  |
 *     |  | failed
 *     |  v
 *   WAITING ----------> GIVEN UP
 *     fatal, or five times without a new job
 *
 * - OPEN: `getJobs` was called, and may yield.
 * - WAITING: it threw; it is called again at `retryAtMs`, with the cursor of the last job it yielded.
 * - GIVEN UP: what it yielded finishes, then the run ends. Also from OPEN: it threw after new jobs, and started over.
 * - ENDED: it has no more jobs.
 * - CLOSED: whatever it still yields is ignored.
 */
export class SourceState {
  mode: "open" | "waiting" | "given up" | "ended" | "closed" = "open";
  /** When it is to be opened again; Infinity unless it waits. */
  retryAtMs = Infinity;
  /** What it threw last. */
  message = "";
  /** A finished run's source started over: nothing may be handed out. */
  ignoredLast = false;
  readonly #jobs: Jobs;
  readonly #furthest: Furthest;
  readonly #emit: (effect: Effect) => void;
  /** Whether the run was complete when this start began. */
  readonly #wasComplete: boolean;
  #openedAfter: Mark | null;
  /** Whether the next job is the first since it was opened. */
  #isFirst = true;
  /** Whether it yielded a new job in this start. */
  #hasYielded = false;
  /** Whether it had more at hand than it yielded last. */
  #hasMoreAtHand = false;
  #failures = 0;

  /** Opens the source. */
  constructor(jobs: Jobs, furthest: Furthest, wasComplete: boolean, emit: (effect: Effect) => void) {
    this.#jobs = jobs;
    this.#furthest = furthest;
    this.#wasComplete = wasComplete;
    this.#emit = emit;
    this.#openedAfter = furthest.handedOut();
    this.#emit({ kind: "open source", last: this.#openedAfter?.cursor });
  }

  /** Takes in new jobs; drops a first one that was handed out before. */
  yielded(block: Block, moreAtHand: boolean): void {
    if (this.mode !== "open" || block.ends.length === 0) return;
    this.#hasMoreAtHand = moreAtHand;
    const from = this.#isFirst ? this.#takeFirst(new JobSpan(block, 0, 1, 0)) : 0;
    if (from >= block.ends.length) return;
    this.#noteNew();
    this.#jobs.yielded(block, from);
  }

  /** Takes in a row that cannot be sent, unless it was dealt with before. */
  yieldedRow(row: Unsendable): void {
    if (this.mode !== "open") return;
    this.#hasMoreAtHand = true;
    if (this.#isFirst && this.#takeFirst(row) > 0) return;
    this.#noteNew();
    this.#jobs.yieldedRow(row);
  }

  #noteNew(): void {
    this.#hasYielded = true;
    this.#failures = 0;
  }

  /** Whether it had more at hand than it yielded since this was asked before. */
  takeMoreAtHand(): boolean {
    const has = this.#hasMoreAtHand;
    this.#hasMoreAtHand = false;
    return has;
  }

  /** Returns how many of the first jobs are not to run. */
  #takeFirst(first: JobSpan | Unsendable): number {
    this.#isFirst = false;
    switch (this.#furthest.recognize(first, this.#openedAfter)) {
      case "last again":
        return 1;
      case "first again":
        return this.#startsOver() ? 0 : Infinity;
      case "new":
        return 0;
    }
  }

  /** Returns whether its jobs run again: once a start at most, for one that throws midway would never come further. */
  #startsOver(): boolean {
    if (this.#hasYielded) this.#giveUpStartingOver();
    else if (this.#wasComplete && this.#jobs.unsettled === 0) {
      this.ignoredLast = true;
      this.close();
    } else {
      this.#jobs.sourceStartedOver();
      this.#emit({
        kind: "warn",
        message: `${startedOver}, so jobs that are done run again. ${advice}, or use --reset to start over.`,
      });
      return true;
    }
    return false;
  }

  #giveUpStartingOver(): void {
    this.mode = "given up";
    const threw = this.message;
    const fault = `${startedOver}, after it threw`;
    this.message = `${fault}. ${advice}.\n${threw}`;
    this.#emit({
      kind: "warn",
      message: `${fault}, and is given up: ${inOneLine(threw)}. ${advice}. ${end}${whereOf(threw)}`,
    });
    this.#emit({ kind: "close source" });
  }

  ended(): void {
    if (this.mode === "open") this.mode = "ended";
  }

  failed(message: string, isFatal: boolean, nowMs: number): void {
    if (this.mode !== "open") return;
    this.message = message;
    const pauseMs = sourceRetryMs[this.#failures++];
    this.mode = isFatal || pauseMs === undefined ? "given up" : "waiting";
    if (this.mode === "waiting") this.retryAtMs = nowMs + pauseMs!;
    this.#warnOfFailure(isFatal, pauseMs);
  }

  /** Of the stack only its place is told: the rest is left to the end, for a source that is called again shows it in vain. */
  #warnOfFailure(isFatal: boolean, pauseMs: number | undefined): void {
    const next = this.mode === "waiting"
      ? `it is called again in ${pauseMs! / 1_000} s.`
      : isFatal
      ? `calling it again cannot help. ${end}`
      : `it threw ${this.#failures} times without a new job, and is given up. ${end}`;
    this.#emit({
      kind: "warn",
      message: `${inOneLine(this.message, isFatal)}; ${next}${whereOf(this.message)}`,
    });
  }

  /** Calls `getJobs` again if it is time. */
  tick(nowMs: number): void {
    if (nowMs < this.retryAtMs) return;
    this.mode = "open";
    this.retryAtMs = Infinity;
    this.#isFirst = true;
    this.#openedAfter = this.#furthest.yielded();
    this.#emit({ kind: "open source", last: this.#openedAfter?.cursor });
  }

  /** Whatever it has not handed out yet is forgotten: another start yields it again. */
  close(): void {
    const wasOpen = this.mode === "open";
    this.mode = "closed";
    this.retryAtMs = Infinity;
    this.#jobs.forgetFresh();
    if (wasOpen) this.#emit({ kind: "close source" });
  }
}

const startedOver = "getJobs ignores `last`: its first job is the run's first job again";
const advice = "Let getJobs(last) begin at `last`";
const end = "What it yielded is finished, then the run ends, resumable.";

/** A fault that nobody but the plugin's author can mend is told whole. */
function inOneLine(message: string, isWhole = false): string {
  return asClause(printable(headline(message), isWhole ? errorMessageCharsMax : undefined));
}

function whereOf(message: string): string {
  const place = placeIn(message);
  return place === "" ? "" : ` It was thrown at ${printable(place)}.`;
}
