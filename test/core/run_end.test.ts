import t from "tap";
import { brief, TestRun } from "./fixture.ts";

const ended = (kind: string) => [{ kind: "end", outcome: { kind } }];

t.test("complete: the source ended and every job is settled", async (t) => {
  const run = new TestRun().yield(2).join(1, 2);
  const [lease] = run.leases();
  run.done(lease!, [0, 1]).say({ kind: "source ended" });
  t.same(run.take("end"), []);
  t.equal(run.state.complete, false);
  run.answer(1, lease!.lease, { skipped: [1, 2] });
  t.match(run.take("end"), ended("complete"));
  const { done, skipped, dead, handedOut, complete, stranded } = run.state;
  t.same({ done, skipped, dead, handedOut, complete, stranded: stranded.length }, {
    done: 1,
    skipped: 1,
    dead: 0,
    handedOut: 2,
    complete: true,
    stranded: 0,
  });
  t.equal(run.run.tick(run.nowMs), Infinity);
});

t.test("an empty source is a complete run", async (t) => {
  t.match(new TestRun().say({ kind: "source ended" }).take("end"), ended("complete"));
});

t.test("a stop closes the source, drains, and waits for what runs", async (t) => {
  const run = new TestRun().yield(6).join(1, 2).join(2, 2);
  const [one, two] = run.leases();
  run.say({ kind: "stop" });
  t.same(run.run.takeEffects(), [
    { kind: "close source" },
    { kind: "drain", session: 1 },
    { kind: "drain", session: 2 },
  ]);
  t.equal(run.reason, "draining");
  run.say({
    kind: "yielded",
    block: { bytes: Uint8Array.of(1), ends: Uint32Array.of(1), cursors: null },
    moreAtHand: false,
  });
  run.done(one!).answer(2, two!.lease, { released: [3, 4] });
  t.same(run.run.takeEffects(), [], "nothing is leased");
  run.done(two!, [2, 3]);
  t.match(run.take("end"), ended("stopped"));
  t.same(run.state.stranded.map(({ span, lease }) => [span.seq, span.count, lease]), [[3, 1, null]]);
  t.equal(run.state.handedOut, 4, "what was only yielded comes again");
});

t.test("a stop waits no longer than the grace; a second one not at all", async (t) => {
  const run = new TestRun().yield(2).join(1, 2);
  run.leases();
  run.say({ kind: "stop" });
  run.pass(29_999);
  t.same(run.take("end"), []);
  t.match(run.pass(1).take("end"), ended("stopped"));
  t.same(run.state.stranded.map(({ lease }) => lease?.slaveId), ["s1"], "the slave may still finish them");
  const hurried = new TestRun().yield(2).join(1, 2);
  hurried.leases();
  t.match(hurried.say({ kind: "stop" }).say({ kind: "stop" }).take("end"), ended("stopped"));
});

t.test("a stop without anything in flight ends at once", async (t) => {
  t.match(new TestRun().yield(3).say({ kind: "stop" }).take("end"), ended("stopped"));
});

t.test("who joins while the master stops is told to drain", async (t) => {
  const run = new TestRun().yield(2).join(1, 1);
  run.leases();
  run.say({ kind: "stop" }).run.takeEffects();
  t.same(run.join(2, 5).run.takeEffects().map(({ kind }) => kind), ["keep", "drain"]);
});

t.test("seqs are those of the source over all starts", async (t) => {
  const run = new TestRun().yield(6).join(1, 2);
  run.done(run.leases()[0]!);
  run.leases();
  run.say({ kind: "stop" }).say({ kind: "stop" });
  const next = new TestRun(run.state, { masterId: "m2", reclaimMs: 0 }).yield(2).join(1, 10);
  t.same(brief(next.leases()), ["1:2-4 no", "1:4-6 no"]);
});

t.test("answers are covered once a state that knows them is durable", async (t) => {
  const run = new TestRun().yield(4).join(1, 2);
  const [one] = run.leases();
  run.done(one!, [0, 1]);
  const { version } = run.run.capture();
  run.done(one!, [1, 2]);
  t.ok(run.run.isDirty());
  t.same(run.say({ kind: "saved", version }).take("covered"), [{ kind: "covered", session: 1, through: 1 }]);
  t.ok(run.run.isDirty(), "the second answer came after it");
  const later = run.run.capture();
  t.same(run.say({ kind: "saved", version: later.version }).take("covered"), [
    { kind: "covered", session: 1, through: 2 },
  ]);
  t.notOk(run.run.isDirty());
  t.same(run.say({ kind: "saved", version: later.version }).take("covered"), []);
});

t.test("a stale answer is covered, too: its slave may forget it", async (t) => {
  const run = new TestRun().join(1, 2);
  run.say({ kind: "saved", version: run.run.capture().version });
  run.answer(1, { masterId: "m0", number: 1 }, { done: [0, 1] });
  t.ok(run.run.isDirty());
  t.same(run.say({ kind: "saved", version: run.run.capture().version }).take("covered")[0]!.through, 1);
});

t.test("status says why the run is not faster", async (t) => {
  const run = new TestRun();
  t.equal(run.reason, "waiting for slaves");
  run.join(1, 2);
  t.equal(run.reason, "source slow");
  run.yield(3);
  const [lease] = run.leases();
  t.equal(run.reason, "slaves busy");
  run.pass(30_000);
  t.equal(run.reason, "stalled 30s: job 0 at s1");
  run.done(lease!, [0, 1]).join(2, 2);
  t.equal(run.reason, "slaves busy");
  run.pass(45_000);
  t.equal(run.reason, "stalled 45s: job 1 at s1", "the oldest lease, not the slave that came last");
  run.done(run.leases()[0]!).say({ kind: "source ended" }).throw(lease!, "no", 1);
  t.equal(run.reason, "waiting for retries");
});

t.test("where slaves would take more than the window holds, the limit that it reached is named", async (t) => {
  for (const [change, limit] of [[{ jobsMax: 4 }, "--size"], [{ bytesMax: 16 }, "--size-bytes"]] as const) {
    const run = new TestRun(null, change).yield(4).join(1, 10);
    const [lease] = run.leases();
    t.same(run.run.demand(), { jobs: 0, bytes: 0 });
    t.equal(run.reason, `window full (${limit})`);
    run.say({ kind: "credit", session: 1, credit: 4 });
    t.equal(run.reason, "slaves busy", "their credit is used up");
    run.say({ kind: "credit", session: 1, credit: 10 });
    t.equal(run.reason, `window full (${limit})`);
    run.pass(500).done(lease!, [0, 2]);
    t.ok(run.run.demand().jobs > 0);
    t.equal(run.reason, `window full (${limit})`, "the source was not asked yet");
    run.pass(1_000);
    t.equal(run.reason, "source slow", "it was asked, and yields nothing");
    run.yield(2).leases();
    run.pass(2_000);
    t.equal(run.reason, `window full (${limit})`);
    run.say({ kind: "source ended" });
    t.equal(run.reason, "slaves busy", "there is no more to come");
  }
});

t.test("a window full of jobs that nobody may have yet is not what holds a run back", async (t) => {
  const run = new TestRun(null, { jobsMax: 2 }).yield(2).join(1, 10);
  const [lease] = run.leases();
  run.throw(lease!, "no", 0);
  t.equal(run.reason, "window full (--size)", "one still runs");
  run.throw(lease!, "no", 1);
  t.equal(run.reason, "waiting for retries");
  const lost = new TestRun(null, { jobsMax: 2 }).yield(2).join(1, 10);
  lost.leases();
  const next = new TestRun(lost.state, { jobsMax: 2 }).join(2, 10);
  t.equal(next.reason, "waiting for slaves");
});

/** The reasons that a status shows now and then, of a run that repeats such a round. */
function reasonsOf(sourceMs: number, handlerMs: number): string[] {
  const run = new TestRun(null, { jobsMax: 4 }).join(1, 10);
  const reasons = new Set<string>();
  for (let i = 0; i < 200; i++) {
    run.passSilently(sourceMs).yield(4);
    const [lease] = run.leases();
    if (i > 100) reasons.add(run.reason);
    run.passSilently(handlerMs).done(lease!);
    if (i > 100) reasons.add(run.reason);
  }
  return [...reasons];
}

t.test("source and window by turns: the one that takes longer is named, whenever one looks", async (t) => {
  t.same(reasonsOf(3, 17), ["window full (--size)"]);
  t.same(reasonsOf(17, 3), ["source slow"]);
});

t.test("no room for dead letters ends the run at once, and the state has the jobs of those not written", async (t) => {
  const run = new TestRun().yield(3).join(1, 3);
  const [lease] = run.leases();
  run.answer(1, lease!.lease, {
    done: [0, 1],
    failed: [{ seq: 1, how: "fatal", message: "no", stack: "", durationMs: 1 }],
  });
  t.equal(run.take("bury").length, 1);
  run.say({ kind: "no room", message: "full" });
  t.match(run.take("end"), [{ kind: "end", outcome: { kind: "no room", message: "full" } }]);
  t.same(run.state.stranded.map(({ span }) => span.seq).sort(), [1, 2]);
  t.equal(run.state.dead, 0);
  t.equal(run.state.complete, false);
  run.say({ kind: "no room", message: "full" });
  t.same(run.take("end"), [], "once");
  const stopping = new TestRun().yield(2).join(1, 2);
  stopping.leases();
  stopping.say({ kind: "stop" }).say({ kind: "no room", message: "full" });
  t.match(stopping.take("end"), ended("stopped"), "one that is stopped already ends now");
});
