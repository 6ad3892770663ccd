import t from "tap";
import { brief, numberOf, seqsOf, settings, TestRun } from "./fixture.ts";

t.test("the first effect opens the source, without a cursor on a fresh start", async (t) => {
  t.same(new TestRun().run.takeEffects(), [{ kind: "open source", last: undefined }]);
});

t.test("a batch is cut when it is leased, as large as the credit, over block boundaries", async (t) => {
  const run = new TestRun().yield(3).yield(3).yield(3).join(1, 7);
  const [lease] = run.leases();
  t.same(seqsOf(lease!), [0, 7]);
  t.same(lease!.parts.map(({ count }) => count), [3, 3, 1]);
  t.same(lease!.parts.map((part) => numberOf(part.job(part.seq))), [0, 3, 6]);
  t.equal(lease!.attempt, 1);
  t.equal(run.status.inFlight, 7);
  t.equal(run.status.buffered, 2);
});

t.test("a batch is at most 1 MiB, and at least one job", async (t) => {
  const run = new TestRun(null, { bytesMax: 64 << 20 }).yield(5, 400_000).yield(1, 1 << 20).join(1, 100);
  t.same(brief(run.leases()), ["1:0-2 no", "1:2-4 no", "1:4-5 no", "1:5-6 no"]);
});

t.test("several slaves with credit share what there is", async (t) => {
  const run = new TestRun().join(1, 100).join(2, 100).join(3, 10).yield(30);
  t.same(brief(run.leases()), ["1:0-10 no", "2:10-20 no", "3:20-30 no"]);
  t.same(
    brief(run.yield(2).leases()),
    ["1:30-36 no"].map(() => "1:30-32 no"),
    "a sixteenth of the credit at least",
  );
});

t.test("while the source has more at hand, slaves share what it may still yield as well", async (t) => {
  const run = new TestRun(null, { jobsMax: 100 }).join(1, 100).join(2, 100).join(3, 100);
  t.same(brief(run.yield(40, 4, true).leases()), ["1:0-34 no", "2:34-40 no"], "a third of the window each");
  t.same(
    brief(run.yield(40, 4, true).leases()),
    ["3:40-74 no", "1:74-80 no"],
    "what a slave holds is part of its share, but a sixteenth of its credit is due",
  );
  t.same(brief(run.yield(8).leases()), ["2:80-88 no"], "it has no more");

  const large = new TestRun(null, { bytesMax: 400 }).join(1, 100).join(2, 100);
  t.same(
    brief(large.yield(30, 10, true).leases()),
    ["1:0-20 no", "2:20-30 no"],
    "half of the 40 for which there are bytes",
  );

  const late = new TestRun().yield(10, 4, true);
  late.leases();
  t.same(brief(late.join(1, 16).join(2, 16).leases()), ["1:0-5 no", "2:5-10 no"], "that was a turn ago");
});

t.test("a slave that answers, or says its credit, keeps its place in the line", async (t) => {
  const run = new TestRun().join(1, 9).join(2, 9).yield(4);
  const [first] = run.leases();
  run.answer(1, first!.lease, { done: [0, 1] }).say({ kind: "credit", session: 1, credit: 8 });
  t.same(brief(run.yield(1).leases()), ["1:4-5 no"]);
  t.same(brief(run.yield(1).leases()), ["2:5-6 no"]);
});

t.test("in a long line of slaves few get much: a batch lasts until it is their turn again", async (t) => {
  const run = new TestRun();
  for (let session = 1; session <= 500; session++) run.join(session, 100);
  t.same(brief(run.yield(120).leases()), ["1:0-50 no", "2:50-100 no", "3:100-120 no"]);
  t.same(brief(run.yield(60).leases()), ["4:120-170 no", "5:170-180 no"], "the next in the line");
});

t.test("slow jobs, one at a time: who waits longest is served next", async (t) => {
  const run = new TestRun().join(1, 2).join(2, 2);
  const served = [];
  for (let i = 0; i < 4; i++) served.push(...brief(run.yield(1).leases()));
  t.same(served, ["1:0-1 no", "2:1-2 no", "1:2-3 no", "2:3-4 no"]);
  t.same(run.yield(1).leases(), [], "no credit, no lease");
});

t.test("jobs of a closed connection are leased again at once, before fresh ones", async (t) => {
  const run = new TestRun().yield(6).join(1, 4);
  run.leases();
  run.join(2, 10).leave(1);
  t.same(brief(run.leases()), ["2:0-4 no", "2:4-6 no"]);
  t.equal(run.status.repeated, 4);
});

t.test("released jobs are leased again, and are no repetition", async (t) => {
  const run = new TestRun().yield(4).join(1, 4);
  const [lease] = run.leases();
  run.answer(1, lease!.lease, { done: [0, 1], released: [1, 4] });
  t.same(brief(run.leases()), ["1:1-4 no"]);
  t.equal(run.status.repeated, 0);
});

t.test("a stale answer changes nothing", async (t) => {
  const run = new TestRun().yield(8).join(1, 4).join(2, 4);
  const [one, two] = run.leases();
  const before = run.state;
  run.answer(2, one!.lease, { done: [0, 4] });
  t.same(run.state, before, "another session's lease");
  run.answer(1, { masterId: "m1", number: 99 }, { done: [0, 8] });
  run.answer(1, { masterId: "m0", number: 1 }, { done: [0, 8] });
  t.same(run.state, before, "a lease that is not held");
  run.done(one!, [0, 8]);
  t.equal(run.status.done, 4, "jobs of other leases are not settled by it");
  run.done(one!, [0, 4]).throw(one!);
  t.equal(run.status.done, 4, "said twice");
  run.leave(2);
  const lost = run.state;
  run.done(two!);
  t.same(run.state, lost, "a session that ended");
});

t.test("a job that an answer names twice counts for the first field", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  const [lease] = run.leases();
  const failed = [0, 0, 2].map((seq) => ({
    seq,
    how: "threw" as const,
    message: "no",
    stack: "",
    durationMs: 1,
  }));
  const crash = { suspects: [1, 2], reason: "exited" };
  run.answer(1, lease!.lease, { done: [0, 3], skipped: [0, 3], failed, crash, released: [1, 2] });
  t.match(run.status, { done: 3, skipped: 0, inFlight: 0, buffered: 0, stranded: 0 });
  const [next] = run.yield(3).leases();
  run.answer(1, next!.lease, { done: [3, 4], skipped: [3, 5], released: [0, 99] });
  t.match(run.status, { done: 4, skipped: 1, inFlight: 0, buffered: 1 });
});

t.test("a doubled nack is charged once", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  const [lease] = run.leases();
  run.throw(lease!).throw(lease!);
  t.equal(run.state.stranded[0]!.history.failures, 1);
});

t.test("a slave that leaves gets nothing more; what it hands back goes to others", async (t) => {
  const run = new TestRun().yield(4).join(1, 2);
  const [lease] = run.leases();
  run.say({ kind: "leaving", session: 1 }).answer(1, lease!.lease, { released: [1, 2] });
  t.same(run.leases(), []);
  run.done(lease!).leave(1, "drained").join(2, 5);
  t.same(brief(run.leases()), ["2:1-2 no", "2:2-4 no"]);
  t.equal(run.state.stranded[0]!.history.lostSessions, 0, "a drain is no loss");
});

t.test("credit can shrink and grow", async (t) => {
  const run = new TestRun().yield(10).join(1, 2);
  const [lease] = run.leases();
  run.say({ kind: "credit", session: 1, credit: 1 }).done(lease!, [0, 1]);
  t.same(run.leases(), []);
  t.same(brief(run.say({ kind: "credit", session: 1, credit: 4 }).leases()), ["1:2-5 no"]);
});

t.test("demand is what the caps leave, in jobs and in bytes, error text included", async (t) => {
  const run = new TestRun(null, { jobsMax: 10, bytesMax: 1_000 });
  t.same(run.run.demand(), { jobs: 10, bytes: 1_000 });
  run.yield(4);
  t.same(run.run.demand(), { jobs: 6, bytes: 984 });
  const [lease] = run.join(1, 4).leases();
  t.same(run.run.demand(), { jobs: 6, bytes: 984 }, "leased jobs count");
  run.throw(lease!, "x".repeat(100));
  t.same(run.run.demand(), { jobs: 6, bytes: 984 - 2 * 102 }, "so do error texts, two bytes a character");
  run.done(lease!, [1, 4]);
  t.same(run.run.demand(), { jobs: 9, bytes: 996 - 2 * 102 });
  run.pass(1_000);
  const [again] = run.leases();
  t.same(run.done(again!).run.demand(), { jobs: 10, bytes: 1_000 }, "all is given back");
  t.same(run.yield(10).run.demand(), { jobs: 0, bytes: 0 }, "full");
});

t.test("a job that stays does not keep its block alive", async (t) => {
  const run = new TestRun(null, { jobsMax: 100_000, bytesMax: 4 << 20 });
  run.join(1, 1_000_000);
  for (let round = 0; round < 40; round++) {
    run.yield(1_000, 256);
    const leases = run.leases();
    for (const lease of leases) run.done(lease, [seqsOf(lease)[0]! + 1, seqsOf(lease)[1]!]);
  }
  t.equal(run.status.inFlight, 40, "one of each thousand is stuck");
  t.ok(run.run.memoryBytes < 3 << 20, `${run.run.memoryBytes} bytes for ${40 * 256}`);
  const { stranded } = run.state;
  t.same(stranded.map(({ span }) => numberOf(span.job(span.seq))), stranded.map(({ span }) => span.seq));
});

t.test("settling needs no fresh jobs, no order, and no whole lease", async (t) => {
  const run = new TestRun().yield(10).join(1, 10);
  const [lease] = run.leases();
  run.done(lease!, [7, 9]).answer(1, lease!.lease, { skipped: [0, 2, 3, 4] }).done(lease!, [
    2,
    3,
    4,
    7,
    9,
    10,
  ]);
  t.equal(run.status.done, 7);
  t.equal(run.status.skipped, 3);
  t.equal(run.status.inFlight, 0);
  t.equal(settings.jobsMax, run.run.demand().jobs);
});

t.test("what a slave says it runs again counts as repeated", async (t) => {
  const run = new TestRun(null, {}).yield(2).join(1, 2);
  run.say({ kind: "again", session: 1, count: 7 });
  t.equal(run.state.repeated, 7);
});
