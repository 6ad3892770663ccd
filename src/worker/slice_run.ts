import { elapsed } from "../lib/clock.ts";
import { jobErrorBytesMax } from "../lib/limits.ts";
import { includes, type Ranges, RangeSet, rangesOf } from "../lib/ranges.ts";
import type { JobSlice, Result } from "../plugin/handler.ts";
import { decodeJobs } from "../protocol/cbor.ts";
import type { Failure, SupervisorMessage, WorkerMessage } from "../protocol/messages.ts";

export type SliceMessage = Extract<SupervisorMessage, { kind: "slice" }>;
type AnswerMessage = Extract<WorkerMessage, { kind: "answer" }>;

/** Most text of several failures in one answer: many failing jobs must not make a frame of megabytes. */
const failureCharsMax = 256 << 10;
/** Counted for each failure besides its text. */
const failureChars = 64;

/**
 * One slice in a worker: which of its jobs have not begun, and the results of the others since the last answer.
 */
export class SliceRun implements JobSlice {
  readonly number: number;
  readonly attempt: number;
  /** Of the first job. */
  readonly seq: number;
  /** The decoded jobs; empty until `decode`. */
  jobs: readonly unknown[] = [];
  /** The next job to begin. */
  next: number;
  /** One past the last job to begin; comes down to `next` when the rest is handed back. */
  end: number;
  /** Calls that go on. */
  running = 0;
  /** When the oldest of the jobs not yet answered ended; Infinity if there is none. */
  endedAtMs = Infinity;
  /** Jobs that ended, or came back, and are not yet answered. */
  unanswered = 0;
  readonly #count: number;
  #bytes: Uint8Array | null;
  readonly #done = new RangeSet();
  /** Jobs done out of order. */
  #scattered: number[] = [];
  #skipped: number[] = [];
  #failed: Failure[] = [];
  #failureChars = 0;
  readonly #released = new RangeSet();
  /** Jobs that cannot be run, in order of their seqs, and why not. */
  readonly #refused: { seq: number; message: string }[] = [];
  #refusedAt = 0;

  constructor(message: SliceMessage) {
    this.number = message.slice;
    this.attempt = message.attempt;
    this.seq = message.seq;
    this.#count = message.count;
    this.next = message.seq;
    this.end = message.seq + message.count;
    this.#bytes = message.jobs;
  }

  /** Decodes `jobs` when the slice begins, not when it arrives. Returns false if that was done before. */
  decode(): boolean {
    if (this.#bytes === null) return false;
    this.jobs = decodeJobs(this.#bytes, this.#count, (index, { message }) => {
      this.#refused.push({
        seq: this.seq + index,
        message: `It was not run: its bytes break a rule of the protocol. ${message}`,
      });
    });
    this.#bytes = null;
    return true;
  }

  /** One past the last job to begin before one that cannot be run. */
  get soundEnd(): number {
    return Math.min(this.end, this.#refused[this.#refusedAt]?.seq ?? Infinity);
  }

  /** The next job cannot be run: it is over, for no attempt at it can help. */
  refuseNext(nowMs: number): void {
    const { seq, message } = this.#refused[this.#refusedAt++]!;
    this.next = seq + 1;
    this.record(seq, { kind: "failed", how: "fatal", message, stack: "" }, 0, nowMs);
  }

  /** Nothing is left to begin and nothing runs. */
  get isOver(): boolean {
    return this.next === this.end && this.running === 0;
  }

  get isAnswerLarge(): boolean {
    return this.#failureChars > failureCharsMax;
  }

  /** Jobs `from` up to `to`, one after the other, are done. */
  done(from: number, to: number, nowMs: number): void {
    if (from === to) return;
    this.#done.add(from, to);
    this.#ended(to - from, nowMs);
  }

  /** One job ended, in whatever order, `durationMs` after it began. */
  record(seq: number, result: Result, durationMs: number, nowMs: number): void {
    switch (result.kind) {
      case "done":
        this.#scattered.push(seq);
        break;
      case "skipped":
        this.#skipped.push(seq);
        break;
      case "released": // its abort cost nothing: it is handed back although it began
        this.#released.add(seq, seq + 1);
        break;
      case "failed": {
        const { how, message } = result;
        const stack = result.stack.slice(0, jobErrorBytesMax);
        this.#failed.push({ seq, how, message, stack, durationMs: elapsed(durationMs) });
        this.#failureChars += message.length + stack.length;
        break;
      }
      default:
        return result satisfies never;
    }
    this.#ended(1, nowMs);
  }

  /** Hands back what has not begun. */
  withdraw(nowMs: number): void {
    if (this.next === this.end) return;
    this.#released.add(this.next, this.end);
    this.#ended(this.end - this.next, nowMs);
    this.end = this.next;
  }

  /** Whether one of these jobs has not begun. */
  awaits(jobs: Ranges): boolean {
    for (let seq = this.next; seq < this.end; seq++) if (includes(jobs, seq)) return true;
    return false;
  }

  /** What ended since the answers before: one, or more where much failed at once. */
  takeAnswers(busyMs: number): AnswerMessage[] {
    if (this.#scattered.length > 0) this.#done.addAll(rangesOf(this.#scattered));
    const [failed, ...more] = partsOf(this.#failed);
    const first: AnswerMessage = {
      kind: "answer",
      slice: this.number,
      done: this.#done.ranges,
      skipped: rangesOf(this.#skipped),
      failed: failed ?? [],
      released: this.#released.ranges,
      busyMs: elapsed(busyMs),
    };
    const rest = more.map((failed) => ({
      ...first,
      done: [],
      skipped: [],
      failed,
      released: [],
      busyMs: 0,
    }));
    this.#done.clear();
    this.#released.clear();
    this.#scattered = [];
    this.#skipped = [];
    this.#failed = [];
    this.#failureChars = 0;
    this.endedAtMs = Infinity;
    this.unanswered = 0;
    return [first, ...rest];
  }

  #ended(count: number, nowMs: number): void {
    this.unanswered += count;
    if (nowMs < this.endedAtMs) this.endedAtMs = nowMs;
  }
}

/** Cuts failures where their text exceeds what one answer may hold. */
function partsOf(failed: readonly Failure[]): Failure[][] {
  const parts: Failure[][] = [];
  let chars = Infinity;
  for (const failure of failed) {
    const more = failure.message.length + failure.stack.length + failureChars;
    if (chars + more > failureCharsMax) {
      parts.push([]);
      chars = 0;
    }
    parts.at(-1)!.push(failure);
    chars += more;
  }
  return parts;
}
