import t from "tap";
import { lostSessionsMax } from "../../src/base/limits.ts";
import type { RunState } from "../../src/core/types.ts";
import { brief, TestRun, type TestRun as Run } from "./fixture.ts";

/** Whatever is leased in batches fails. */
function failAll(run: Run): void {
  for (const lease of run.leases()) {
    if (lease.alone === "in slave") continue;
    for (const { seq, end } of lease.parts) {
      for (let each = seq; each < end; each++) run.throw(lease, "no database", each);
    }
  }
}

t.test("after 100 failures in a row nothing is charged, and one probe a second is leased", async (t) => {
  const run = new TestRun().yield(200).join(1, 150);
  failAll(run);
  const charged = run.state.stranded.filter(({ history }) => history.failures > 0);
  t.equal(charged.length, 99, "the hundredth failure shows the outage");
  t.equal(run.status.reason, "failing: no database");
  t.same(run.leases(), []);
  t.same(run.pass(999).leases(), []);
  const probes = [];
  for (let i = 0; i < 20; i++) {
    run.pass(i === 0 ? 1 : 1_000);
    const leases = run.leases();
    t.equal(leases.length, 1);
    probes.push(...brief(leases));
    run.throw(leases[0]!, "still no database");
  }
  t.equal(new Set(probes).size, 20, "another job each time");
  t.ok(probes.includes("1:150-151 no"), "fresh ones, too");
  t.equal(run.state.stranded.filter(({ history }) => history.failures > 1).length, 0, "nothing is charged");
  run.pass(1_000).done(run.leases()[0]!);
  t.ok(run.leases().length > 0, "the first success ends it");
});

/** A state with one job that is to be alone in its slave. */
function stateWithOneForASlave(): RunState {
  const run = new TestRun().yield(1);
  for (let session = 1; session <= lostSessionsMax; session++) {
    run.join(session, 1).leases();
    run.leave(session);
  }
  return run.state;
}

t.test("while nothing is ready, there is no wake for a probe", async (t) => {
  const run = new TestRun(null, { backoffMs: 60_000 }).yield(100).join(1, 100);
  failAll(run);
  t.equal(run.run.tick(0), 1_000);
  t.equal(run.pass(1_000).leases().length, 1, "the only ready one");
  t.equal(run.pass(1_500).run.tick(2_500), 7_500, "a heartbeat");
});

t.test("a probe that is due and cannot be leased is no reason to wake each millisecond", async (t) => {
  const run = new TestRun(null, { backoffMs: 60_000 }).yield(100).join(1, 100);
  failAll(run);
  run.say({ kind: "credit", session: 1, credit: 0 });
  t.equal(run.pass(1_500).run.tick(1_500), 6_500, "nobody has credit");
  run.say({ kind: "credit", session: 1, credit: 1 });
  t.equal(run.run.tick(1_500), 2_500);
  t.equal(run.leases().length, 1);
});

t.test("a slave that is reserved is probed with in time", async (t) => {
  const run = new TestRun(stateWithOneForASlave(), { backoffMs: 60_000, reclaimMs: 0 }).yield(100);
  failAll(run.join(1, 100).join(2, 100));
  t.equal(run.status.reason, "failing: no database");
  const [probe] = run.leave(1).pass(1_000).leases();
  t.same(run.pass(1_000).leases(), [], "the one left is reserved, and is not empty");
  run.yield(1).join(3, 1);
  t.same(brief(run.pass(100).leases()), ["3:101-102 no"]);
  run.leave(3, "drained").throw(probe!);
  t.equal(run.run.tick(run.nowMs), 3_100);
  t.same(brief(run.pass(1_000).leases()), ["2:0-1 in slave"]);
});

t.test("one job that fails for ever is no outage", async (t) => {
  const run = new TestRun(null, { failuresMax: 1_000, backoffMs: 1 }).yield(1).join(1, 1);
  for (let i = 0; i < 150; i++) {
    run.pass(60_000);
    run.throw(run.leases()[0]!);
  }
  t.equal(run.state.stranded[0]!.history.failures, 150);
});

t.test("one success among a hundred is enough", async (t) => {
  const run = new TestRun().yield(120).join(1, 120);
  const [lease] = run.leases();
  for (let seq = 0; seq < 60; seq++) run.throw(lease!, "no", seq);
  run.done(lease!, [60, 61]);
  for (let seq = 61; seq < 120; seq++) run.throw(lease!, "no", seq);
  t.equal(run.state.stranded.filter(({ history }) => history.failures === 1).length, 119);
});

t.test("a thousand jobs through ten seconds of outage: no dead letter", async (t) => {
  const run = new TestRun(null, { jobsMax: 2_000 }).yield(1_200).join(1, 50).join(2, 50);
  for (const endMs = 10_000; run.nowMs < endMs;) {
    failAll(run);
    run.pass(10);
  }
  for (let i = 0; i < 2_000 && run.status.done < 1_200; i++) {
    for (const lease of run.leases()) run.done(lease);
    run.pass(100);
  }
  t.equal(run.status.done, 1_200);
  t.same(run.take("bury"), []);
});

t.test("fatal jobs neither make an outage nor wait for its end", async (t) => {
  const run = new TestRun().yield(150).join(1, 150);
  const [lease] = run.leases();
  for (let seq = 0; seq < 150; seq++) run.throw(lease!, "bad row", seq, "fatal");
  t.equal(run.take("bury").flatMap(({ letters }) => letters).length, 150);
  t.equal(run.status.reason, "source slow");
});

t.test("a job that crashes at each probe does not keep the others from being probed", async (t) => {
  const run = new TestRun().yield(101).join(1, 101);
  failAll(run);
  const probed = new Set<string>();
  for (let i = 0; i < 60; i++) {
    for (const lease of run.pass(1_000).leases()) {
      probed.add(brief([lease])[0]!);
      if (lease.parts[0]!.seq === 100) run.crash(lease, [100, 101]);
      else run.throw(lease);
    }
  }
  t.ok(probed.size > 30, `${probed.size} jobs`);
  t.same(run.take("bury"), []);
});
