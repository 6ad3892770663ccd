import t, { type Test } from "tap";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Evidence, judge } from "./checker.ts";
import { faultKinds } from "./faults.ts";
import type { SavedState } from "./fleet.ts";
import { slopeOf } from "./memory_watch.ts";
import { drawPlan } from "./plan.ts";
import { Timeline } from "./timeline.ts";
import { UnitReader } from "../kit/units.ts";

// The checker itself, on made-up evidence: each of these must be found, and nothing else.

/** Files by pid; supervisors are 1 and 2, their workers 10 and 20, the master 5. */
type Records = Readonly<Record<number, string>>;

const yields = "Y 0 100\nY 1 100\nY 2 100\n";
const twoOf1 = "S 1 100\nB 0 1000\nE 0 1010\nB 1 1020\nE 1 1030\n";
const lastOf2 = "S 2 100\nB 2 1000\nE 2 1010\n";
const complete: SavedState = {
  savedAt: new Date(9_000).toISOString(),
  epoch: 1,
  handedOut: 3,
  done: 3,
  skipped: 0,
  dead: 0,
  strandedCount: 0,
  complete: true,
  last: null,
};

function judged(t: Test, records: Records, more: Partial<Evidence> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-checker-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  for (const [pid, text] of Object.entries(records)) writeFileSync(join(folder, `${pid}.records`), text);
  return judge({
    folder,
    jobs: 3,
    args: {},
    timeline: new Timeline(),
    events: [],
    states: [complete],
    letters: [],
    ...more,
  });
}

/** Slave 1 left at this moment, and joined again later. */
function leftAndBack(leftMs: number, backMs: number, reason = "its connection closed"): Evidence["events"] {
  const session = { master: 0, pid: 1, reason: "" };
  return [
    { ...session, event: "joined", atMs: 500, session: 1 },
    { ...session, event: "left", atMs: leftMs, session: 1, reason },
    { ...session, event: "joined", atMs: backMs, session: 2 },
  ];
}

function disturbed(fromMs: number, toMs: number): Timeline {
  const timeline = new Timeline();
  timeline.disturbances.push({ pid: 1, fromMs, toMs, losesSessions: true });
  return timeline;
}

t.test("a run in which nothing happened", async (t) => {
  t.same(judged(t, { 5: yields, 10: twoOf1, 20: lastOf2 }), { lost: 0, repeated: 0, bound: 0, problems: [] });
});

t.test("a job that was never handled is lost", async (t) => {
  const { lost, problems } = judged(t, { 5: yields, 10: twoOf1 });
  t.equal(lost, 1);
  t.match(problems, [/job 2 was never handled/]);
});

t.test("a job that was begun and cut off is lost all the same", async (t) => {
  t.equal(judged(t, { 5: yields, 10: twoOf1, 20: "S 2 100\nB 2 1000\n" }).lost, 1);
});

t.test("a job that runs twice without a fault is one too many", async (t) => {
  const { repeated, bound, problems } = judged(t, {
    5: yields,
    10: twoOf1,
    20: `${lastOf2}B 1 1100\nE 1 1110\n`,
  });
  t.equal(repeated, 1);
  t.equal(bound, 0);
  t.match(problems, [/job 1 ran 1 times more/]);
});

t.test("after the loss of a session, only what ran or had just ended may run again", async (t) => {
  const again = `${lastOf2}B 1 1300\nE 1 1310\n`;
  const at = (leftMs: number) =>
    judged(t, { 5: yields, 10: twoOf1, 20: again }, {
      timeline: disturbed(leftMs, leftMs),
      events: leftAndBack(leftMs, leftMs + 100),
    });
  t.same(at(1_200).problems, [], "170 ms after its end");
  t.equal(at(1_200).repeated, 1);
  t.match(at(2_500).problems, [/job 1 ran 1 times more/], "its answer had long arrived");
});

t.test("one loss explains one more run, not two", async (t) => {
  const again = `${lastOf2}B 1 1300\nE 1 1310\nB 1 1400\nE 1 1410\n`;
  const { problems } = judged(t, { 5: yields, 10: twoOf1, 20: again }, {
    timeline: disturbed(1_200, 1_200),
    events: leftAndBack(1_200, 1_300),
  });
  t.match(problems, [/job 1 ran 2 times more than it should, of which faults explain 1/]);
});

t.test("answers that were held before the loss count from when they were held", async (t) => {
  const { problems } = judged(t, { 5: yields, 10: twoOf1, 20: `${lastOf2}B 1 3000\nE 1 3010\n` }, {
    timeline: disturbed(1_000, 3_500),
    events: leftAndBack(2_600, 3_600, "it was silent for too long"),
  });
  t.same(problems, []);
});

t.test("a killed master explains what ran since its last checkpoint", async (t) => {
  const timeline = new Timeline();
  timeline.masterDeaths.push({ atMs: 1_500, savedAtMs: 900 });
  const events = leftAndBack(9_999, 2_000).filter(({ event }) => event === "joined");
  const records = { 5: yields, 10: `${twoOf1}B 0 1600\nE 0 1610\n`, 20: lastOf2 };
  t.same(judged(t, records, { timeline, events }).problems, []);
  timeline.masterDeaths[0] = { atMs: 4_500, savedAtMs: 4_400 };
  t.match(judged(t, records, { timeline, events }).problems, [/job 0 ran 1 times more/]);
});

t.test("a slave is given up only if something was done to it", async (t) => {
  const records = { 5: yields, 10: twoOf1, 20: lastOf2 };
  const events = leftAndBack(4_000, 4_100, "it was silent for too long");
  t.match(judged(t, records, { events }).problems, [/slave 1 was given up at \S+, though it was well/]);
});

t.test("what was never yielded is invented", async (t) => {
  const { problems } = judged(t, { 5: yields.slice(0, 16), 10: twoOf1, 20: lastOf2 });
  t.match(problems, [/job 2 ran in worker 20: it was never yielded/, /job 2 was never handled/]);
});

t.test("dead letters are those of bad jobs, and only those", async (t) => {
  const records = { 5: yields, 10: twoOf1, 20: lastOf2 };
  const state = { ...complete, done: 2, dead: 1 };
  t.match(judged(t, records, { letters: [1] }).problems, [/job 1 is a dead letter, and was not told/]);
  const bad = { args: { bad: "2:throw" }, states: [state] };
  const thrice = { ...records, 20: "S 2 100\n" + "B 2 1000\nX 2 1001\n".repeat(3) };
  t.same(judged(t, thrice, { ...bad, letters: [2] }).problems, []);
  t.match(judged(t, thrice, bad).problems, [/bad job 2 \(throw\) is no dead letter/]);
});

t.test("states add up and never go back", async (t) => {
  const records = { 5: yields, 10: twoOf1, 20: lastOf2 };
  const before = { ...complete, epoch: 2 };
  t.match(judged(t, records, { states: [before, complete] }).problems, [/a state went back/]);
  t.match(judged(t, records, { states: [{ ...complete, done: 2 }] }).problems, [/does not add up/]);
  t.match(judged(t, records, { states: [{ ...complete, complete: false }] }).problems, [/not complete/]);
});

t.test("the same seed draws the same plan, and no slave suffers two faults at once", async (t) => {
  const faults = Object.fromEntries(Object.keys(faultKinds).map((name) => [name, 1]));
  const options = { seed: 7, seconds: 600, slots: 3, gapMs: 1_000, faults };
  const plan = drawPlan(options);
  t.same(plan, drawPlan(options));
  t.notSame(plan, drawPlan({ ...options, seed: 8 }));
  t.ok(plan.length > 300);
  for (const [at, fault] of plan.entries()) {
    const next = plan.slice(at + 1).find(({ slot }) => slot === fault.slot);
    if (next !== undefined && next.atMs < fault.atMs + fault.forMs) {
      t.fail(`${fault.name}, then ${next.name}`);
    }
  }
});

t.test("a stream is cut into its units, however it arrives", async (t) => {
  const header = Buffer.alloc(18, "taskmaster");
  header.writeUInt32BE(2, 14);
  const stream = Buffer.concat([header, Buffer.from("ab"), Buffer.from([0, 0, 0, 1, 7, 0, 0, 0, 0])]);
  const expected = [["greeting", 20], ["frame", 5], ["frame", 4]];
  const whole = new UnitReader(1).push(stream);
  t.same(whole.map(({ kind, bytes }) => [kind, bytes.length]), expected);
  const reader = new UnitReader(1);
  const single = [...stream].flatMap((byte) => reader.push(Buffer.from([byte])));
  t.same(single.map(({ kind, bytes }) => [kind, bytes.length]), expected);
});

t.test("memory that grows has a slope, and memory that goes up and down has none", async (t) => {
  const samples = (mib: (at: number) => number) =>
    Array.from({ length: 121 }, (_, at) => ({ atMs: at * 1_000, mib: mib(at) }));
  const slope = (mib: (at: number) => number) => slopeOf({ role: "master", pid: 1, samples: samples(mib) });
  t.equal(Math.round(slope((at) => 100 + at).mibPerMinute), 60);
  t.ok(Math.abs(slope((at) => 100 + at % 10).mibPerMinute) < 1);
});
