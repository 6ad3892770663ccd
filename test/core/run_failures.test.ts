import t from "tap";
import type { FailedAttempt } from "../../src/core/types.ts";
import { brief, seqsOf, TestRun, wallClock } from "./fixture.ts";

t.test("a failed job is retried after its delay, alone in its lease, at another slave", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  const [lease] = run.leases();
  run.throw(lease!, "no", 1).join(2, 3); // so that 1 were next
  t.same(run.pass(499).leases(), [], "half of a second, with a random number of 0.5");
  const [again] = run.pass(1).leases();
  t.same(brief([again!]), ["2:1-2 no"]);
  t.equal(again!.attempt, 2);
});

t.test("a failed job goes back to the only slave with credit", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.throw(run.leases()[0]!);
  t.same(brief(run.pass(500).leases()), ["1:0-1 no"]);
});

t.test("delays double, with full jitter, up to a minute", async (t) => {
  const draws = [0, 0.999, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5];
  const random = () => draws.shift()!;
  const run = new TestRun(null, { failuresMax: 100, random }).yield(1).join(1, 1);
  const delays = [];
  let [lease] = run.leases();
  for (let i = 0; i < 9; i++) {
    const startMs = run.throw(lease!).nowMs;
    do [lease] = run.pass(1).leases(); while (lease === undefined);
    delays.push(run.nowMs - startMs);
  }
  t.same(delays.map((ms) => Math.max(0, ms)), [
    1,
    1_998,
    2_000,
    4_000,
    8_000,
    16_000,
    30_000,
    30_000,
    30_000,
  ]);
});

t.test("without an attempt left a job is buried, and settled once its letter is durable", async (t) => {
  const run = new TestRun().yield(1).join(1, 1).say({ kind: "source ended" });
  for (let i = 0; i < 2; i++) run.throw(run.leases()[0]!, `error ${i}`).pass(60_000);
  run.throw(run.leases()[0]!, "the last");
  const [bury] = run.take("bury");
  t.equal(bury?.letters.length, 1);
  const [letter] = bury!.letters;
  t.equal(letter!.seq, 0);
  t.same(letter!.history.attempts.map(({ message, slave }) => [message, slave]), [
    ["error 0", "s1"],
    ["error 1", "s1"],
    ["the last", "s1"],
  ]);
  t.equal(run.state.stranded.length, 1, "until then every state carries it");
  t.equal(run.status.dead, 0);
  t.same(run.say({ kind: "buried", seqs: [0, 1] }).take("end"), [
    { kind: "end", outcome: { kind: "complete", ignoredLast: false } },
  ]);
  t.equal(run.status.dead, 1);
  t.same(run.status.failures, [{ message: "the last", count: 1, differ: false }]);
});

t.test("a fatal job is buried at once", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.throw(run.leases()[0]!, "never", 0, "fatal");
  t.equal(run.take("bury")[0]!.letters[0]!.history.attempts[0]!.how, "fatal");
});

t.test("a job that was on its way to the dead letters is buried by the next master", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.throw(run.leases()[0]!, "never", 0, "fatal");
  const next = new TestRun(run.state);
  t.same(next.run.takeEffects().map(({ kind }) => kind), ["open source", "bury"]);
  next.say({ kind: "buried", seqs: [0, 1] }).say({ kind: "source ended" });
  t.equal(next.take("end")[0]!.outcome.kind, "complete");
  t.equal(next.state.dead, 1);
});

t.test("failures count over restarts", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.throw(run.leases()[0]!);
  const next = new TestRun(run.state).join(1, 1);
  const [lease] = next.leases();
  t.equal(lease!.attempt, 2);
});

t.test("error text of a job stays within 8 KiB: the oldest attempts go first", async (t) => {
  const run = new TestRun(null, { failuresMax: 100 }).yield(1).join(1, 1);
  for (let i = 0; i < 10; i++) run.throw(run.leases()[0]!, `${i} ${"x".repeat(2_000)}`).pass(60_000);
  const { attempts, failures } = run.state.stranded[0]!.history;
  t.equal(failures, 10);
  t.same(attempts.map(({ message }) => message[0]), ["6", "7", "8", "9"]);
  t.equal(attempts[0]!.message.length, 1_000);
});

t.test("the sole suspect of a death is charged, and runs alone in a worker from then on", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  const [lease] = run.leases();
  run.crash(lease!, [1, 2]).answer(1, lease!.lease, { released: [2, 3] });
  t.same(brief(run.leases()), ["1:2-3 no"], "its neighbours do not");
  t.same(brief(run.pass(60_000).leases()), ["1:1-2 in worker"]);
  t.equal(run.state.stranded.find(({ span }) => span.seq === 1)!.history.crashes, 1);
});

t.test("several suspects are not charged, and each runs alone; who crashes then is charged twice", async (t) => {
  const run = new TestRun().yield(4).join(1, 4);
  const [lease] = run.leases();
  run.crash(lease!, [1, 3]).done(lease!, [0, 1, 3, 4]);
  t.same(run.state.stranded.map(({ history }) => [history.crashes, history.crashesInCompany]), [[0, 1]]);
  const [one, two] = run.leases();
  t.same(brief([one!, two!]), ["1:1-2 in worker", "1:2-3 in worker"]);
  run.done(one!).crash(two!, [2, 3]);
  t.equal(run.status.repeated, 2, "the suspects run again; who crashed alone failed");
  t.equal(run.state.stranded[0]!.history.crashes, 2);
  run.say({ kind: "source ended" }).pass(60_000).crash(run.leases()[0]!, [2, 3]);
  t.equal(run.take("bury")[0]!.letters[0]!.seq, 2, "the third crash");
});

t.test("a death in company is charged once: to the suspect that crashes alone first", async (t) => {
  const run = new TestRun().yield(4).join(1, 4);
  const [lease] = run.leases();
  run.crash(lease!, [1, 4]).done(lease!, [0, 1]);
  const [one, two, three] = run.leases();
  run.crash(one!, [1, 2]).crash(two!, [2, 3]).done(three!);
  const crashes = () => run.state.stranded.map(({ span, history }) => [span.seq, history.crashes]).sort();
  t.same(crashes(), [[1, 2], [2, 1]], "the second may not have begun then");
  for (const lease of run.pass(60_000).leases()) run.crash(lease, seqsOf(lease));
  // its slave is well: only then is it the job's doing
  run.done(run.yield(1).leases()[0]!);
  t.same(run.take("bury").flatMap(({ letters }) => letters.map(({ seq }) => seq)), [1]);
  t.same(crashes(), [[1, 3], [2, 2]]);
});

t.test("a death in company under an earlier master is charged to nobody, but its suspects run alone", async (t) => {
  const run = new TestRun().yield(2).join(1, 2);
  const [lease] = run.leases();
  run.crash(lease!, [0, 2]);
  const next = new TestRun(run.state).join(1, 2);
  const leases = next.leases();
  t.same(brief(leases), ["1:0-1 in worker", "1:1-2 in worker"]);
  next.crash(leases[0]!, [0, 1]);
  t.same(next.state.stranded.map(({ history }) => history.crashes).sort(), [0, 1]);
});

t.test("suspects in different leases are in company, too", async (t) => {
  const run = new TestRun().yield(1).join(1, 2);
  const [one] = run.leases();
  const [two] = run.yield(1).leases();
  run.crash(one!, [seqsOf(one!)[0]!, seqsOf(two!)[0]! + 1]);
  t.equal(run.state.stranded[0]!.history.crashes, 0);
});

t.test("a job in flight at two lost sessions runs alone in a slave; its connection closing then is a crash", async (t) => {
  const run = new TestRun().yield(2).join(1, 1);
  run.leases();
  run.leave(1).join(2, 1);
  run.leases();
  run.leave(2).join(3, 5);
  t.same(brief(run.leases()), ["3:0-1 in slave"], "which gets nothing else meanwhile");
  run.leave(3).pass(60_000).join(4, 5);
  const leases = run.leases();
  t.same(brief(leases), ["4:0-1 in slave"]);
  t.equal(run.state.stranded[0]!.history.crashes, 1);
  t.match(run.state.stranded[0]!.history.attempts, [{ how: "crashed", slave: "s3", at: wallClock }]);
  t.same(brief(run.done(leases[0]!).leases()), ["4:1-2 no"], "then it gets jobs as before");
});

t.test("a slave that comes back without the job that ran alone in it is not charged", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.leases();
  run.leave(1).join(2, 1).leases();
  run.leave(2).join(3, 1).leases();
  run.join(4, 1, [], "s3");
  t.match(run.take("close"), [{ session: 3, how: "replaced" }]);
  t.match(run.state.stranded[0]!.history, { crashes: 0, lostSessions: 2, attempts: [] });
});

t.test("a busy slave is emptied for a job that must be alone in it", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.leases();
  run.leave(1).join(2, 1).leases();
  run.join(3, 4).yield(2);
  const busy = run.leases();
  t.same(brief(busy), ["3:1-3 no"]);
  run.leave(2).yield(1);
  t.same(run.leases(), [], "reserved: nothing new");
  run.done(busy[0]!);
  t.same(brief(run.leases()), ["3:0-1 in slave"]);
});

t.test("a slave that was to run a job alone and then wants no more is let go", async (t) => {
  const run = new TestRun().yield(3).join(1, 2);
  const [two] = run.leases();
  for (const session of [2, 3]) {
    run.join(session, 1).leases();
    run.leave(session);
  }
  t.same(run.leases(), [], "it is to be empty first");
  run.say({ kind: "credit", session: 1, credit: 0 }).done(two!);
  t.same(run.leases(), [], "it has no credit");
  t.same(brief(run.join(4, 1).leases()), ["4:2-3 in slave"]);
});

t.test("silence or a drain charges nobody, not even alone in a slave", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.leases();
  run.leave(1).join(2, 1).leases();
  run.leave(2).join(3, 1).join(5, 0).leases();
  run.passSilently(10_000).say({ kind: "heard", session: 5 }).passSilently(5_000);
  t.same(run.take("close"), [{ kind: "close", session: 3, how: "silent" }]);
  t.same(run.state.stranded[0]!.history, {
    failures: 0,
    crashes: 0,
    crashesInCompany: 0,
    lostSessions: 3,
    attempts: [],
  });
  run.join(4, 1).leases();
  run.leave(4, "drained");
  t.match(run.state.stranded[0]!.history, { crashes: 0, attempts: [] }, "it left by itself");
  t.equal(run.join(6, 1).leases().length, 1, "and is not waited for");
});

t.test("whoever follows single jobs is told of each attempt that failed, and what becomes of its job", async (t) => {
  const told: string[] = [];
  const onFailed = ({ seq, attempt, count, countMax, isCharged, isBuried, retryInMs }: FailedAttempt) =>
    told.push(
      `${seq} ${attempt.message} at ${attempt.slave}: ${count}/${countMax} ${isCharged} ${isBuried} ${retryInMs}`,
    );
  const run = new TestRun(null, { failuresMax: 2, onFailed }).yield(1).join(1, 1);
  run.throw(run.leases()[0]!, "a").pass(500);
  run.throw(run.leases()[0]!, "b");
  t.same(told, ["0 a at s1: 1/2 true false 500", "0 b at s1: 2/2 true false null"]);
});

t.test("error text of a job stays within 8 KiB as it is written, whatever has to be escaped", async (t) => {
  for (const text of ["\u0001", "\u009b", "\u202e", "\ud83d", "\u{e0041}", "\u65e5", "x", '"']) {
    const run = new TestRun().yield(1).join(1, 1);
    const [lease] = run.leases();
    const failed = {
      seq: 0,
      how: "fatal",
      message: text.repeat(900),
      stack: text.repeat(16_000),
      durationMs: 1,
    } as const;
    run.answer(1, lease!.lease, { failed: [failed] });
    const [bury] = run.take("bury");
    const { message, stack } = bury!.letters[0]!.history.attempts[0]!;
    const escaped = (message + stack).replace(
      /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}"]/gu,
      (char) => "\\u0000".repeat(char.length),
    );
    t.ok(
      Buffer.byteLength(escaped) <= 8 << 10 || text === '"',
      `${JSON.stringify(text)}: ${Buffer.byteLength(escaped)}`,
    );
    t.ok(Buffer.byteLength(JSON.stringify([message, stack])) <= (8 << 10) + 10);
    t.ok(message.length > 300, "and it is not cut for nothing");
    if (text.length > 1) t.notOk(/[\ud800-\udbff]$/.test(message), "no half of a pair");
  }
});
