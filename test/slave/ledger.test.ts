import t from "tap";
import { countOf, rangesOf } from "../../src/lib/ranges.ts";
import { Holdings, type SliceAnswer } from "../../src/slave/ledger.ts";
import type { Alone } from "../../src/core/types.ts";
import type { SlaveMessage } from "../../src/protocol/messages.ts";
import { encodeMessage, parseSlaveMessage } from "../../src/protocol/parse.ts";
import { blockOf, numberOf } from "../core/fixture.ts";

const name = (number: number) => ({ masterId: "m1", number });

/** A welcomed slave that holds nothing. */
function welcomed(): Holdings {
  const holdings = new Holdings();
  holdings.welcome("run");
  holdings.applyKeep([]);
  return holdings;
}

function receive(holdings: Holdings, number: number, seq: number, count: number, alone: Alone = "no"): void {
  const { bytes, ends } = blockOf(seq, count);
  holdings.receive({ name: name(number), seq, count, attempt: 1, alone, jobs: bytes, ends });
}

function finish(holdings: Holdings, worker: number, slice: number, answer: Partial<SliceAnswer>): void {
  holdings.finish(worker, { slice, done: [], skipped: [], failed: [], released: [], ...answer });
}

const failure = (seq: number) => ({ seq, how: "threw" as const, message: "no", stack: "", durationMs: 1 });

t.test("jobs are given in order, as slices of one lease", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 5);
  receive(holdings, 2, 5, 2, "in worker");
  t.equal(holdings.next(), "no");
  const slice = holdings.give(7, 3)!;
  t.same([slice.number, slice.seq, slice.count, slice.lease, slice.attempt], [1, 0, 3, name(1), 1]);
  t.same([0, 1, 2].map((i) => numberOf(slice.jobs.subarray(4 * i))), [0, 1, 2]);
  t.same([holdings.give(8, 3)!.seq, holdings.give(7, 3)!.number], [3, 2]);
  t.equal(holdings.next(), null);
  t.equal(holdings.give(7, 3), null);
  t.equal(holdings.jobs, 7);
  t.equal(holdings.at(7), 5);
});

t.test("how a job is to run is known before it is given", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 1, "in worker");
  t.equal(holdings.next(), "in worker");
  t.equal(holdings.give(1, 9)!.alone, "in worker");
});

t.test("answers gather what ended since the last ones, a lease each", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  receive(holdings, 2, 4, 1);
  holdings.give(1, 2);
  holdings.give(1, 2);
  holdings.give(1, 2);
  t.same(holdings.takeAnswers(), []);
  finish(holdings, 1, 1, { done: [0, 1] });
  finish(holdings, 1, 2, { done: [2, 3], failed: [failure(3)] });
  finish(holdings, 1, 1, { skipped: [1, 2] });
  finish(holdings, 1, 3, { done: [4, 5] });
  t.same(holdings.takeAnswers(), [
    {
      number: 1,
      answer: {
        lease: name(1),
        done: [0, 1, 2, 3],
        skipped: [1, 2],
        failed: [failure(3)],
        crash: null,
        released: [],
      },
    },
    {
      number: 2,
      answer: { lease: name(2), done: [4, 5], skipped: [], failed: [], crash: null, released: [] },
    },
  ]);
  t.ok(holdings.isIdle);
  t.same(holdings.takeAnswers(), [], "once");
});

t.test("what a worker says of jobs it does not have is ignored", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  holdings.give(1, 2);
  finish(holdings, 1, 1, { done: [0, 4] });
  finish(holdings, 1, 1, { done: [0, 2] });
  finish(holdings, 2, 1, { done: [2, 4] });
  t.same(holdings.takeAnswers().map(({ answer }) => answer.done), [[0, 2]]);
  t.equal(holdings.queued, 2);
});

t.test("answers are said again in the next session, unless a durable state covers them", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  holdings.give(1, 4);
  finish(holdings, 1, 1, { done: [0, 1] });
  holdings.takeAnswers();
  finish(holdings, 1, 1, { done: [1, 2] });
  holdings.takeAnswers();
  holdings.covered(1);
  finish(holdings, 1, 1, { failed: [failure(2)] });
  t.same(holdings.welcome("run"), []);
  t.same(holdings.held(), [{ lease: name(1), jobs: [1, 4] }], "done, failed and running");
  t.same(holdings.untouched("m2", [3, 4], holdings.held()), [], "all of them began");
  t.same(
    holdings.untouched("m2", [], holdings.held()),
    [{ lease: name(1), jobs: [3, 4] }],
    "one is at a worker, and did not begin",
  );
  t.same(holdings.untouched("m1", [], holdings.held()), [], "of a lease of this very master");
  t.same(holdings.takeAnswers(), [], "not before the master said what it keeps");
  t.same(holdings.applyKeep([{ lease: name(1), jobs: [1, 4] }]), []);
  const [answer] = holdings.takeAnswers();
  t.equal(answer!.number, 1, "numbers begin anew");
  t.same([answer!.answer.done, answer!.answer.failed], [[1, 2], [failure(2)]]);
});

t.test("what the master does not keep is dropped; what runs of it is aborted and counts no more", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 6);
  holdings.give(1, 2);
  holdings.give(2, 2);
  finish(holdings, 1, 1, { done: [0, 1] });
  holdings.welcome("run");
  t.same(holdings.applyKeep([{ lease: name(1), jobs: [1, 3] }]), [{ worker: 2, slice: 1, jobs: [3, 4] }]);
  t.equal(holdings.queued, 0);
  t.equal(holdings.running, 2);
  finish(holdings, 1, 1, { done: [1, 2] });
  finish(holdings, 2, 1, { done: [2, 4] });
  t.same(holdings.takeAnswers().map(({ answer }) => answer.done), [[1, 3]]);
});

t.test("a job that was lost while it ran is not begun again beside itself", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 2);
  holdings.give(1, 2);
  holdings.welcome("run");
  holdings.applyKeep([]);
  receive(holdings, 2, 0, 3);
  t.same([holdings.give(2, 9)!.seq, holdings.next()], [2, null]);
  finish(holdings, 1, 1, { failed: [failure(0)] });
  t.equal(holdings.give(2, 9)!.seq, 0);
  holdings.crashed(1, [1, 2], "exited");
  t.equal(holdings.give(2, 9)!.seq, 1, "nor does its end count");
  t.same(holdings.takeAnswers(), []);
});

t.test("when a worker dies, its suspects are named in each of their leases, the rest is queued again", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 3);
  receive(holdings, 2, 3, 3);
  holdings.give(1, 3);
  holdings.give(1, 3);
  holdings.crashed(1, [2, 4, 90, 91], "exited (3)");
  const crash = { suspects: [2, 4], reason: "exited (3)" };
  t.same(holdings.takeAnswers().map(({ answer }) => [answer.lease.number, answer.crash]), [[1, crash], [
    2,
    crash,
  ]]);
  t.equal(holdings.queued, 4);
  t.same([holdings.give(2, 9)!.seq, holdings.give(2, 9)!.seq], [0, 4]);
  finish(holdings, 1, 1, { done: [0, 3] });
  t.notOk(holdings.hasPending, "its last words are stale");
});

t.test("one death that hit two slices of a lease is one answer", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  holdings.give(1, 2);
  holdings.give(1, 2);
  holdings.crashed(1, [1, 3], "exited");
  t.same(holdings.takeAnswers().map(({ answer }) => answer.crash!.suspects), [[1, 3]]);
  t.equal(holdings.queued, 2);
});

t.test("two deaths of one lease are two answers", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 2);
  holdings.give(1, 1);
  holdings.give(2, 1);
  holdings.crashed(1, [0, 1], "one");
  holdings.crashed(2, [1, 2], "two");
  t.same(holdings.takeAnswers().map(({ number, answer }) => [number, answer.crash!.reason]), [[1, "one"], [
    2,
    "two",
  ]]);
  holdings.covered(1);
  t.same(holdings.held(), [{ lease: name(1), jobs: [0, 2] }], "kept until both are covered");
  holdings.covered(2);
  t.same(holdings.held(), []);
});

t.test("a drain hands back what is at no worker, and what workers had not begun", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 6);
  holdings.give(1, 3);
  holdings.releaseUntried();
  finish(holdings, 1, 1, { done: [0, 1], released: [1, 3] });
  t.same(holdings.takeAnswers().map(({ answer }) => [answer.done, answer.released]), [[[0, 1], [1, 6]]]);
  t.ok(holdings.isIdle);
  t.same(holdings.held(), [{ lease: name(1), jobs: [0, 1] }], "what is handed back is not held");
  holdings.welcome("run");
  holdings.applyKeep([{ lease: name(1), jobs: [0, 1] }]);
  t.same(
    holdings.takeAnswers().map(({ answer }) => [answer.done, answer.released]),
    [[[0, 1], []]],
    "nor said again",
  );
});

t.test("jobs are handed back once: what comes later stays here", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  holdings.give(1, 2);
  holdings.releaseUntried();
  receive(holdings, 2, 4, 3);
  holdings.give(2, 2);
  finish(holdings, 1, 1, { done: [0, 1], released: [1, 2] });
  finish(holdings, 2, 1, { done: [4, 5], released: [5, 6] });
  t.same(holdings.takeAnswers().map(({ answer }) => [answer.done, answer.released]), [
    [[0, 1], [1, 4]],
    [[4, 5], []],
  ]);
  t.same([holdings.give(2, 9)!.seq, holdings.jobs], [5, 2]);
});

t.test("in a new session nothing is handed back unless that is said again", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 2);
  holdings.give(1, 2);
  holdings.releaseUntried();
  holdings.welcome("run");
  holdings.applyKeep([{ lease: name(1), jobs: [0, 2] }]);
  finish(holdings, 1, 1, { done: [0, 1], released: [1, 2] });
  t.equal(holdings.give(2, 9)!.seq, 1);
});

t.test("jobs that a worker did not begin are back in the place of their lease", async (t) => {
  const holdings = welcomed();
  for (const seq of [0, 2, 4]) receive(holdings, seq, seq, 2);
  for (let i = 0; i < 2; i++) holdings.give(1, 2);
  finish(holdings, 1, 2, { released: [3, 4] });
  finish(holdings, 1, 1, { released: [0, 2] });
  t.same([1, 2, 3, 4].map(() => holdings.give(2, 1)!.seq), [0, 1, 3, 4]);
  t.same([holdings.queued, holdings.running], [1, 5]);
});

t.test("how many jobs are queued and running holds through all that happens to them", async (t) => {
  const holdings = welcomed();
  const counts = () => [holdings.queued, holdings.running, holdings.jobs];
  receive(holdings, 1, 0, 6);
  receive(holdings, 1, 0, 6);
  t.same(counts(), [6, 0, 6], "a name is used once");
  holdings.give(1, 2);
  holdings.give(2, 2);
  t.same(counts(), [2, 4, 6]);
  finish(holdings, 1, 1, { done: [0, 9] });
  holdings.crashed(2, [2, 3], "exited");
  t.same(counts(), [3, 0, 3]);
  holdings.give(1, 2);
  holdings.welcome("run");
  t.ok(holdings.jobs === 3 && !holdings.hasPending);
  holdings.applyKeep([{ lease: name(1), jobs: [1, 4] }]);
  t.same(counts(), [0, 1, 1], "4 is lost while it runs");
  t.ok(holdings.hasPending, "1 and 2 ended");
  finish(holdings, 1, 2, { done: [3, 5] });
  t.same(counts(), [0, 0, 0]);
  t.same(holdings.takeAnswers().map(({ answer }) => answer.done), [[1, 2, 3, 4]]);
  t.notOk(holdings.hasPending);
});

t.test("while it is not to hand back, what a worker hands back is for another one", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  holdings.give(1, 3);
  finish(holdings, 1, 1, { released: [1, 3] });
  t.same([holdings.give(2, 9)!.seq, holdings.running], [1, 4]);
});

t.test("a master of another run: everything is dropped", async (t) => {
  const holdings = welcomed();
  receive(holdings, 1, 0, 4);
  holdings.give(1, 1);
  t.same(holdings.welcome("another"), [{ worker: 1, slice: 1, jobs: [0, 1] }]);
  t.same(holdings.held(), []);
  finish(holdings, 1, 1, { done: [0, 1] });
  holdings.applyKeep([]);
  t.same(holdings.takeAnswers(), []);
  t.ok(holdings.isIdle);
});

/** What the master makes of the answers, which must be messages that it takes. */
function arrived(answers: ReturnType<Holdings["takeAnswers"]>) {
  return answers.map(({ number, answer }) => {
    const bytes = encodeMessage({ kind: "answer", number, credit: 0, ...answer });
    return parseSlaveMessage(bytes.subarray(4)) as Extract<SlaveMessage, { kind: "answer" }>;
  });
}

t.test("what ended in an outage is told in answers that a master takes, however much it is", async (t) => {
  const holdings = welcomed();
  const count = 200_000;
  receive(holdings, 1, 0, count);
  receive(holdings, 2, count, 4 * count);
  holdings.give(1, count);
  holdings.give(1, 4 * count);
  const every = (step: number, from: number, to: number) =>
    Array.from({ length: (to - from) / step }, (_, at) => from + at * step);
  const odd = every(2, 1, count + 1);
  finish(holdings, 1, 1, { done: rangesOf(every(2, 0, count)), failed: odd.map(failure) });
  const [skipped, done] = [0, 2].map((at) => rangesOf(every(4, count + at, 5 * count + at)));
  finish(holdings, 1, 2, { done: done!, skipped: skipped! });
  holdings.welcome("run");
  const held = holdings.held();
  t.same(held.map(({ jobs }) => countOf(jobs)), [4 * count, count], "those that run first");
  for (const round of ["at first", "in the next session"]) {
    if (round !== "at first") holdings.welcome("run");
    holdings.applyKeep(held);
    const answers = arrived(holdings.takeAnswers());
    t.same(answers.map(({ number }) => number), answers.map((_, at) => at + 1), "numbered");
    const of = (lease: number) => answers.filter(({ lease: { number } }) => number === lease);
    t.same(of(1).flatMap(({ failed }) => failed.map(({ seq }) => seq)), odd, `failures: ${round}`);
    t.same([1, 2].map((lease) => of(lease).reduce((sum, answer) => sum + countOf(answer.done), 0)), [
      count / 2,
      count,
    ]);
    t.same(of(2).flatMap((answer) => answer.skipped), skipped);
    t.same(holdings.takeAnswers(), [], "once");
  }
});

t.test("what a slave holds is named in a message that a master takes, what did not begin as well", async (t) => {
  const holdings = welcomed();
  const count = 60_000;
  for (let number = 1; number <= count; number++) receive(holdings, number, number, 1);
  const held = holdings.held();
  const untouched = holdings.untouched("m2", [], held);
  const bytes = encodeMessage({ kind: "ready", credit: 1, held, untouched });
  t.same(parseSlaveMessage(bytes.subarray(4)), { kind: "ready", credit: 1, held, untouched });
  t.equal(held.length, count);
  t.ok(untouched.length > 20_000 && untouched.length < count, `${untouched.length} of them are named so`);
});

t.test("what is never saved is forgotten, the oldest first, and bytes of jobs are counted while one can run", async (t) => {
  const holdings = welcomed();
  const failed = { ...failure(0), message: "m".repeat(1_000), stack: "s".repeat(16_000) };
  for (let seq = 0; seq < 3_000; seq++) {
    receive(holdings, seq + 1, seq, 1);
    const slice = holdings.give(1, 1)!;
    if (holdings.bytes === 0) t.fail("it is held");
    finish(holdings, 1, slice.number, { failed: [{ ...failed, seq }] });
    holdings.takeAnswers();
  }
  t.equal(holdings.bytes, 0, "nothing runs any more");
  t.ok(holdings.hasForgotten);
  const kept = holdings.held().length;
  t.ok(kept > 500 && kept < 2_000, `of 3,000 answers ${kept} are kept`);
  t.match(holdings.held().at(-1), { lease: name(3_000) }, "the latest of them");
  holdings.covered(2_999);
  t.same(holdings.held(), [{ lease: name(3_000), jobs: [2_999, 3_000] }]);
  holdings.covered(Number.MAX_SAFE_INTEGER);
  t.same(holdings.held(), []);
  receive(holdings, 9_000, 9_000, 1);
  finish(holdings, 1, holdings.give(1, 1)!.number, { done: [9_000, 9_001] });
  holdings.takeAnswers();
  t.equal(holdings.held().length, 1, "what was said later is not covered by that");
});
