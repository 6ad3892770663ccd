import t from "tap";
import { StateError } from "../../src/lib/errors.ts";
import { JobSpan } from "../../src/lib/bytes.ts";
import { noCounts, type RunState } from "../../src/core/types.ts";
import { Checkpoints, intervalMs } from "../../src/master/persistence.ts";

const empty: RunState = {
  ...noCounts,
  againToCome: 0,
  last: null,
  firstJobHash: null,
  complete: false,
  final: false,
  settings: new Map(),
  stranded: [],
};

const takenOver = new StateError("taken over");
/** Once what was said to a save has been heard. */
const ended = () => new Promise(setImmediate);

function large(bytes: number): RunState {
  const span = new JobSpan(
    { bytes: new Uint8Array(bytes), ends: new Uint32Array([bytes]), cursors: null },
    0,
    1,
    0,
  );
  const history = { failures: 0, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] };
  return { ...empty, handedOut: 1, stranded: [{ span, history, lease: null }] };
}

/** Checkpoints every second over a disk whose saves end when the test says so. */
function bench(state = empty, checkpointMs: number | "auto" = 1_000) {
  const core = { version: 1, isDirty: true, slaves: 0 };
  const clock = { nowMs: 0 };
  const saves: { resolve: (heldMs?: number) => void; reject: (error: unknown) => void }[] = [];
  const saved: number[] = [], warnings: string[] = [], wakes: number[] = [], finals: unknown[] = [];
  const checkpoints = new Checkpoints({
    capture: () => ({ version: core.version, state }),
    isDirty: () => core.isDirty,
    save: () =>
      new Promise((resolve, reject) => saves.push({ resolve: (heldMs = 0) => resolve(heldMs), reject })),
    onSaved: (version) => {
      saved.push(version);
      return core.slaves;
    },
    onFinal: (error) => finals.push(error),
    checkpointMs,
    wakeBy: (atMs) => wakes.push(atMs),
    nowMs: () => clock.nowMs,
    log: (_level, message) => warnings.push(message),
  });
  return { checkpoints, core, clock, saves, saved, warnings, wakes, finals };
}

t.test("saves every checkpoint while dirty, one save at a time", async (t) => {
  const { checkpoints, core, clock, saves, saved, wakes } = bench();
  checkpoints.tick(0);
  t.equal(saves.length, 1);
  clock.nowMs = 1_500;
  core.version = 2;
  t.equal(checkpoints.tick(1_500), Infinity);
  t.equal(saves.length, 1, "the first is still under way");
  saves[0]!.resolve();
  await ended();
  t.same(saved, [1], "the version of the capture, not the one of now");
  t.same(wakes, [1_000], "due already");
  checkpoints.tick(1_500);
  t.equal(saves.length, 2);
  saves[1]!.resolve();
  await ended();
  t.equal(checkpoints.tick(1_600), 2_500);
  core.isDirty = false;
  t.equal(checkpoints.tick(2_600), Infinity, "nothing has changed");
  t.equal(saves.length, 2);
});

t.test("a large state takes at most a tenth of the time", async (t) => {
  const { checkpoints, clock, saves, wakes } = bench(large(9 << 20));
  checkpoints.tick(0);
  clock.nowMs = 400;
  saves[0]!.resolve();
  await ended();
  t.same(wakes, [4_000]);
  t.equal(checkpoints.tick(3_999), 4_000);
  checkpoints.tick(4_000);
  t.equal(saves.length, 2);
});

/** A save each time one is due, for a minute of made-up time; how many there were. */
async function savesInAMinute(of: ReturnType<typeof bench>, tookMs: number, heldMs = 0): Promise<number> {
  const { checkpoints, clock, saves } = of;
  for (clock.nowMs = 0; clock.nowMs < 60_000;) {
    const before = saves.length;
    const wakeMs = checkpoints.tick(clock.nowMs);
    if (saves.length === before) {
      clock.nowMs = wakeMs;
      continue;
    }
    clock.nowMs += tookMs;
    saves.at(-1)!.resolve(heldMs);
    await ended();
  }
  return saves.length;
}

t.test("auto: twenty saves a second where they cost nothing", async (t) => {
  t.equal(await savesInAMinute(bench(empty, "auto"), 2), 1_200);
});

t.test("auto: a fiftieth of this thread at most, but one a second at least", async (t) => {
  const saves = await savesInAMinute(bench(empty, "auto"), 4, 2);
  t.ok(
    saves > 250 && saves * (2 * 2) <= 60_000 * 0.02,
    `${saves} saves that hold it for 2 ms, and leave as much`,
  );
  t.equal(await savesInAMinute(bench(empty, "auto"), 20, 20), 60);
});

t.test("auto: a message to each slave counts, too", async (t) => {
  const many = bench(empty, "auto");
  many.core.slaves = 500;
  t.ok(await savesInAMinute(many, 2) < 125, "ten milliseconds a save");
});

t.test("auto: a slow disk rests nineteen times as long as it works, a second at most", async (t) => {
  t.equal(await savesInAMinute(bench(empty, "auto"), 10), 300);
  t.equal(await savesInAMinute(bench(empty, "auto"), 25), 120);
  t.equal(await savesInAMinute(bench(empty, "auto"), 400), 60, "no less often than once a second");
  t.equal(await savesInAMinute(bench(empty, "auto"), 3_000), 10, "but where that would be all the time");
  t.equal(await savesInAMinute(bench(large(9 << 20), "auto"), 600), 10, "but for a large state");
});

t.test("auto: nothing is saved while nothing changes", async (t) => {
  const { checkpoints, core, clock, saves } = bench(empty, "auto");
  checkpoints.tick(0);
  saves[0]!.resolve();
  await ended();
  core.isDirty = false;
  for (clock.nowMs = 1; clock.nowMs < 10_000; clock.nowMs += 10) checkpoints.tick(clock.nowMs);
  t.equal(saves.length, 1);
  core.isDirty = true;
  checkpoints.tick(clock.nowMs);
  t.equal(saves.length, 2, "what changes then is saved at once");
});

t.test("auto: a save that failed is tried again a second later", async (t) => {
  const { checkpoints, clock, saves, wakes } = bench(empty, "auto");
  checkpoints.tick(0);
  clock.nowMs = 5;
  saves[0]!.reject(new Error("disk full"));
  await ended();
  t.same(wakes, [1_000]);
});

t.test("an interval that is asked for is kept, however dear", async (t) => {
  const dear = { threadMs: 900, tookMs: 900, isLarge: false };
  t.equal(intervalMs({ ...dear, checkpointMs: 20 }), 20);
  t.equal(intervalMs({ ...dear, checkpointMs: 20, isLarge: true }), 9_000, "but for a large state");
});

t.test("a failed save warns and is tried again", async (t) => {
  const { checkpoints, clock, saves, saved, warnings } = bench();
  checkpoints.tick(0);
  saves[0]!.reject(new Error("disk full"));
  await ended();
  t.match(warnings, [/disk full/]);
  t.same(saved, []);
  clock.nowMs = 1_000;
  checkpoints.tick(1_000);
  saves[1]!.resolve();
  await ended();
  t.same(saved, [1]);
});

t.test("a state taken over by another master ends this one", async (t) => {
  const { checkpoints, saves, finals, warnings } = bench();
  checkpoints.tick(0);
  saves[0]!.reject(takenOver);
  await ended();
  t.same(finals, [takenOver]);
  t.same(warnings, []);
});

t.test("the last save follows the one under way, and takes what is in memory then", async (t) => {
  const { checkpoints, core, saves, saved } = bench();
  checkpoints.tick(0);
  core.version = 7;
  const last = checkpoints.saveLast(new AbortController().signal);
  t.equal(saves.length, 2, "the store makes one after the other");
  saves[0]!.resolve();
  await ended();
  saves[1]!.resolve();
  t.equal(await last, null);
  t.same(saved, [1, 7]);
  t.equal(checkpoints.tick(99_999), Infinity, "none follows it");
});

t.test("the last save is given up after three tries, at once in a hurry", async (t) => {
  const { checkpoints, saves, warnings } = bench();
  const hurry = new AbortController();
  const last = checkpoints.saveLast(hurry.signal);
  await new Promise(setImmediate);
  hurry.abort();
  saves[0]!.reject(new Error("disk full"));
  t.match(await last, { message: "disk full" });
  t.same([saves.length, warnings.length], [1, 0]);
  const again = bench();
  const slow = again.checkpoints.saveLast(new AbortController().signal);
  for (let tries = 0; tries < 3; tries++) {
    while (again.saves.length <= tries) await new Promise((resolve) => setTimeout(resolve, 20));
    again.saves[tries]!.reject(new Error(`disk full ${tries}`));
  }
  t.match(await slow, { message: "disk full 2" });
});
