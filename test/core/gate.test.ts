import t from "tap";
import { Gate } from "../../src/core/gate.ts";
import { TestRun } from "./fixture.ts";

t.test("a gate without limits is always open", async (t) => {
  const gate = new Gate({}, 0);
  t.equal(gate.budget(1_000_000, 0), Infinity);
  t.equal(gate.closedBy(1_000_000, 0), null);
  t.equal(gate.openMs(7), 7);
});

t.test("the bucket starts empty, holds 100 ms' worth, and takes back what was released", async (t) => {
  const gate = new Gate({ ratePerSecond: 1_000 }, 0);
  t.equal(gate.budget(0, 0), 0);
  t.equal(gate.closedBy(0, 0), "rate");
  t.equal(gate.openMs(0), 1);
  t.equal(gate.budget(0, 5), 5);
  t.equal(gate.budget(0, 60_000), 100, "a minute of idling is not made up for");
  gate.leased(100, 60_000);
  t.equal(gate.openMs(60_000), 60_005, "not sooner, to lease several at once");
  t.equal(gate.budget(0, 60_000), 0);
  gate.released(40);
  t.equal(gate.budget(0, 60_000), 40);
  gate.released(400);
  t.equal(gate.budget(0, 60_000), 100);
  const slow = new Gate({ ratePerSecond: 1 / 60 }, 0);
  t.equal(slow.budget(0, 59_999), 0);
  t.equal(slow.budget(0, 60_001), 1);
  slow.leased(1, 60_001);
  t.ok(Math.abs(slow.openMs(60_001) - 120_000) < 2);
});

/** A fleet whose every job takes `jobMs`; each attempt fails with this probability. Counts what begins, and when. */
function play(
  change: { ratePerSecond?: number; inFlightMax?: number },
  { slaves, credit = 100, jobMs = 20, failing = 0, ms = 10_000 }: {
    slaves: number;
    credit?: number;
    jobMs?: number;
    failing?: number;
    ms?: number;
  },
) {
  const run = new TestRun(null, {
    ...change,
    jobsMax: 200_000,
    bytesMax: 1 << 30,
    failuresMax: 1_000,
    backoffMs: 1,
  });
  for (let session = 1; session <= slaves; session++) run.join(session, credit);
  const running: { atMs: number; lease: ReturnType<TestRun["leases"]>[number] }[] = [];
  let begun = 0;
  let inFlightMax = 0;
  let turns = 0;
  let chance = 0;
  // as the driver does: until there is nothing left to do
  const turn = () => {
    for (turns++;;) {
      const wakeMs = run.run.tick(run.nowMs);
      const { jobs } = run.run.demand();
      if (jobs > 0) run.yield(Math.min(jobs, 20_000));
      const leases = run.leases();
      for (const lease of leases) {
        begun += lease.parts.reduce((sum, part) => sum + part.count, 0);
        running.push({ atMs: run.nowMs + jobMs, lease });
      }
      inFlightMax = Math.max(inFlightMax, run.status.inFlight);
      if (leases.length === 0 && jobs === 0) return wakeMs;
    }
  };
  while (run.nowMs < ms) {
    const wakeMs = turn();
    running.sort((a, b) => a.atMs - b.atMs);
    const nextMs = Math.max(
      run.nowMs + 0.5,
      Math.min(wakeMs, running[0]?.atMs ?? Infinity, run.nowMs + 1_000),
    );
    run.nowMs = Math.min(ms, nextMs);
    for (let session = 1; session <= slaves; session++) run.say({ kind: "heard", session });
    while (running.length > 0 && running[0]!.atMs <= run.nowMs) {
      const { lease } = running.shift()!;
      const [first, end] = [lease.parts[0]!.seq, lease.parts.at(-1)!.end];
      chance = (chance + failing) % 1;
      if (failing > 0 && chance < failing && end - first === 1) run.throw(lease);
      else run.done(lease);
    }
  }
  return { begun, inFlightMax, turns, reason: run.reason };
}

const rates = [
  [1 / 60, 1, 120_000],
  [1, 1, 10_000],
  [7, 3, 10_000],
  [100, 1, 10_000],
  [100, 100, 10_000],
  [1_000, 10, 10_000],
  [30_000, 100, 10_000],
] as const;
for (const [ratePerSecond, slaves, ms] of rates) {
  t.test(`${ratePerSecond} a second over ${slaves} slaves is held within 2 %, or one attempt`, async (t) => {
    const { begun, reason, turns } = play({ ratePerSecond }, { slaves, credit: 2_000, ms });
    const allowed = ratePerSecond * ms / 1_000;
    t.ok(Math.abs(begun - allowed) <= Math.max(1, 0.02 * allowed), `${begun} begun, ${allowed} allowed`);
    t.match(reason, /^throttled: --rate /);
    t.ok(turns <= ms / 5 * 4 + 100, `${turns} turns`);
  });
}

t.test("retries count: a rate is one of attempts, not of jobs", async (t) => {
  const { begun } = play({ ratePerSecond: 50 }, { slaves: 2, failing: 0.2 });
  t.ok(Math.abs(begun - 500) <= 10, `${begun} attempts in 10 s at 50/s`);
});

for (const inFlightMax of [1, 7, 50]) {
  t.test(`no more than ${inFlightMax} jobs are in flight, and no fewer where there is work`, async (t) => {
    const played = play({ inFlightMax }, { slaves: 5, ms: 2_000 });
    t.equal(played.inFlightMax, inFlightMax);
    t.ok(played.begun >= 0.9 * inFlightMax * 2_000 / 20, `${played.begun} begun`);
    t.equal(played.reason, `throttled: --max-in-flight ${inFlightMax}`);
  });
}

t.test("jobs that a slave may still run under an earlier master are in flight, too", async (t) => {
  const before = new TestRun(null, { inFlightMax: 4 }).yield(10).join(1, 10);
  t.equal(before.leases().reduce((sum, { parts }) => sum + parts[0]!.count, 0), 4);
  const next = new TestRun(before.state, { inFlightMax: 4 }).yield(6).join(2, 10);
  t.same(next.leases(), [], "slave 1 may come back with its four");
  next.pass(20_000);
  t.equal(next.leases().reduce((sum, { parts }) => sum + parts.length, 0) > 0, true, "it did not");
});
