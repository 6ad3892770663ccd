import t from "tap";
import { brief, seqsOf, TestRun } from "./fixture.ts";

const m1 = (number: number) => ({ masterId: "m1", number });

t.test("a slave is given up after three silent heartbeats; any byte proves life", async (t) => {
  const run = new TestRun().yield(2).join(1, 1).join(2, 1);
  run.leases();
  run.passSilently(10_000).say({ kind: "heard", session: 2 }).passSilently(4_999);
  t.same(run.take("close"), []);
  t.same(run.passSilently(1).take("close"), [{ kind: "close", session: 1, how: "silent" }]);
  t.equal(run.status.slaves, 1);
  t.equal(run.status.buffered, 1);
});

t.test("if all fall silent, their jobs wait for them: it is the master that is cut off", async (t) => {
  const run = new TestRun().yield(3).join(1, 1);
  const [one] = run.leases();
  run.passSilently(4_000).join(2, 1);
  const [two] = run.leases();
  t.same(run.passSilently(11_000).take("close"), [], "the other one may be heard yet");
  const closed = run.passSilently(4_000).take("close");
  t.same(closed.map(({ session }) => session), [1, 2]);
  t.match(run.status, { slaves: 0, buffered: 3 });
  run.passSilently(3_600_000).join(3, 1, [{ lease: one!.lease, jobs: [0, 1] }], "s1");
  t.same(
    brief(run.done({ ...one!, session: 3 }, [0, 1]).leases()),
    ["3:2-3 no"],
    "what the other had is not for this one",
  );
  run.join(4, 1, [{ lease: two!.lease, jobs: [1, 2] }], "s2");
  t.same(run.take("keep").at(-1)!.leases, [{ lease: two!.lease, jobs: [1, 2] }]);
  t.equal(run.state.repeated, 0);
});

t.test("a slave that does not come back when others do is given up", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.leases();
  run.passSilently(15_000).join(2, 1);
  t.same(brief(run.pass(14_999).leases()), []);
  t.same(brief(run.pass(1).leases()), ["2:0-1 no"]);
});

t.test("one that is heard while all seem silent tells who is lost", async (t) => {
  const run = new TestRun().yield(2).join(1, 1).passSilently(4_000).join(2, 1);
  run.leases();
  run.passSilently(11_500);
  t.same(run.take("close"), []);
  t.same(run.say({ kind: "heard", session: 2 }).passSilently(0).take("close").map(({ session }) => session), [
    1,
  ]);
  t.match(run.status, { slaves: 1, buffered: 1 });
});

t.test("a master that stood still gives nobody up: it reads first what was waiting", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.leases();
  run.passSilently(4_000);
  run.nowMs += 60_000; // stopped
  run.run.tick(run.nowMs);
  t.same(run.take("close"), [], "the overdue timer comes first");
  run.say({ kind: "heard", session: 1 }).passSilently(14_999);
  t.same(run.take("close"), []);
  t.same(
    run.pass(1).take("close"),
    [{ kind: "close", session: 1, how: "silent" }],
    "then the limit is as ever",
  );
});

t.test("a stall that ends just behind the limit leaves time to read", async (t) => {
  const run = new TestRun().join(1, 1).passSilently(14_900);
  run.nowMs += 1_100;
  run.run.tick(run.nowMs);
  t.same(run.take("close"), []);
  t.same(run.say({ kind: "heard", session: 1 }).passSilently(14_000).take("close"), []);
});

t.test("an event after a stall counts as the overdue timer does", async (t) => {
  const run = new TestRun().join(1, 1).join(2, 1).passSilently(4_000);
  run.nowMs += 60_000;
  run.say({ kind: "heard", session: 1 });
  run.run.tick(run.nowMs);
  t.same(run.take("close"), []);
});

t.test("timers a little late do not stretch the limit", async (t) => {
  const run = new TestRun().join(1, 1);
  for (
    let wakeMs = run.run.tick(0);
    run.status.slaves > 0 && run.nowMs < 60_000;
    wakeMs = run.run.tick(run.nowMs)
  ) {
    run.nowMs = wakeMs + 20;
  }
  t.ok(run.nowMs < 15_100, `${run.nowMs} ms`);
});

t.test("a slave that comes back gets what it names, and its older session ends", async (t) => {
  const run = new TestRun().yield(10).join(1, 10);
  const [lease] = run.leases();
  run.done(lease!, [0, 2]);
  run.join(2, 10, [{ lease: lease!.lease, jobs: [1, 6] }], "s1");
  const effects = run.run.takeEffects();
  t.same(effects[0], { kind: "close", session: 1, how: "replaced" });
  t.same(
    effects[1],
    { kind: "keep", session: 2, leases: [{ lease: m1(1), jobs: [2, 6] }] },
    "but what is settled",
  );
  t.equal(effects[2]!.kind === "lease" && seqsOf(effects[2]!)[0], 6, "the rest is leased again at once");
  t.equal(run.answer(2, m1(1), { done: [2, 6] }).status.done, 6);
  t.equal(run.state.stranded.every(({ history }) => history.lostSessions === 0), true, "nothing was lost");
});

t.test("of a lost lease a slave gets back what is not leased again", async (t) => {
  const run = new TestRun().yield(10).join(1, 10);
  const [lease] = run.leases();
  run.leave(1).join(2, 4);
  t.same(brief(run.leases()), ["2:0-4 no"]);
  run.join(3, 10, [{ lease: lease!.lease, jobs: [0, 10] }], "s1");
  t.same(run.take("keep"), [{ kind: "keep", session: 3, leases: [{ lease: m1(1), jobs: [4, 10] }] }]);
  t.equal(run.status.repeated, 4);
  const kept = run.state.stranded.filter(({ lease }) => lease?.slaveId === "s1");
  t.same(kept.map(({ history }) => history.lostSessions), [0], "what the loss changed is taken back");
});

t.test("answers that change nothing, without end, lose the session, and charge nobody", async (t) => {
  const run = new TestRun().yield(2).join(1, 2);
  const [lease] = run.leases();
  const failed = Array.from({ length: 500 }, (_, seq) => (
    { seq: 100 + seq, how: "threw", message: "", stack: "", durationMs: 0 } as const
  ));
  const answer = { lease: lease!.lease, done: [], skipped: [], failed, crash: null, released: [] };
  const stale = () => run.say({ kind: "answered", session: 1, number: 1, answer, at: "" });
  for (let said = 0; said < 15; said++) stale();
  t.same(run.take("close"), [], "an answer may be given again");
  for (let said = 0; said < 10; said++) stale();
  t.same(run.take("close"), [{ kind: "close", session: 1, how: "stale" }]);
  t.match(run.join(2, 2).leases(), [{ attempt: 1, alone: "no" }], "its jobs are for others");
});

t.test("repetitions that slaves make up stay a count that can be loaded", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  for (let said = 0; said < 3; said++) {
    run.say({ kind: "again", session: 1, count: Number.MAX_SAFE_INTEGER - 1 });
  }
  t.equal(run.state.repeated, Number.MAX_SAFE_INTEGER);
});

t.test("a slave that names suspects which it never had charges nobody else with them", async (t) => {
  const run = new TestRun().yield(6).join(1, 3).join(2, 3);
  const leases = run.leases();
  const [evil] = leases.filter(({ session }) => session === 1);
  const honest = leases.filter(({ session }) => session === 2);
  const [seq] = seqsOf(honest[0]!);
  for (let job = 0; job < 3; job++) run.crash(evil!, [evil!.parts[0]!.seq + job, 2 ** 50]);
  run.crash(honest[0]!, [seq!, seq! + 1]);
  const crashes = run.state.stranded.flatMap(({ span, history }) =>
    seq! >= span.seq && seq! < span.end ? [history.crashes] : []
  );
  t.same(crashes, [1], "it died once");
});

t.test("a slave that names very many leases costs no more than reading them", async (t) => {
  const run = new TestRun().yield(4_000).join(1, 4_000);
  const [lease] = run.leases();
  const released = Array.from({ length: 4_000 }, (_, at) => at);
  const answer = { lease: lease!.lease, done: [], skipped: [], failed: [], crash: null, released };
  run.say({ kind: "answered", session: 1, number: 1, answer, at: "" });
  const held = Array.from({ length: 30_000 }, (_, number) => ({ lease: m1(number), jobs: [0, 1] }));
  const beganMs = performance.now();
  run.join(2, 0, held);
  t.ok(performance.now() - beganMs < 1_000, "not those times what waits here");
});

t.test("a lease of another slave, or an unknown one, is not kept", async (t) => {
  const run = new TestRun().yield(4).join(1, 4);
  const [lease] = run.leases();
  run.join(2, 0, [{ lease: lease!.lease, jobs: [0, 4] }, { lease: m1(77), jobs: [0, 4] }]);
  t.same(run.take("keep"), [{ kind: "keep", session: 2, leases: [] }]);
  run.leave(1).join(3, 0, [{ lease: lease!.lease, jobs: [0, 4] }], "s3");
  t.same(run.take("keep"), [{ kind: "keep", session: 3, leases: [] }]);
});

t.test("a released or failed job is not kept: its slave has it no more", async (t) => {
  const run = new TestRun().yield(4).join(1, 4);
  const [lease] = run.leases();
  run.answer(1, lease!.lease, { released: [0, 1] }).throw(lease!, "no", 1).leave(1);
  run.join(2, 0, [{ lease: lease!.lease, jobs: [0, 4] }], "s1");
  t.same(run.take("keep")[0]!.leases, [{ lease: m1(1), jobs: [2, 4] }]);
});

t.test("after a restart leased jobs wait for their slave, the others do not", async (t) => {
  const run = new TestRun().yield(6).join(1, 3).join(2, 3);
  const [one] = run.leases();
  run.answer(1, one!.lease, { released: [0, 1] });
  const state = run.state;
  const next = new TestRun(state, { masterId: "m2" }).join(3, 10);
  t.same(brief(next.leases()), ["3:0-1 no"], "it was of no lease");
  next.pass(14_000).join(4, 3, [{ lease: m1(1), jobs: [1, 2] }], "s1");
  t.same(next.take("keep")[0]!.leases, [{ lease: m1(1), jobs: [1, 2] }]);
  t.same(brief(next.leases()), [], "m1's second lease may still come back");
  t.equal(next.status.inFlight, 3);
  t.same(brief(next.pass(1_000).leases()), ["4:3-5 no", "3:5-6 no"], "but not for ever");
  t.equal(next.status.repeated, 4);
});

t.test("what a slave began and the state does not know of is repeated: a dead master had leased it", async (t) => {
  const first = new TestRun().yield(10).join(1, 2);
  first.leases();
  const next = new TestRun(first.state, { masterId: "m2" });
  const lease = m1(2);
  const untouched = [{ lease, jobs: [7, 9] }];
  next.join(1, 2, [{ lease: m1(1), jobs: [0, 2] }, { lease, jobs: [2, 9] }], "s1", untouched);
  t.same(next.take("keep")[0]!.leases, [{ lease: m1(1), jobs: [0, 2] }], "what the state knows of goes on");
  t.equal(next.status.repeated, 5, "2 to 6; the others did not begin");
  next.join(2, 2, [{ lease: m1(1), jobs: [0, 2] }, { lease, jobs: [2, 9] }], "s1", [{ lease, jobs: [8, 9] }]);
  t.equal(next.status.repeated, 6, "named again since it heard no answer: those are counted, but not 7");
  next.join(3, 2, [{ lease: m1(3), jobs: [4, 6] }], "s3");
  t.equal(next.status.repeated, 8, "another slave ran two of them, too");
  next.yield(8).leases();
  t.equal(next.status.repeated, 8, "they are counted once");
  t.equal(new TestRun(next.state).status.repeated, 8, "and for good");
});

t.test("a slave that names more jobs than it can hold spoils no count", async (t) => {
  const run = new TestRun();
  const all = [0, Number.MAX_SAFE_INTEGER];
  for (let i = 0; i < 20; i++) {
    run.join(i, 1, [{ lease: m1(i), jobs: all }, { lease: { masterId: "m0", number: i }, jobs: all }]);
  }
  t.equal(run.state.repeated, 20 * 10_000_000);
});

t.test("what a slave names of leases of this master is no sign of a repetition", async (t) => {
  const run = new TestRun().yield(4).join(1, 4);
  const [lease] = run.leases();
  run.join(2, 4, [{ lease: lease!.lease, jobs: [0, 4] }], "s1");
  t.equal(run.status.repeated, 0);
});

t.test("lost jobs do not count where what is said is the least: nobody alive knows whether they began", async (t) => {
  const first = new TestRun().yield(4).join(1, 4);
  first.leases();
  const known = new TestRun(first.state, { masterId: "m2", reclaimMs: 0 }).join(2, 4);
  known.leases();
  t.match(known.status, { repeated: 4, repeatedAtLeast: false });
  const killed = { ...first.state, repeatedAtLeast: true };
  const next = new TestRun(killed, { masterId: "m2", reclaimMs: 0 }).join(2, 4);
  next.leases();
  t.match(next.status, { repeated: 0, repeatedAtLeast: true });
});

t.test("what a slave that came back does not name is ready at once", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  run.leases();
  const next = new TestRun(run.state, { masterId: "m2" }).join(1, 3);
  t.same(brief(next.leases()), ["1:0-3 no"]);
});

t.test("under `run` nobody waits", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  run.leases();
  const next = new TestRun(run.state, { masterId: "m2", reclaimMs: 0 }).join(9, 3);
  t.same(brief(next.leases()), ["9:0-3 no"]);
});

t.test("a master that stood still waits for its slaves as long as if it had not", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  run.leases();
  const next = new TestRun(run.state, { masterId: "m2" }).join(9, 3);
  next.run.tick(0);
  next.nowMs = 60_000;
  next.run.tick(next.nowMs);
  t.same(next.leases(), []);
  t.same(
    next.pass(9_899).leases(),
    [],
    "it was to wake after 5 s: these count, and 0.1 s by which it may be late",
  );
  t.same(brief(next.pass(1).leases()), ["9:0-3 no"]);
});
