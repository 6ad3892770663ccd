import { countOf, includes, type Ranges, rangesOfSpans, type Span } from "../../src/lib/ranges.ts";
import { makeWatch } from "../../src/lib/watchdog.ts";
import { type JobHandler, JobSignal, type Pending, type Result } from "../../src/plugin/handler.ts";
import { encode } from "../../src/protocol/cbor.ts";
import type { WorkerMessage } from "../../src/protocol/messages.ts";
import { JobTags } from "../../src/worker/late_errors.ts";
import type { Notes } from "../../src/worker/notes.ts";
import { Runner } from "../../src/worker/runner.ts";

type Answer = Extract<WorkerMessage, { kind: "answer" }>;
export const done: Result = { kind: "done" };

/** Notes that remember what may run, `ahead` jobs at a time. */
class MemoryNotes implements Notes {
  from = 0;
  to = 0;
  written = 0;
  readonly ahead: number;
  readonly #held = new Map<number, Span>();
  #places = 0;
  #only: Ranges | null = null;

  constructor(ahead: number) {
    this.ahead = ahead;
  }

  get running(): Ranges {
    return this.#only ?? rangesOfSpans(this.#held.values());
  }

  get isExact(): boolean {
    return this.from === this.to;
  }

  coveredTo(next: number): number {
    return next >= this.from && next < this.to ? this.to : next;
  }

  cover(next: number, callEnd: number, end: number): void {
    const to = Math.max(callEnd, Math.min(next + this.ahead, end));
    [this.from, this.to] = [next, to];
    this.written++;
  }

  hold(from: number, to: number): number {
    this.#held.set(this.#places, { from, to });
    return this.#places++;
  }

  free(place: number): void {
    this.#held.delete(place);
  }

  rest(): void {}

  settle(): void {
    this.from = this.to;
    this.written++;
  }

  nameOnly(jobs: Ranges): void {
    this.#only = jobs;
    this.settle();
  }

  names(seq: number): boolean {
    return includes(this.running, seq) || (seq >= this.from && seq < this.to);
  }
}

export type Bench = {
  runner: Runner;
  notes: MemoryNotes;
  said: WorkerMessage[];
  faults: unknown[];
  answers: () => Answer[];
  ended: () => number;
  until: (test: () => boolean) => Promise<void>;
  watch: Float64Array;
};

/** A runner of this handler, or of one that answers so for one job at a time. */
export function bench(
  run: JobHandler | ((seq: number, signal: JobSignal) => Result | Promise<Result>),
  {
    concurrency = 1,
    timeoutMs = 0,
    ahead = 7,
    hasUnsent = (): boolean => false,
    nowMs = (): number => performance.now(),
  } = {},
): Bench {
  const said: WorkerMessage[] = [];
  const faults: unknown[] = [];
  const notes = new MemoryNotes(ahead);
  const watch = makeWatch();
  const runner = new Runner({
    handler: typeof run === "function"
      ? { jobsPerCall: 1, run: (_slice, seq) => attempt((signal) => run(seq, signal)) }
      : run,
    notes,
    tags: new JobTags(),
    watch,
    concurrency,
    timeoutMs,
    say: (message) => said.push(message),
    onFault: (error) => faults.push(error),
    hasUnsent,
    nowMs,
  });
  const answers = () => said.filter((message): message is Answer => message.kind === "answer");
  return {
    runner,
    notes,
    said,
    faults,
    answers,
    watch,
    ended: () => answers().reduce((sum, { done, failed }) => sum + countOf(done) + failed.length, 0),
    until: async (test) => {
      while (!test()) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

function attempt(run: (signal: JobSignal) => Result | Promise<Result>): Result | Pending {
  const signal = new JobSignal();
  const ended = run(signal);
  return ended instanceof Promise ? { kind: "pending", ended, signal, startedMs: undefined } : ended;
}

export function slice(number: number, seq: number, count: number) {
  const jobs = new Uint8Array(Buffer.concat(Array.from({ length: count }, () => encode({}))));
  return { kind: "slice", slice: number, seq, count, attempt: 1, jobs } as const;
}
