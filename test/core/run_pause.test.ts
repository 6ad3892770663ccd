import t from "tap";
import { brief, TestRun } from "./fixture.ts";

t.test("while it is paused nothing is leased, answers count, and the source fills the window", async (t) => {
  const run = new TestRun(null, { jobsMax: 8 }).yield(4).join(1, 2);
  const [lease] = run.leases();
  run.say({ kind: "set", name: "paused", value: true });
  t.equal(run.reason, "paused");
  t.ok(run.run.isDirty(), "the next state says so");
  run.done(lease!).yield(4);
  t.same(run.leases(), []);
  t.match(run.status, { done: 2, buffered: 6, inFlight: 0 });
  run.say({ kind: "set", name: "paused", value: false });
  t.same(brief(run.leases()), ["1:2-4 no"]);
});

t.test("a pause is kept in the state, and beside it what this version does not know", async (t) => {
  const settings = new Map<string, string | boolean>([["colour", "blue"]]);
  const run = new TestRun({ ...new TestRun().state, settings }).say({
    kind: "set",
    name: "paused",
    value: true,
  });
  const { state } = run;
  t.same([...state.settings], [["colour", "blue"], ["paused", true]]);
  const next = new TestRun(state).yield(2).join(1, 2);
  t.same(next.leases(), []);
  t.equal(next.reason, "paused");
  next.say({ kind: "set", name: "paused", value: false });
  t.same([...next.state.settings], [["colour", "blue"]]);
  t.same([...state.settings].length, 2, "a state on its way to the disk is not changed");
  t.same(brief(next.leases()), ["1:0-2 no"]);
});

t.test("a paused run that has nothing left ends; a stop is a stop", async (t) => {
  const run = new TestRun().yield(1).join(1, 2).say({ kind: "source ended" });
  const [lease] = run.leases();
  run.say({ kind: "set", name: "paused", value: true }).done(lease!);
  t.match(run.take("end"), [{ outcome: { kind: "complete" } }]);
  const stopped = new TestRun().yield(1).join(1, 2).say({ kind: "set", name: "paused", value: true });
  t.match(stopped.say({ kind: "stop" }).take("end"), [{ outcome: { kind: "stopped" } }]);
});

/** A run in which nothing succeeds: a few jobs are tried now and then. */
function failing(): TestRun {
  const run = new TestRun(null, { maxOutageMs: 60_000 }).yield(400).join(1, 10);
  for (let round = 0; round < 60; round++) {
    for (const lease of run.leases()) {
      for (const part of lease.parts) {
        for (let { seq } = part; seq < part.end; seq++) run.throw(lease, "no", seq);
      }
    }
    run.pass(500);
  }
  return run;
}

t.test("a paused run does not turn, though a probe is due: it wakes for heartbeats alone", async (t) => {
  const run = failing();
  t.match(run.reason, /^failing/);
  run.say({ kind: "set", name: "paused", value: true });
  let wakeMs = run.run.tick(run.nowMs);
  let turns = 0;
  for (const endMs = run.nowMs + 60_000; wakeMs < endMs && turns < 1_000; turns++) {
    run.nowMs = Math.max(run.nowMs, wakeMs);
    run.say({ kind: "heard", session: 1 });
    wakeMs = run.run.tick(run.nowMs);
  }
  t.ok(turns < 60, `${turns} turns in a minute`);
});

t.test("an outage lasts no longer for a pause", async (t) => {
  const run = failing();
  run.say({ kind: "set", name: "paused", value: true }).pass(600_000);
  t.same(run.take("end"), [], "ten minutes of a pause are no outage");
  run.say({ kind: "set", name: "paused", value: false }).pass(10_000);
  t.same(run.take("end"), []);
  run.pass(60_000);
  t.match(run.take("end"), [{ outcome: { kind: "outage" } }], "what was left of it counts on");
});

t.test("the plugin holds the fleet as an operator does, but nothing of it is kept in the state", async (t) => {
  const run = new TestRun().yield(4).join(1, 2).say({ kind: "throttled", reason: "replica lag" });
  t.same(run.leases(), []);
  t.equal(run.reason, "throttled: replica lag");
  t.equal(run.state.settings.size, 0);
  run.say({ kind: "set", name: "paused", value: true }).say({ kind: "throttled", reason: null });
  t.same(run.leases(), [], "the operator still says so");
  t.equal(run.reason, "paused");
  run.say({ kind: "set", name: "paused", value: false });
  t.same(brief(run.leases()), ["1:0-2 no"]);
});
