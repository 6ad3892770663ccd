import { type Block, JobSpan, type Unsendable } from "../lib/bytes.ts";
import type { Jobs } from "./jobs.ts";
import type { Effect, RunSettings, RunState, SourceFault, SourceRetry } from "./types.ts";

/** Pauses before `getJobs` is called again after it threw, while it yields no new job in between. */
const sourceRetryMs: readonly number[] = [1_000, 2_000, 4_000, 8_000, 16_000];

/** The job or row after which a source resumes: its cursor, and the hash of its encoding by which it is recognized. */
type CursorMark = Readonly<{ cursor: Uint8Array; jobHash: Uint8Array }>;

/** What the first job of a newly opened source turned out to be. */
type FirstJob =
  /** A new job. */
  | "new"
  /** The job that `last` belongs to: the source treats `last` as inclusive. */
  | "last again"
  /** The run's first job: the source ignores `last`. */
  | "first again";

/** Remembers the last job in source order and the run's first one. Computes digests only on demand. */
export class CursorTracker {
  readonly #digest: RunSettings["digest"];
  readonly #jobs: Jobs;
  readonly #loaded: CursorMark | null;
  #firstJobHash: Uint8Array | null;
  /** Known only in the start that yielded it. */
  #firstCursor: Uint8Array | null = null;
  #latest: { item: JobSpan | Unsendable; mark: CursorMark } | null = null;

  constructor(state: RunState | null, jobs: Jobs, digest: RunSettings["digest"]) {
    this.#digest = digest;
    this.#jobs = jobs;
    this.#loaded = state?.last ?? null;
    this.#firstJobHash = state?.firstJobHash ?? null;
  }

  /** Mark of the last job ever handed out, as saved in the state's `last`; null if there is none. */
  handedOut(): CursorMark | null {
    const item = this.#jobs.lastHandedOut;
    if (item === null) return this.#loaded;
    if (this.#latest?.item !== item) this.#latest = { item, mark: this.#markOf(item) };
    return this.#latest.mark;
  }

  /** Mark of the last job yielded, handed out or not. */
  yielded(): CursorMark | null {
    const item = this.#jobs.fresh.last;
    return item === undefined ? this.handedOut() : this.#markOf(item);
  }

  /** Hash of the run's very first job; null until that was handed out. */
  get firstJobHash(): Uint8Array | null {
    return this.#jobs.counts.handedOut === 0 ? null : this.#firstJobHash;
  }

  /** Compares the first job or row of the source with the one it was opened after (null on a fresh start). */
  recognize(item: JobSpan | Unsendable, openedAfter: CursorMark | null): FirstJob {
    const first = this.#markOf(item);
    if (this.#jobs.nextSeq === 0) {
      this.#firstJobHash = first.jobHash;
      this.#firstCursor = first.cursor;
    }
    if (openedAfter === null) return "new";
    if (isEqual(first.cursor, openedAfter.cursor) && isEqual(first.jobHash, openedAfter.jobHash)) {
      return "last again";
    }
    return this.#isFirstOfRun(first) ? "first again" : "new";
  }

  #isFirstOfRun({ cursor, jobHash }: CursorMark): boolean {
    if (this.#firstJobHash === null || !isEqual(jobHash, this.#firstJobHash)) return false;
    return this.#firstCursor === null || isEqual(cursor, this.#firstCursor);
  }

  #markOf(item: JobSpan | Unsendable): CursorMark {
    if (!(item instanceof JobSpan)) return { cursor: item.cursor, jobHash: this.#digest(standInFor(item)) };
    return { cursor: item.cursor(item.seq).slice(), jobHash: this.#digest(item.job(item.seq)) };
  }
}

/** Stands in for the encoding of a row, which has none. No CBOR item begins with ff. */
function standInFor({ cursor }: Unsendable): Uint8Array {
  const bytes = new Uint8Array(1 + cursor.length);
  bytes[0] = 0xff;
  bytes.set(cursor, 1);
  return bytes;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/**
 * The run's view of the source: when to call `getJobs`, and how its first job shows that it treats `last`.
 *
 *              ended
 *     OPEN ------------> ENDED          CLOSED (from any state: a stop, or a finished run that starts over)
 *     ^  |
 *     |  | failed
 *     |  v
 *   WAITING ----------> GIVEN UP
 *     fatal, or five times without a new job
 *
 * - OPEN: `getJobs` was called and may yield.
 * - WAITING: `getJobs` threw; it is called again at `retryAtMs`, with the cursor of the last job it yielded.
 * - GIVEN UP: the jobs yielded so far finish, then the run ends. Also reached from OPEN if the source threw after new
 *   jobs and then started over.
 * - ENDED: the source has no more jobs.
 * - CLOSED: anything the source still yields is ignored.
 */
export class SourceState {
  mode: "open" | "waiting" | "given up" | "ended" | "closed" = "open";
  /** When to open the source again; Infinity unless waiting. */
  retryAtMs = Infinity;
  /** What the source threw last. */
  fault: SourceFault = { message: "", startedOver: false };
  /** The source of a completed run started over: nothing may be handed out. */
  ignoredLast = false;
  readonly #jobs: Jobs;
  readonly #cursorTracker: CursorTracker;
  readonly #emit: (effect: Effect) => void;
  /** Whether the run was complete when this start began. */
  readonly #wasComplete: boolean;
  #openedAfter: CursorMark | null;
  /** Whether the next job is the first since the source was opened. */
  #isFirst = true;
  /** Whether the source yielded a new job in this start. */
  #hasYielded = false;
  /** Whether the source had more at hand than it yielded last. */
  #hasMoreAtHand = false;
  #failures = 0;

  /** Emits the effect that opens the source. */
  constructor(
    jobs: Jobs,
    cursorTracker: CursorTracker,
    wasComplete: boolean,
    emit: (effect: Effect) => void,
  ) {
    this.#jobs = jobs;
    this.#cursorTracker = cursorTracker;
    this.#wasComplete = wasComplete;
    this.#emit = emit;
    this.#openedAfter = cursorTracker.handedOut();
    this.#emit({ kind: "open source", last: this.#openedAfter?.cursor });
  }

  /** Accepts new jobs; drops the first one if it was handed out before. */
  yielded(block: Block, moreAtHand: boolean): void {
    if (this.mode !== "open" || block.ends.length === 0) return;
    this.#hasMoreAtHand = moreAtHand;
    const from = this.#isFirst ? this.#takeFirst(new JobSpan(block, 0, 1, 0)) : 0;
    if (from >= block.ends.length) return;
    this.#noteNew();
    this.#jobs.yielded(block, from);
  }

  /** Accepts an unsendable row, unless it was handled before. */
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

  /** Whether the source had more at hand than it yielded, since the last call of this method. */
  takeMoreAtHand(): boolean {
    const has = this.#hasMoreAtHand;
    this.#hasMoreAtHand = false;
    return has;
  }

  /** Returns how many of the first jobs must not run: `Infinity` for all. */
  #takeFirst(first: JobSpan | Unsendable): number {
    this.#isFirst = false;
    switch (this.#cursorTracker.recognize(first, this.#openedAfter)) {
      case "last again":
        return 1;
      case "first again":
        return this.#startsOver() ? 0 : Infinity;
      case "new":
        return 0;
    }
  }

  /**
   * Returns whether jobs run again because the source started over. At most once per start: a source that throws midway
   * would otherwise never get further.
   */
  #startsOver(): boolean {
    if (this.#hasYielded) this.#giveUpStartingOver();
    else if (this.#wasComplete && this.#jobs.unsettled === 0) {
      this.ignoredLast = true;
      this.close();
    } else {
      this.#jobs.sourceStartedOver();
      this.#emit({ kind: "notice", notice: { code: "source started over" } });
      return true;
    }
    return false;
  }

  #giveUpStartingOver(): void {
    this.mode = "given up";
    this.fault = { ...this.fault, startedOver: true };
    this.#noteFailure({ kind: "given up", failures: this.#failures });
    this.#emit({ kind: "close source" });
  }

  ended(): void {
    if (this.mode === "open") this.mode = "ended";
  }

  failed(message: string, isFatal: boolean, nowMs: number): void {
    if (this.mode !== "open") return;
    this.fault = { message, startedOver: false };
    const pauseMs = isFatal ? undefined : sourceRetryMs[this.#failures++];
    this.mode = pauseMs === undefined ? "given up" : "waiting";
    if (pauseMs !== undefined) {
      this.retryAtMs = nowMs + pauseMs;
      return this.#noteFailure({ kind: "called again", pauseMs });
    }
    this.#noteFailure(isFatal ? { kind: "hopeless" } : { kind: "given up", failures: this.#failures });
  }

  #noteFailure(next: SourceRetry): void {
    this.#emit({ kind: "notice", notice: { code: "source failed", fault: this.fault, next } });
  }

  /** Opens the source again if it is time. */
  tick(nowMs: number): void {
    if (nowMs < this.retryAtMs) return;
    this.mode = "open";
    this.retryAtMs = Infinity;
    this.#isFirst = true;
    this.#openedAfter = this.#cursorTracker.yielded();
    this.#emit({ kind: "open source", last: this.#openedAfter?.cursor });
  }

  /** Forgets jobs not handed out yet: another start yields them again. */
  close(): void {
    const wasOpen = this.mode === "open";
    this.mode = "closed";
    this.retryAtMs = Infinity;
    this.#jobs.forgetFresh();
    if (wasOpen) this.#emit({ kind: "close source" });
  }
}
