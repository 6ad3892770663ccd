import t from "tap";
import { countOf, rangesOf } from "../../src/lib/ranges.ts";
import { LeaseLedger, type SliceAnswer } from "../../src/slave/ledger.ts";
import type { Alone } from "../../src/core/types.ts";
import type { SlaveMessage } from "../../src/protocol/messages.ts";
import { encodeMessage, parseSlaveMessage } from "../../src/protocol/parse.ts";
import { blockOf, numberOf } from "../core/fixture.ts";

const name = (number: number) => ({ masterId: "m1", number });

/** A welcomed slave that holds nothing. */
function welcomed(): LeaseLedger {
  const ledger = new LeaseLedger();
  ledger.welcome("run");
  ledger.applyKeep([]);
  return ledger;
}

function receive(ledger: LeaseLedger, number: number, seq: number, count: number, alone: Alone = "no"): void {
  const { bytes, ends } = blockOf(seq, count);
  ledger.receive({ name: name(number), seq, count, attempt: 1, alone, jobs: bytes, ends });
}

function finish(ledger: LeaseLedger, worker: number, slice: number, answer: Partial<SliceAnswer>): void {
  ledger.finish(worker, { slice, done: [], skipped: [], failed: [], released: [], ...answer });
}

const failure = (seq: number) => ({ seq, how: "threw" as const, message: "no", stack: "", durationMs: 1 });

t.test("jobs are given in order, as slices of one lease", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 5);
  receive(ledger, 2, 5, 2, "in worker");
  t.equal(ledger.next(), "no");
  const slice = ledger.give(7, 3, 0)!;
  t.same([slice.number, slice.seq, slice.count, slice.lease, slice.attempt], [1, 0, 3, name(1), 1]);
  t.same([0, 1, 2].map((i) => numberOf(slice.jobs.subarray(4 * i))), [0, 1, 2]);
  t.same([ledger.give(8, 3, 0)!.seq, ledger.give(7, 3, 0)!.number], [3, 2]);
  t.equal(ledger.next(), null);
  t.equal(ledger.give(7, 3, 0), null);
  t.equal(ledger.jobs, 7);
  t.equal(countOf(ledger.unanswered(7).flat()), 5);
});

t.test("how a job is to run is known before it is given", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 1, "in worker");
  t.equal(ledger.next(), "in worker");
  t.equal(ledger.give(1, 9, 0)!.alone, "in worker");
});

t.test("answers gather what ended since the last ones, a lease each", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  receive(ledger, 2, 4, 1);
  ledger.give(1, 2, 0);
  ledger.give(1, 2, 0);
  ledger.give(1, 2, 0);
  t.same(ledger.takeAnswers(), []);
  finish(ledger, 1, 1, { done: [0, 1] });
  finish(ledger, 1, 2, { done: [2, 3], failed: [failure(3)] });
  finish(ledger, 1, 1, { skipped: [1, 2] });
  finish(ledger, 1, 3, { done: [4, 5] });
  t.same(ledger.takeAnswers(), [
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
  t.ok(ledger.isIdle);
  t.same(ledger.takeAnswers(), [], "once");
});

t.test("what a worker says of jobs it does not have is ignored", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  ledger.give(1, 2, 0);
  finish(ledger, 1, 1, { done: [0, 4] });
  finish(ledger, 1, 1, { done: [0, 2] });
  finish(ledger, 2, 1, { done: [2, 4] });
  t.same(ledger.takeAnswers().map(({ answer }) => answer.done), [[0, 2]]);
  t.equal(ledger.queued, 2);
});

t.test("answers are said again in the next session, unless a durable state covers them", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  ledger.give(1, 4, 0);
  finish(ledger, 1, 1, { done: [0, 1] });
  ledger.takeAnswers();
  finish(ledger, 1, 1, { done: [1, 2] });
  ledger.takeAnswers();
  ledger.covered(1);
  finish(ledger, 1, 1, { failed: [failure(2)] });
  t.same(ledger.welcome("run"), []);
  t.same(ledger.held(), [{ lease: name(1), jobs: [1, 4] }], "done, failed and running");
  t.same(ledger.untouched("m2", [3, 4], ledger.held()), [], "all of them began");
  t.same(
    ledger.untouched("m2", [], ledger.held()),
    [{ lease: name(1), jobs: [3, 4] }],
    "one is at a worker, and did not begin",
  );
  t.same(ledger.untouched("m1", [], ledger.held()), [], "of a lease of this very master");
  t.same(ledger.takeAnswers(), [], "not before the master said what it keeps");
  t.same(ledger.applyKeep([{ lease: name(1), jobs: [1, 4] }]), []);
  const [answer] = ledger.takeAnswers();
  t.equal(answer!.number, 1, "numbers begin anew");
  t.same([answer!.answer.done, answer!.answer.failed], [[1, 2], [failure(2)]]);
});

t.test("what the master does not keep is dropped; what runs of it is aborted and counts no more", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 6);
  ledger.give(1, 2, 0);
  ledger.give(2, 2, 0);
  finish(ledger, 1, 1, { done: [0, 1] });
  ledger.welcome("run");
  t.same(ledger.applyKeep([{ lease: name(1), jobs: [1, 3] }]), [{ worker: 2, slice: 1, jobs: [3, 4] }]);
  t.equal(ledger.queued, 0);
  t.equal(ledger.running, 2);
  finish(ledger, 1, 1, { done: [1, 2] });
  finish(ledger, 2, 1, { done: [2, 4] });
  t.same(ledger.takeAnswers().map(({ answer }) => answer.done), [[1, 3]]);
});

t.test("a job that was lost while it ran is not begun again beside itself", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 2);
  ledger.give(1, 2, 0);
  ledger.welcome("run");
  ledger.applyKeep([]);
  receive(ledger, 2, 0, 3);
  t.same([ledger.give(2, 9, 0)!.seq, ledger.next()], [2, null]);
  finish(ledger, 1, 1, { failed: [failure(0)] });
  t.equal(ledger.give(2, 9, 0)!.seq, 0);
  ledger.crashed(1, [1, 2], "exited");
  t.equal(ledger.give(2, 9, 0)!.seq, 1, "nor does its end count");
  t.same(ledger.takeAnswers(), []);
});

t.test("when a worker dies, its suspects are named in each of their leases, the rest is queued again", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 3);
  receive(ledger, 2, 3, 3);
  ledger.give(1, 3, 0);
  ledger.give(1, 3, 0);
  ledger.crashed(1, [2, 4, 90, 91], "exited (3)");
  const crash = { suspects: [2, 4], reason: "exited (3)" };
  t.same(ledger.takeAnswers().map(({ answer }) => [answer.lease.number, answer.crash]), [[1, crash], [
    2,
    crash,
  ]]);
  t.equal(ledger.queued, 4);
  t.same([ledger.give(2, 9, 0)!.seq, ledger.give(2, 9, 0)!.seq], [0, 4]);
  finish(ledger, 1, 1, { done: [0, 3] });
  t.notOk(ledger.hasPending, "its last words are stale");
});

t.test("one death that hit two slices of a lease is one answer", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  ledger.give(1, 2, 0);
  ledger.give(1, 2, 0);
  ledger.crashed(1, [1, 3], "exited");
  t.same(ledger.takeAnswers().map(({ answer }) => answer.crash!.suspects), [[1, 3]]);
  t.equal(ledger.queued, 2);
});

t.test("two deaths of one lease are two answers", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 2);
  ledger.give(1, 1, 0);
  ledger.give(2, 1, 0);
  ledger.crashed(1, [0, 1], "one");
  ledger.crashed(2, [1, 2], "two");
  t.same(ledger.takeAnswers().map(({ number, answer }) => [number, answer.crash!.reason]), [[1, "one"], [
    2,
    "two",
  ]]);
  ledger.covered(1);
  t.same(ledger.held(), [{ lease: name(1), jobs: [0, 2] }], "kept until both are covered");
  ledger.covered(2);
  t.same(ledger.held(), []);
});

t.test("a drain hands back what is at no worker, and what workers had not begun", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 6);
  ledger.give(1, 3, 0);
  ledger.releaseUntried();
  finish(ledger, 1, 1, { done: [0, 1], released: [1, 3] });
  t.same(ledger.takeAnswers().map(({ answer }) => [answer.done, answer.released]), [[[0, 1], [1, 6]]]);
  t.ok(ledger.isIdle);
  t.same(ledger.held(), [{ lease: name(1), jobs: [0, 1] }], "what is handed back is not held");
  ledger.welcome("run");
  ledger.applyKeep([{ lease: name(1), jobs: [0, 1] }]);
  t.same(
    ledger.takeAnswers().map(({ answer }) => [answer.done, answer.released]),
    [[[0, 1], []]],
    "nor said again",
  );
});

t.test("jobs are handed back once: what comes later stays here", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  ledger.give(1, 2, 0);
  ledger.releaseUntried();
  receive(ledger, 2, 4, 3);
  ledger.give(2, 2, 0);
  finish(ledger, 1, 1, { done: [0, 1], released: [1, 2] });
  finish(ledger, 2, 1, { done: [4, 5], released: [5, 6] });
  t.same(ledger.takeAnswers().map(({ answer }) => [answer.done, answer.released]), [
    [[0, 1], [1, 4]],
    [[4, 5], []],
  ]);
  t.same([ledger.give(2, 9, 0)!.seq, ledger.jobs], [5, 2]);
});

t.test("in a new session nothing is handed back unless that is said again", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 2);
  ledger.give(1, 2, 0);
  ledger.releaseUntried();
  ledger.welcome("run");
  ledger.applyKeep([{ lease: name(1), jobs: [0, 2] }]);
  finish(ledger, 1, 1, { done: [0, 1], released: [1, 2] });
  t.equal(ledger.give(2, 9, 0)!.seq, 1);
});

t.test("jobs that a worker did not begin are back in the place of their lease", async (t) => {
  const ledger = welcomed();
  for (const seq of [0, 2, 4]) receive(ledger, seq, seq, 2);
  for (let i = 0; i < 2; i++) ledger.give(1, 2, 0);
  finish(ledger, 1, 2, { released: [3, 4] });
  finish(ledger, 1, 1, { released: [0, 2] });
  t.same([1, 2, 3, 4].map(() => ledger.give(2, 1, 0)!.seq), [0, 1, 3, 4]);
  t.same([ledger.queued, ledger.running], [1, 5]);
});

t.test("how many jobs are queued and running holds through all that happens to them", async (t) => {
  const ledger = welcomed();
  const counts = () => [ledger.queued, ledger.running, ledger.jobs];
  receive(ledger, 1, 0, 6);
  receive(ledger, 1, 0, 6);
  t.same(counts(), [6, 0, 6], "a name is used once");
  ledger.give(1, 2, 0);
  ledger.give(2, 2, 0);
  t.same(counts(), [2, 4, 6]);
  finish(ledger, 1, 1, { done: [0, 9] });
  ledger.crashed(2, [2, 3], "exited");
  t.same(counts(), [3, 0, 3]);
  ledger.give(1, 2, 0);
  ledger.welcome("run");
  t.ok(ledger.jobs === 3 && !ledger.hasPending);
  ledger.applyKeep([{ lease: name(1), jobs: [1, 4] }]);
  t.same(counts(), [0, 1, 1], "4 is lost while it runs");
  t.ok(ledger.hasPending, "1 and 2 ended");
  finish(ledger, 1, 2, { done: [3, 5] });
  t.same(counts(), [0, 0, 0]);
  t.same(ledger.takeAnswers().map(({ answer }) => answer.done), [[1, 2, 3, 4]]);
  t.notOk(ledger.hasPending);
});

t.test("while it is not to hand back, what a worker hands back is for another one", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  ledger.give(1, 3, 0);
  finish(ledger, 1, 1, { released: [1, 3] });
  t.same([ledger.give(2, 9, 0)!.seq, ledger.running], [1, 4]);
});

t.test("a master of another run: everything is dropped", async (t) => {
  const ledger = welcomed();
  receive(ledger, 1, 0, 4);
  ledger.give(1, 1, 0);
  t.same(ledger.welcome("another"), [{ worker: 1, slice: 1, jobs: [0, 1] }]);
  t.same(ledger.held(), []);
  finish(ledger, 1, 1, { done: [0, 1] });
  ledger.applyKeep([]);
  t.same(ledger.takeAnswers(), []);
  t.ok(ledger.isIdle);
});

/** What the master makes of the answers, which must be messages that it takes. */
function arrived(answers: ReturnType<LeaseLedger["takeAnswers"]>) {
  return answers.map(({ number, answer }) => {
    const bytes = encodeMessage({ kind: "answer", number, credit: 0, ...answer });
    return parseSlaveMessage(bytes.subarray(4)) as Extract<SlaveMessage, { kind: "answer" }>;
  });
}

t.test("what ended in an outage is told in answers that a master takes, however much it is", async (t) => {
  const ledger = welcomed();
  const count = 200_000;
  receive(ledger, 1, 0, count);
  receive(ledger, 2, count, 4 * count);
  ledger.give(1, count, 0);
  ledger.give(1, 4 * count, 0);
  const every = (step: number, from: number, to: number) =>
    Array.from({ length: (to - from) / step }, (_, at) => from + at * step);
  const odd = every(2, 1, count + 1);
  finish(ledger, 1, 1, { done: rangesOf(every(2, 0, count)), failed: odd.map(failure) });
  const [skipped, done] = [0, 2].map((at) => rangesOf(every(4, count + at, 5 * count + at)));
  finish(ledger, 1, 2, { done: done!, skipped: skipped! });
  ledger.welcome("run");
  const held = ledger.held();
  t.same(held.map(({ jobs }) => countOf(jobs)), [4 * count, count], "those that run first");
  for (const round of ["at first", "in the next session"]) {
    if (round !== "at first") ledger.welcome("run");
    ledger.applyKeep(held);
    const answers = arrived(ledger.takeAnswers());
    t.same(answers.map(({ number }) => number), answers.map((_, at) => at + 1), "numbered");
    const of = (lease: number) => answers.filter(({ lease: { number } }) => number === lease);
    t.same(of(1).flatMap(({ failed }) => failed.map(({ seq }) => seq)), odd, `failures: ${round}`);
    t.same([1, 2].map((lease) => of(lease).reduce((sum, answer) => sum + countOf(answer.done), 0)), [
      count / 2,
      count,
    ]);
    t.same(of(2).flatMap((answer) => answer.skipped), skipped);
    t.same(ledger.takeAnswers(), [], "once");
  }
});

t.test("what a slave holds is named in a message that a master takes, what did not begin as well", async (t) => {
  const ledger = welcomed();
  const count = 60_000;
  for (let number = 1; number <= count; number++) receive(ledger, number, number, 1);
  const held = ledger.held();
  const untouched = ledger.untouched("m2", [], held);
  const bytes = encodeMessage({ kind: "ready", credit: 1, held, untouched });
  t.same(parseSlaveMessage(bytes.subarray(4)), { kind: "ready", credit: 1, held, untouched });
  t.equal(held.length, count);
  t.ok(untouched.length > 20_000 && untouched.length < count, `${untouched.length} of them are named so`);
});

t.test("what is never saved is forgotten, the oldest first, and bytes of jobs are counted while one can run", async (t) => {
  const ledger = welcomed();
  const failed = { ...failure(0), message: "m".repeat(1_000), stack: "s".repeat(16_000) };
  for (let seq = 0; seq < 3_000; seq++) {
    receive(ledger, seq + 1, seq, 1);
    const slice = ledger.give(1, 1, 0)!;
    if (ledger.bytes === 0) t.fail("it is held");
    finish(ledger, 1, slice.number, { failed: [{ ...failed, seq }] });
    ledger.takeAnswers();
  }
  t.equal(ledger.bytes, 0, "nothing runs any more");
  t.ok(ledger.hasForgotten);
  const kept = ledger.held().length;
  t.ok(kept > 500 && kept < 2_000, `of 3,000 answers ${kept} are kept`);
  t.match(ledger.held().at(-1), { lease: name(3_000) }, "the latest of them");
  ledger.covered(2_999);
  t.same(ledger.held(), [{ lease: name(3_000), jobs: [2_999, 3_000] }]);
  ledger.covered(Number.MAX_SAFE_INTEGER);
  t.same(ledger.held(), []);
  receive(ledger, 9_000, 9_000, 1);
  finish(ledger, 1, ledger.give(1, 1, 0)!.number, { done: [9_000, 9_001] });
  ledger.takeAnswers();
  t.equal(ledger.held().length, 1, "what was said later is not covered by that");
});

t.test("what an answer moved is told once, with when and how its slice was given", async (t) => {
  const ledger = welcomed();
  const { bytes, ends } = blockOf(0, 4);
  const lease = { name: name(1), seq: 0, count: 4, attempt: 1, alone: "no", probe: true } as const;
  ledger.receive({ ...lease, jobs: bytes, ends });
  t.equal(ledger.give(7, 4, 50)!.number, 1);
  const none = { slice: 1, skipped: [], failed: [], released: [] };
  t.same(ledger.finish(7, { ...none, done: [0, 2] }), { jobs: 2, givenAtMs: 50, isProbe: true });
  t.equal(ledger.finish(7, { ...none, done: [0, 2] }), null, "said again");
  t.same([ledger.sliceOf(7, 1), ledger.sliceOf(7, 2), ledger.sliceOf(8, 2)], [0, 1, 0]);
  t.same(
    ledger.finish(7, { ...none, done: [1, 3], released: [3, 4] }),
    { jobs: 2, givenAtMs: 50, isProbe: true },
    "partly a repetition",
  );
  t.equal(ledger.finish(7, { ...none, done: [3, 4] }), null, "nothing is left");
});
