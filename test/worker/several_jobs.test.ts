import t from "tap";
import { watchSlots } from "../../src/lib/watchdog.ts";
import {
  type CallResult,
  type JobHandler,
  JobSignal,
  type JobSlice,
  type Pending,
  type Result,
} from "../../src/plugin/handler.ts";
import { type Bench, bench, done, slice } from "./bench.ts";

const skipped: Result = { kind: "skipped", reason: "old" };
const threw: Result = { kind: "failed", how: "threw", message: "no", stack: "" };

/** Takes slices as a whole, or so many jobs at once, and remembers what it was called for. */
class BatchHandler implements JobHandler {
  readonly calls: { from: number; to: number; jobs: readonly unknown[] }[] = [];
  readonly jobsPerCall: number;
  readonly #answer: (from: number, to: number) => CallResult | Pending;

  constructor(jobsPerCall: number, answer: (from: number, to: number) => CallResult | Pending = () => done) {
    this.jobsPerCall = jobsPerCall;
    this.#answer = answer;
  }

  run({ seq, jobs }: JobSlice, from: number, to: number): CallResult | Pending {
    this.calls.push({ from, to, jobs: jobs.slice(from - seq, to - seq) });
    return this.#answer(from, to);
  }

  get spans(): number[][] {
    return this.calls.map(({ from, to }) => [from, to]);
  }
}

function pending(signal = new JobSignal()): { call: Pending; end: (result: CallResult) => void } {
  let end!: (result: CallResult) => void;
  const ended = new Promise<CallResult>((resolve) => end = resolve);
  return { call: { kind: "pending", ended, signal, startedMs: undefined }, end };
}

t.test("a handler may take a slice as a whole, and answer for each of its jobs", async (t) => {
  const each = [done, skipped, threw, { kind: "released" }, done] as const;
  const answers: readonly (() => CallResult | Pending)[] = [
    () => ({ kind: "each", results: each }),
    () => {
      const { call, end } = pending();
      end({ kind: "each", results: each });
      return call;
    },
  ];
  for (const answer of answers) {
    const handler = new BatchHandler(Infinity, answer);
    const b = bench(handler);
    b.runner.slice(slice(1, 20, 5));
    await b.until(() => b.answers().length > 0);
    t.same(handler.calls, [{ from: 20, to: 25, jobs: [{}, {}, {}, {}, {}] }]);
    t.match(b.answers(), [{
      slice: 1,
      done: [20, 21, 24, 25],
      skipped: [21, 22],
      failed: [{ seq: 22 }],
      released: [23, 24],
    }]);
    t.ok(b.runner.hasFailed(22) && !b.runner.hasFailed(21));
  }
});

t.test("one result is that of all jobs of a call", async (t) => {
  for (const [result, part] of [[done, "done"], [skipped, "skipped"]] as const) {
    const b = bench(new BatchHandler(Infinity, () => result));
    b.runner.slice(slice(1, 0, 40));
    await b.until(() => b.answers().length > 0);
    t.match(b.answers(), [{ [part]: [0, 40] }]);
  }
});

t.test("calls have as many jobs as they may, however few a note announces, and no job begins unnoted", async (t) => {
  for (const [jobsPerCall, ahead] of [[10, 1], [10, 7], [10, 15], [3, 1_000]] as const) {
    const unnoted: number[] = [];
    const handler = new BatchHandler(jobsPerCall, (from, to) => {
      for (let seq = from; seq < to; seq++) if (!b.notes.names(seq)) unnoted.push(seq);
      return done;
    });
    const b: Bench = bench(handler, { ahead });
    b.runner.slice(slice(1, 0, 25));
    b.runner.slice(slice(2, 25, 2));
    await b.until(() => b.ended() === 27);
    const sizes = handler.calls.map(({ from, to }) => to - from);
    t.same(
      sizes,
      jobsPerCall === 10 ? [10, 10, 5, 2] : [...Array(8).fill(3), 1, 2],
      "none reaches into another slice",
    );
    t.same(unnoted, []);
  }
});

t.test("a job that cannot be run is in no call, and those beside it are", async (t) => {
  const handler = new BatchHandler(Infinity);
  const b = bench(handler);
  const jobs = Uint8Array.of(0xa0, 0xa0, 0x61, 0xff, 0xa0);
  b.runner.slice({ kind: "slice", slice: 1, seq: 5, count: 4, attempt: 1, jobs });
  await b.until(() => b.ended() === 4);
  t.same(handler.spans, [[5, 7], [8, 9]]);
});

t.test("as many calls go on at once as jobs would, one by one", async (t) => {
  const ends: (() => void)[] = [];
  const handler = new BatchHandler(Infinity, () => {
    const { call, end } = pending();
    ends.push(() => end(done));
    return call;
  });
  const b = bench(handler, { concurrency: 2 });
  for (const number of [0, 1, 2]) b.runner.slice(slice(number, number * 10, 10));
  // on a busy machine the second begins in a turn of its own
  await b.until(() => handler.calls.length === 2);
  t.same(handler.spans, [[0, 10], [10, 20]]);
  t.same(b.notes.running, [0, 20]);
  ends[0]!();
  await b.until(() => handler.calls.length === 3);
  t.same(b.notes.running, [10, 30]);
  ends[1]!();
  ends[2]!();
  await b.until(() => b.ended() === 30);
});

t.test("all jobs of a call that stands on the stack as its process ends are suspects", async (t) => {
  const handler = new BatchHandler(4, (from) => {
    if (from !== 4) return done;
    t.same(
      [b.watch[watchSlots.onStack], b.watch[watchSlots.onStackJobs]],
      [4, 4],
      "the watchdog sees how many",
    );
    b.runner.lastWords();
    t.same([b.notes.running, b.notes.isExact], [[4, 8], true]);
    return done;
  });
  const b: Bench = bench(handler, { ahead: 100 });
  b.runner.slice(slice(1, 0, 10));
  await b.until(() => handler.calls.length === 3);
});

t.test("a call that is past the timeout is overdue with all its jobs; an abort of one of them fires its signal", async (t) => {
  const signals: JobSignal[] = [];
  const handler = new BatchHandler(3, () => {
    const { call } = pending();
    signals.push(call.signal);
    return call;
  });
  const b = bench(handler, { concurrency: 2, timeoutMs: 200 });
  b.runner.slice(slice(1, 0, 9));
  await b.until(() => signals.length === 2);
  b.runner.abort([4, 5], "lost");
  t.same(signals.map(({ why }) => why), [undefined, "lost"]);
  // the second call may have begun a moment later than the first
  const overdue = () => b.said.flatMap((message) => message.kind === "overdue" ? [message.jobs] : []).at(-1);
  await b.until(() => overdue()?.at(-1) === 6);
  t.same(overdue(), [0, 6]);
  t.match(b.answers(), [{ released: [6, 9] }], "what waited is handed back");
  t.same(b.runner.stillRunning(b.runner.running), [0, 6]);
});

t.test("of a call that blocked past the timeout each job is charged, but for those with a verdict", async (t) => {
  let clockMs = 0;
  const fatal: Result = { kind: "failed", how: "fatal", message: "bad row", stack: "" };
  const handler = new BatchHandler(Infinity, () => {
    clockMs += 100;
    return { kind: "each", results: [done, skipped, threw, fatal] };
  });
  const b = bench(handler, { timeoutMs: 100, nowMs: () => clockMs });
  b.runner.slice(slice(1, 0, 4));
  await b.until(() => b.answers().length > 0);
  t.match(b.answers(), [{
    done: [],
    skipped: [1, 2],
    failed: [{ seq: 0, how: "timed out" }, { seq: 2, how: "timed out" }, { seq: 3, how: "fatal" }],
  }]);
});
