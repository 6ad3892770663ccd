import t, { type Test } from "tap";
import { chanceOf, Health } from "../../src/core/health.ts";
import { lostSessionsMax } from "../../src/core/piece.ts";
import { seqsOf, TestRun } from "./fixture.ts";
import { type FleetPlan, type FleetResult, play, service } from "./fleet.ts";
import { noticeInWords } from "../../src/observe/phrases.ts";

t.setTimeout(120_000);

/** Whose fault failures are: each row is a world, and what must become of the jobs in it. */
type Row = Readonly<{
  name: string;
  plan: () => FleetPlan;
  isBad?: (job: number) => boolean;
  secondsMax: number;
  /** Attempts for each job, on average. */
  callsMax?: number;
  /** Its jobs are slow, so each answer comes by itself. */
  isSlow?: boolean;
  check?: (t: Test, result: FleetResult) => void;
}>;

const ms = 10;
const quick = { backoffMs: 50 };
const flaps = (nowMs: number) => Math.floor(nowMs / 2_000) % 2 === 0;
const fails = (name: string) => (t: Test, { warnings }: FleetResult) =>
  t.match(warnings.join("\n"), `Slave ${name} fails everything: no ${name.at(-1)}`);

/** Of the rows, this share, here and there. */
function isBadAtRandom(job: number, share: number): boolean {
  const mixed = Math.imul(job + 1, 2_654_435_761);
  return (Math.imul(mixed ^ (mixed >>> 15), 2_246_822_519) >>> 8) / 2 ** 24 < share;
}

/** A plan around a service that admits so much, whoever calls. */
function limited(
  perSecond: number,
  jobs: number,
  slots: number[],
  isBad = (_: number) => false,
): () => FleetPlan {
  return () => {
    const admits = service(perSecond, perSecond);
    const attempt: FleetPlan["attempt"] = (nowMs, _, job) => {
      const { ms, ok } = admits(nowMs);
      return { ms, ok: ok && !isBad(job) };
    };
    return { jobs, slots, attempt };
  };
}

/** At most so many at once; the others are refused after 2 ms. */
function crowded(): FleetPlan {
  let ends: number[] = [];
  const attempt = (nowMs: number) => {
    ends = ends.filter((endMs) => endMs > nowMs);
    if (ends.length >= 10) return { ms: 2, ok: false };
    ends.push(nowMs + 50);
    return { ms: 50, ok: true };
  };
  return { jobs: 2_000, slots: [40], attempt };
}

const rows: readonly Row[] = [
  {
    name: "all is well",
    plan: () => ({ jobs: 1_000, slots: [2, 2], attempt: () => ({ ms, ok: true }) }),
    secondsMax: 2.6,
  },
  {
    name: "a few jobs, all bad, are no outage",
    plan: () => ({ jobs: 3, slots: [4], attempt: () => ({ ms, ok: false }) }),
    isBad: () => true,
    secondsMax: 8,
    callsMax: 3,
  },
  {
    name: "one bad row is buried although it may be the beginning of an outage",
    plan: () => ({ jobs: 1_000, slots: [4], attempt: (_, __, job) => ({ ms, ok: job !== 500 }) }),
    isBad: (job) => job === 500,
    secondsMax: 8,
    callsMax: 1.01,
  },
  {
    name: "10 % bad rows, all tried again at the end, are no outage",
    plan: () => ({
      jobs: 200,
      slots: [2],
      attempt: (_, __, job) => ({ ms: 0.1, ok: job % 10 !== 0 }),
      settings: { ...quick, failuresMax: 2 },
    }),
    isBad: (job) => job % 10 === 0,
    secondsMax: 1,
    callsMax: 1.1,
  },
  {
    name: "40 % bad rows end at nearly the speed of the handlers",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (_, __, job) => ({ ms, ok: job % 5 >= 2 }),
      settings: quick,
    }),
    isBad: (job) => job % 5 < 2,
    secondsMax: 4,
  },
  {
    name: "the same, with one before the last ones that cannot be sent",
    plan: () => ({
      jobs: 1_000,
      rowBefore: 950,
      slots: [8],
      attempt: (_, __, job) => ({ ms, ok: job % 5 >= 2 }),
      settings: quick,
    }),
    isBad: (job) => job % 5 < 2,
    secondsMax: 4.5,
  },
  {
    name: "90 % bad rows: nobody is quarantined, all bad ones die",
    plan: () => ({
      jobs: 1_000,
      slots: [4, 4],
      attempt: (_, __, job) => ({ ms, ok: job % 10 === 0 }),
      settings: quick,
    }),
    isBad: (job) => job % 10 !== 0,
    secondsMax: 30,
    check: (t, { warnings }) => t.notMatch(warnings.join("\n"), "fails everything: no"),
  },
  {
    name: "a hole of 300 bad rows",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (_, __, job) => ({ ms, ok: job < 400 || job >= 700 }),
      settings: quick,
    }),
    isBad: (job) => job >= 400 && job < 700,
    secondsMax: 4,
  },
  {
    name: "40 % bad rows, at random, where all jobs are handed out before any fails",
    plan: () => ({
      jobs: 500,
      slots: [4, 4],
      ahead: 600,
      attempt: (_, __, job) => ({ ms: 5, ok: !isBadAtRandom(job, 0.4) }),
      settings: quick,
    }),
    isBad: (job) => isBadAtRandom(job, 0.4),
    secondsMax: 2.5,
    callsMax: 3,
  },
  {
    name: "the same with 90 %",
    plan: () => ({
      jobs: 500,
      slots: [4, 4],
      ahead: 600,
      attempt: (_, __, job) => ({ ms: 5, ok: !isBadAtRandom(job, 0.9) }),
      settings: quick,
    }),
    isBad: (job) => isBadAtRandom(job, 0.9),
    secondsMax: 3.5,
    callsMax: 4,
  },
  {
    name: "every tenth row bad, in one answer, two attempts, no delay",
    plan: () => ({
      jobs: 300,
      slots: [300],
      attempt: (_, __, job) => ({ ms: 5, ok: job % 10 !== 9 }),
      settings: { backoffMs: 0, failuresMax: 2 },
    }),
    isBad: (job) => job % 10 === 9,
    secondsMax: 0.5,
    callsMax: 1.1,
  },
  {
    name: "a hole of bad rows where all jobs are handed out before any fails",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      ahead: 1_000,
      attempt: (_, __, job) => ({ ms: 5, ok: job < 400 || job >= 700 }),
      settings: quick,
    }),
    isBad: (job) => job >= 400 && job < 700,
    secondsMax: 3,
    callsMax: 2.2,
  },
  {
    name: "a hole larger than what is in flight, drawn past",
    plan: () => ({
      jobs: 6_000,
      slots: [8],
      attempt: (_, __, job) => ({ ms, ok: job < 2_000 || job >= 4_000 }),
      settings: quick,
    }),
    isBad: (job) => job >= 2_000 && job < 4_000,
    secondsMax: 20,
  },
  {
    name: "a tail of bad rows ends after --max-outage",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (_, __, job) => ({ ms, ok: job < 850 }),
      settings: { ...quick, maxOutageMs: 10_000, maxOutageAtEndMs: 10_000 },
    }),
    isBad: (job) => job >= 850,
    secondsMax: 90,
    check: (t, { seconds }) => t.ok(seconds > 11, `after ${seconds} s`),
  },
  {
    name: "a slave that fails at once beside a healthy one",
    plan: () => ({
      jobs: 1_500,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms, ok: true } : { ms: 0.5, ok: false },
    }),
    secondsMax: 1.3 * 7.5,
    check: fails("web2"),
  },
  {
    name: "the same with one attempt a job",
    plan: () => ({
      jobs: 1_500,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms, ok: true } : { ms: 0.5, ok: false },
      settings: { failuresMax: 1 },
    }),
    secondsMax: 1.3 * 7.5,
    check: fails("web2"),
  },
  {
    name: "the same where good jobs take a second each",
    isSlow: true,
    plan: () => ({
      jobs: 100,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms: 1_000, ok: true } : { ms: 0.5, ok: false },
    }),
    secondsMax: 1.3 * 50,
    check: fails("web2"),
  },
  {
    name: "the same where its workers die",
    isSlow: true,
    plan: () => ({
      jobs: 1_500,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms, ok: true } : { ms: 150, ok: false, crashes: true },
    }),
    secondsMax: 1.3 * 7.5,
    check: (t, { warnings }) => t.match(warnings, ["Slave web2 fails everything: exited."]),
  },
  {
    name: "three such slaves beside one that is well",
    plan: () => ({
      jobs: 1_500,
      slots: [2, 2, 2, 2],
      attempt: (_, slave) => slave === 0 ? { ms, ok: true } : { ms: 0.5, ok: false },
    }),
    secondsMax: 1.3 * 7.5,
    check: fails("web4"),
  },
  {
    name: "such a slave, of three that hold all jobs before any fails, and 10 % bad rows",
    plan: () => ({
      jobs: 1_500,
      slots: [4, 4, 4],
      ahead: 600,
      attempt: (_, slave, job) =>
        slave === 2 ? { ms: 1, ok: false } : { ms: 5, ok: !isBadAtRandom(job, 0.1) },
      settings: quick,
    }),
    isBad: (job) => isBadAtRandom(job, 0.1),
    secondsMax: 4,
    check: fails("web3"),
  },
  {
    name: "such a slave that failed all jobs before another joined",
    plan: () => ({
      jobs: 600,
      slots: [2, 2],
      ahead: 600,
      joinMs: [0, 400],
      attempt: (_, slave) => slave === 1 ? { ms, ok: true } : { ms: 0.1, ok: false },
    }),
    secondsMax: 1.3 * 3 + 2,
    check: fails("web1"),
  },
  {
    name: "an outage that hit all jobs at one slave before another joined",
    plan: () => ({
      jobs: 600,
      slots: [2, 2],
      ahead: 600,
      joinMs: [0, 1_500],
      attempt: (nowMs) => nowMs > 2_000 ? { ms, ok: true } : { ms: 0.1, ok: false },
    }),
    secondsMax: 10,
    check: (t, { warnings }) => t.notMatch(warnings.join("\n"), "fails everything: no"),
  },
  {
    name: "such a slave, and 40 % bad rows",
    plan: () => ({
      jobs: 3_000,
      slots: [4, 4, 4],
      attempt: (_, slave, job) => ({ ms, ok: slave !== 2 && job % 5 >= 2 }),
      settings: quick,
    }),
    isBad: (job) => job % 5 < 2,
    secondsMax: 14,
    check: fails("web3"),
  },
  {
    name: "such a slave, and 60 % bad rows",
    plan: () => ({
      jobs: 1_500,
      slots: [4, 4, 4],
      attempt: (_, slave, job) => ({ ms: slave === 2 ? 1 : ms, ok: slave !== 2 && job % 10 >= 6 }),
      settings: quick,
    }),
    isBad: (job) => job % 10 < 6,
    secondsMax: 20,
    check: fails("web3"),
  },
  {
    name: "a slave whose jobs all time out keeps none of the last ones",
    isSlow: true,
    plan: () => ({
      jobs: 3_000,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms, ok: true } : { ms: 1_100, ok: false },
    }),
    secondsMax: 1.3 * 15,
  },
  {
    name: "five jobs, one attempt each, and a slave that fails at once",
    plan: () => ({
      jobs: 5,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms: 300, ok: true } : { ms: 1, ok: false },
      settings: { failuresMax: 1 },
    }),
    secondsMax: 2,
  },
  {
    name: "60 jobs of a second, one attempt each, and a slave that fails at once",
    isSlow: true,
    plan: () => ({
      jobs: 60,
      slots: [2, 2],
      attempt: (_, slave) => slave === 0 ? { ms: 1_000, ok: true } : { ms: 1, ok: false },
      settings: { failuresMax: 1 },
    }),
    secondsMax: 1.3 * 30,
    check: fails("web2"),
  },
  {
    name: "an outage of 12 s in which workers end themselves",
    plan: () => ({
      jobs: 3_000,
      slots: [4, 4],
      attempt: (nowMs) =>
        nowMs < 2_000 || nowMs > 14_000 ? { ms, ok: true } : { ms: 50, ok: false, crashes: true },
    }),
    secondsMax: 25,
  },
  {
    name: "a tail of rows that end their workers ends after --max-outage",
    plan: () => ({
      jobs: 1_000,
      slots: [4, 4],
      attempt: (_, __, job) => job < 850 ? { ms, ok: true } : { ms: 50, ok: false, crashes: true },
      settings: { ...quick, maxOutageAtEndMs: 10_000 },
    }),
    isBad: (job) => job >= 850,
    secondsMax: 160,
  },
  {
    name: "an outage of 12 s",
    plan: () => ({
      jobs: 3_000,
      slots: [8],
      attempt: (nowMs) => ({ ms, ok: nowMs < 2_000 || nowMs > 14_000 }),
    }),
    secondsMax: 22,
    callsMax: 1.2,
  },
  {
    name: "an outage where failed jobs come back at once",
    plan: () => ({
      jobs: 2_500,
      slots: [8],
      attempt: (nowMs) => ({ ms, ok: nowMs < 1_000 || nowMs > 3_000 }),
      settings: { backoffMs: 0 },
    }),
    secondsMax: 12,
  },
  {
    name: "an outage from the start",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (nowMs) => ({ ms, ok: nowMs > 5_000 }),
      settings: { backoffMs: 10 },
    }),
    secondsMax: 12,
  },
  {
    name: "an outage of a minute at the tail",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (nowMs) => ({ ms, ok: nowMs < 1_000 || nowMs > 61_000 }),
    }),
    secondsMax: 70,
  },
  {
    name: "an outage that begins ten jobs before the end",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (nowMs, _, job) => ({ ms, ok: job < 990 || nowMs > 61_000 }),
    }),
    secondsMax: 70,
  },
  {
    name: "an outage that begins when the window holds twenty jobs",
    plan: () => ({
      jobs: 1_000,
      slots: [8],
      attempt: (nowMs) => ({ ms, ok: nowMs < 1_000 || nowMs > 61_000 }),
      settings: { jobsMax: 20 },
    }),
    secondsMax: 70,
  },
  {
    name: "an outage, and 40 % bad rows",
    plan: () => ({
      jobs: 2_500,
      slots: [8],
      attempt: (nowMs, _, job) => ({ ms, ok: job % 5 >= 2 && (nowMs < 2_000 || nowMs > 6_000) }),
      settings: quick,
    }),
    isBad: (job) => job % 5 < 2,
    secondsMax: 40,
  },
  {
    name: "an outage that comes and goes every 2 s",
    plan: () => ({
      jobs: 2_500,
      slots: [8],
      attempt: (nowMs) => ({ ms, ok: flaps(nowMs) }),
      settings: quick,
    }),
    secondsMax: 30,
  },
  {
    name: "the same with failures that come at once",
    plan: () => ({
      jobs: 2_500,
      slots: [8],
      attempt: (nowMs) => flaps(nowMs) ? { ms, ok: true } : { ms: 1, ok: false },
      settings: quick,
    }),
    secondsMax: 30,
  },
  {
    name: "a service that admits 50 calls a second",
    plan: limited(50, 2_000, [40]),
    secondsMax: 40 / 0.9,
    callsMax: 1.2,
  },
  {
    name: "one that admits 100, and ten bad rows",
    plan: limited(100, 4_000, [40], (job) => job % 400 === 3),
    isBad: (job) => job % 400 === 3,
    secondsMax: 40 / 0.85,
    callsMax: 1.2,
  },
  {
    name: "the same for four slaves",
    plan: limited(100, 2_000, [10, 10, 10, 10]),
    secondsMax: 20 / 0.85,
    callsMax: 1.2,
  },
  {
    name: "one that admits 10 a second, called by one slot, which is far too much already",
    plan: () => ({ jobs: 300, slots: [1], attempt: service(10, 10, 20) }),
    secondsMax: 30 / 0.6,
  },
  {
    name: "one that admits 50, called by two",
    plan: () => ({ jobs: 1_500, slots: [2], attempt: service(50, 50, 1) }),
    secondsMax: 30 / 0.4,
  },
  {
    name: "one that admits 5 a second",
    isSlow: true,
    plan: limited(5, 200, [40]),
    secondsMax: 40 / 0.6,
    callsMax: 3,
    check: (t, { turns, seconds }) => t.ok(turns < 30 * seconds, `${turns} turns: none without a reason`),
  },
  {
    name:
      "one that admits 50, and three bad rows, which are spent first: alone they say nothing of the others",
    plan: () => ({
      ...limited(50, 500, [4, 4], (job) => job < 3)(),
      settings: { jobsMax: 100, backoffMs: 50 },
    }),
    isBad: (job) => job < 3,
    secondsMax: 28,
  },
  {
    name: "one that admits ten calls at once",
    isSlow: true,
    plan: crowded,
    secondsMax: 10 / 0.6,
    callsMax: 1.2,
  },
  {
    name: "one that admits 100, and 30 % bad rows",
    plan: limited(100, 1_000, [40], (job) => job % 10 < 3),
    isBad: (job) => job % 10 < 3,
    secondsMax: 90,
    callsMax: 4,
  },
];

/** Answers come one by one, or gathered, as those of quick jobs; then a slave holds more, and learns later. */
const ways = [
  { seed: 1, more: 1 },
  { seed: 2, more: 1 },
  { seed: 3, more: 1.2, answerMs: 10, ahead: 120 },
];

for (const { name, plan, isBad = () => false, secondsMax, callsMax = Infinity, isSlow, check } of rows) {
  t.test(`${name}: exactly the bad rows die`, async (t) => {
    for (const { more, ...way } of isSlow ? ways.slice(0, 2) : ways) {
      const { jobs, ...rest } = plan();
      const result = play({ jobs, ...way, limitS: 2 * secondsMax, ...rest });
      const bad = Array.from({ length: jobs }, (_, job) => job).filter(isBad);
      t.equal(result.outcome?.kind, "complete", `it ends; ${result.reason}`);
      t.same([...new Set(result.dead)], bad);
      t.equal(result.done, jobs - bad.length);
      t.ok(result.seconds <= more * secondsMax, `in ${result.seconds} s`);
      t.ok(result.calls <= more * callsMax * jobs, `with ${result.calls} calls`);
      check?.(t, result);
    }
  });
}

t.test("everything fails for longer than --max-outage: the run stops, and nothing is dead", async (t) => {
  const result = play({
    jobs: 5_000,
    slots: [8],
    attempt: (nowMs) => ({ ms, ok: nowMs < 1_000 }),
    settings: { maxOutageMs: 20_000, maxOutageAtEndMs: 20_000, jobsMax: 1_000 },
    limitS: 60,
  });
  t.match(result.outcome, { kind: "outage", message: "no 1" });
  t.same(result.dead, []);
  t.ok(result.seconds > 21 && result.seconds < 23, `after ${result.seconds} s`);
});

t.test("while everything fails, probes come less and less often, of failed jobs and of untried ones", async (t) => {
  const begun: { atMs: number; job: number }[] = [];
  const result = play({
    jobs: 3_000,
    slots: [8],
    attempt: (atMs, _, job) => {
      begun.push({ atMs, job });
      return { ms: 1, ok: false };
    },
    limitS: 60,
  });
  t.match(result.reason, /^failing: no 1/);
  t.match(result.warnings, ["Everything fails: no 1."]);
  const late = begun.filter(({ atMs }) => atMs > 30_000);
  t.ok(late.length >= 40 && late.length <= 65, `${late.length} attempts in the last 30 s`);
  const tried = new Set(begun.filter(({ atMs }) => atMs <= 30_000).map(({ job }) => job));
  const again = late.filter(({ job }) => tried.has(job)).length;
  t.ok(again > 5 && again < late.length - 5, `${again} of them of jobs that had failed`);
});

t.test("the end of an outage is told, and what failed in it is the reason while load comes back", async (t) => {
  const reasons = new Set<string>();
  const result = play({
    jobs: 5_000,
    slots: [8],
    attempt: (nowMs, _, job) => {
      if (nowMs > 1_000 && nowMs < 13_000) return { ms, ok: false, message: "down" };
      return { ms, ok: nowMs < 13_100 || job % 100 !== 7, message: "no such row" };
    },
    look: ({ reason }) => reasons.add(reason),
  });
  t.match(result.warnings, ["Everything fails: down.", /^Jobs succeed again$/]);
  t.equal(result.warnings.length, 2);
  t.ok(reasons.has("throttled: load comes back slowly after: down"));
  t.notOk(reasons.has("throttled: load comes back slowly after: no such row"));
});

t.test("a due retry waits for a slave that has not failed it, within a bound", async (t) => {
  const run = new TestRun(null, { backoffMs: 0 }).yield(1).join(1, 1);
  run.throw(run.leases()[0]!);
  run.join(2, 0);
  t.same(run.pass(9_000).leases(), [], "the other slave has no room yet");
  t.match(run.pass(2_000).leases(), [{ session: 1, attempt: 2 }], "after 10 s the first one gets it");
});

t.test("a job whose attempts are spent is buried once its slave succeeds in something that it began later", async (t) => {
  const run = new TestRun(null, { failuresMax: 1 }).yield(2).join(1, 2);
  const [before] = run.leases();
  run.pass(10).throw(before!, "no", 0).done(before!, [1, 2]);
  t.same(run.take("bury"), [], "what it began before says nothing");
  const [after] = run.pass(10).yield(1).leases();
  t.match(run.state.stranded[0]?.history, { failures: 0 }, "a state does not show the failure");
  run.done(after!);
  t.match(run.take("bury"), [{ letters: [{ seq: 0, history: { failures: 1 } }] }]);
});

t.test("one whose slave is gone meanwhile has another attempt", async (t) => {
  const run = new TestRun(null, { failuresMax: 1 }).yield(3).join(1, 2);
  run.throw(run.leases()[0]!, "no", 0);
  run.leave(1).join(2, 3);
  t.same(run.take("bury"), []);
  t.ok(run.pass(11_000).leases().length >= 0);
  t.match(run.status, { dead: 0 });
});

t.test("whatever a test waits for, the run never asks to be woken in the past", async (t) => {
  const run = new TestRun(null, { backoffMs: 0, maxOutageAtEndMs: 10_000 }).yield(200).join(1, 150);
  const [lease] = run.leases();
  for (let seq = 0; seq < 120; seq++) run.throw(lease!, "no", seq);
  run.say({ kind: "credit", session: 1, credit: 0 }).pass(2_000);
  t.ok(run.run.tick(run.nowMs) > run.nowMs, "no slave has room for a probe, and what runs takes long");
  run.leave(1).join(2, 1);
  for (let i = 0; i < 60; i++) for (const probe of run.pass(600).leases()) run.throw(probe);
  t.match(run.reason, /^failing/);
  t.ok(run.run.tick(run.nowMs) > run.nowMs, "an outage that would be too long if the source had ended");
  run.leave(2).pass(2_000);
  t.ok(run.run.tick(run.nowMs) > run.nowMs, "nobody is there");
});

/** How many failures are charged, of all jobs together, as a state shows it. */
function chargedIn({ state: { stranded } }: TestRun): number {
  return stranded.reduce((sum, { history }) => sum + history.failures, 0);
}

t.test("nothing is charged in an outage, and what was before it was seen is taken back: a state shows none of it", async (t) => {
  const run = new TestRun(null, { backoffMs: 0, failuresMax: 10 }).yield(200).join(1, 150);
  const [lease] = run.leases();
  for (let seq = 0; seq < 150; seq++) run.throw(lease!, "no", seq);
  const before = chargedIn(run);
  t.ok(before > 0 && before <= 100, `${before} before it is seen`);
  let probes = run.leases();
  for (let i = 0; i < 60; i++) {
    t.ok(probes.length > 0, "a probe");
    for (const probe of probes) run.throw(probe);
    probes = run.pass(600).leases();
  }
  t.match(run.reason, /^failing/);
  t.equal(chargedIn(run), before, "no more than before");
  while (probes[0]!.parts[0]!.seq >= 150) {
    for (const probe of probes) run.throw(probe);
    probes = run.pass(600).leases();
  }
  run.done(probes[0]!);
  t.equal(chargedIn(run), 0, "one that failed before succeeds");
});

t.test("what a slave was charged for before it was seen that it fails everything is taken back", async (t) => {
  const run = new TestRun(null, { backoffMs: 60_000 }).join(1, 2).join(2, 2);
  let before = 0;
  let warnings: string[] = [];
  for (let round = 0; round < 50 && warnings.length === 0; round++) {
    before = Math.max(before, chargedIn(run));
    run.yield(4).pass(10);
    const effects = run.run.takeEffects();
    warnings = effects.flatMap((effect) => effect.kind === "notice" ? [noticeInWords(effect.notice)] : []);
    if (warnings.length > 0) break;
    for (const lease of effects.filter((effect) => effect.kind === "lease")) {
      const [from, to] = seqsOf(lease);
      if (lease.session === 1) run.done(lease);
      else for (let seq = from!; seq < to!; seq++) run.throw(lease, "no", seq);
    }
  }
  t.match(warnings, [/^Slave s2 fails everything: no/]);
  t.ok(before >= 15, `${before} before`);
  t.equal(chargedIn(run), 0);
});

t.test("what a slave excuses is not charged", async (t) => {
  const run = new TestRun(null, { backoffMs: 1_000 }).yield(2).join(1, 2);
  const [lease] = run.leases();
  run.throw(lease!, "no", 0).throw(lease!, "no", 1);
  run.say({ kind: "excused", session: 1, jobs: [0, 1] });
  t.same(run.state.stranded.map(({ history }) => history.failures), [0, 1]);
});

t.test("nothing turns while a slave in quarantine has no room for its probe", async (t) => {
  const run = new TestRun(null, { backoffMs: 60_000 }).yield(500).join(1, 5).join(2, 5);
  for (let round = 0; round < 20; round++) {
    for (const lease of run.pass(10).leases()) {
      if (lease.session === 1) run.done(lease);
      else {for (let seq = lease.parts[0]!.seq; seq < lease.parts.at(-1)!.end; seq++) {
          run.throw(lease, "no", seq);
        }}
    }
  }
  t.match(run.status, { sick: [{ name: "s2" }] });
  run.say({ kind: "credit", session: 2, credit: 0 }).say({ kind: "credit", session: 1, credit: 0 });
  run.pass(2_000);
  const inMs = run.run.tick(run.nowMs) - run.nowMs;
  t.ok(inMs > 100, `woken after ${inMs} ms`);
});

t.test("fatal jobs neither make an outage nor wait for its end", async (t) => {
  const run = new TestRun().yield(150).join(1, 150);
  const [lease] = run.leases();
  for (let seq = 0; seq < 150; seq++) run.throw(lease!, "bad row", seq, "fatal");
  t.equal(run.take("bury").flatMap(({ letters }) => letters).length, 150);
  t.equal(run.reason, "source slow");
});

t.test("one job that fails for ever is no outage", async (t) => {
  const run = new TestRun(null, { failuresMax: 1_000, backoffMs: 0 }).yield(1).join(1, 1);
  for (let i = 0; i < 150; i++) {
    run.pass(10);
    run.throw(run.leases()[0]!);
  }
  t.equal(run.state.stranded[0]!.history.failures, 150);
});

t.test("a job that is lost with its slave's connection, alone there, is charged only if the slave stays away", async (t) => {
  const lose = (run: TestRun, session: number, slaveId: string) => {
    run.join(session, 1, [], slaveId);
    const leases = run.leases();
    run.leave(session);
    return leases;
  };
  const back = new TestRun().yield(1);
  for (let session = 1; session <= 9; session++) {
    const leases = lose(back, session, "s1");
    if (session > lostSessionsMax) t.match(leases, [{ alone: "in slave" }]);
    back.pass(2_000);
  }
  t.match(back.state.stranded, [{ history: { crashes: 0 } }], "it came back each time");
  const gone = new TestRun().yield(1);
  for (let session = 1; session <= lostSessionsMax + 3; session++) {
    lose(gone, session, `s${session}`);
    gone.pass(20_000);
  }
  t.match(gone.take("bury"), [{ letters: [{ history: { crashes: 3 } }] }]);
});

t.test("a slave that beats and says nothing of its jobs, though none may take so long, loses them", async (t) => {
  const run = new TestRun(null, { timeoutMs: 10_000 }).yield(2).join(1, 1).join(2, 1);
  const [mute, other] = run.leases();
  run.done(other!);
  t.same(run.pass(40_000).take("close"), []);
  t.match(run.pass(10_000).take("close"), [{ session: mute!.session, how: "stuck" }]);
  t.match(run.state.stranded, [{ history: { failures: 0, crashes: 0 } }], "nobody is charged");
  const patient = new TestRun(null, { timeoutMs: 0 }).yield(1).join(1, 1);
  patient.leases();
  t.same(patient.pass(600_000).take("close"), [], "without --timeout a job may take for ever");
});

t.test("a slave that answers for others and never for one job loses it: jobs are begun in the order they came", async (t) => {
  const run = new TestRun(null, { timeoutMs: 10_000 }).yield(1).join(1, 3);
  const [kept] = run.leases();
  const closes = [];
  for (let ms = 0, earlier = run.yield(1).leases(); ms < 50_000; ms += 1_000) {
    const later = run.yield(1).leases();
    t.equal(later.length, 1, "it is given the next one all the time");
    closes.push(...run.pass(1_000).take("close"));
    if (closes.length > 0) break;
    for (const lease of earlier) run.done(lease);
    earlier = later;
  }
  t.ok(run.nowMs >= 40_000);
  t.match(closes, [{ session: kept!.session, how: "stuck" }]);
});

t.test("a slave that gets on with its oldest lease, or whose link is slow, is not taken for stuck", async (t) => {
  const steady = new TestRun(null, { timeoutMs: 10_000 }).yield(20).join(1, 20);
  const [lease] = steady.leases();
  for (let seq = 0; seq < 20; seq++) {
    t.same(steady.pass(10_000).take("close"), [], `job ${seq} of one lease`);
    steady.done(lease!, [seq, seq + 1]);
  }
  const inOrder = new TestRun(null, { timeoutMs: 10_000 }).yield(1).join(1, 20).yield(1).yield(1);
  for (const next of inOrder.leases()) {
    t.same(inOrder.pass(40_000).take("close"), []);
    inOrder.done(next);
  }
  const slow = new TestRun(null, { timeoutMs: 10_000, bytesMax: 4 << 20 }).yield(1, 1 << 20).join(1, 1);
  slow.leases();
  t.same(slow.pass(140_000).take("close"), [], "1 MiB takes 105 s at 10 KB/s");
  t.match(slow.pass(20_000).take("close"), [{ how: "stuck" }]);
});

t.test("of sick slaves that are gone the latest are known again, and no more and more", async (t) => {
  const health = new Health();
  for (let slave = 0; slave < 1_000; slave++) {
    const id = `s${slave}`;
    health.join(id, id);
    health.quarantine(id, slave);
    health.leave(id);
    if (slave === 500) health.join("s450", "is back");
  }
  const known = Array.from({ length: 1_000 }, (_, slave) => `s${slave}`).filter((id) => health.has(id));
  t.same(known, ["s450", ...Array.from({ length: 100 }, (_, at) => `s${900 + at}`)]);
});

t.test("chanceOf counts the ways in which all successes are among the others", async (t) => {
  t.equal(chanceOf(3, 3, 3), 1 / 20);
  t.equal(chanceOf(3, 3, 0), 1);
  t.equal(chanceOf(0, 5, 2), 1);
  t.ok(Math.abs(chanceOf(2, 3, 2) - 0.3) < 1e-12);
});
