import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { portOf, probePlugin, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { strike } from "./cell.ts";
import { mountMissing, TinyDisk } from "./full_disk.ts";
import { appendSteps, type Fault, lastSaveSteps, saveSteps, startSteps, type Step } from "./steps.ts";
import { straceMissing } from "./strace.ts";
import { checkTruth, leftoversIn, lettersIn, load } from "./verdict.ts";

/** The test that is running. */
type Running = Pick<typeof t, "teardown" | "same" | "equal">;

// A part of `npm run crash`: the calls around which a state or a letter could be lost, each struck in a real run.

const chosen: readonly (readonly [steps: readonly Step[], name: string, fault: Fault])[] = [
  [saveSteps, "sync it", "EIO"],
  [saveSteps, "rename over the state", "SIGKILL"],
  [saveSteps, "sync the folder", "SIGKILL"],
  [appendSteps, "write the letters", "SIGKILL"],
  [lastSaveSteps, "sync it", "ENOSPC"],
  [startSteps, "list the folder", "EIO"],
];

const skip = straceMissing();
for (const [steps, name, fault] of chosen) {
  const step = steps.find((step) => step.name === name)!;
  t.test(`${step.of}: ${fault} at ${step.call}, to ${name}`, { skip }, async (t) => {
    const { hits, lost, problems } = await strike(step, fault);
    t.same(problems, []);
    t.ok(hits > 0);
    t.equal(lost, 0);
  });
}

// A real disk that is full: writes come out short, in the middle of a body or of a line.

const noMount = mountMissing();
const jobs = 1000;
/** What of them is done before the disk is full. */
const jobsBefore = 200;
/** Heavy, so that their letters do not fit what is left of the disk. */
const letters = [300, 320, 340, 500, 501, 502, 503, 504, 505, 600, 700];
/** Holds two states of a thousand jobs of 6,000 bytes, the last good one and the next. */
const diskKibibytes = 16 * 1024;

/** A run that has done its first jobs; its source waits until `goTo` says how far it may go. */
async function fullDisk(t: Running, words: readonly string[]) {
  const scenario = new Scenario();
  const disk = await TinyDisk.open(scenario, diskKibibytes);
  t.teardown(async () => {
    await scenario.end();
    disk.close();
  });
  const hold = join(scenario.folder, "hold");
  const place = [
    `dir=${scenario.folder}`,
    `hold=${hold}`,
    "--state-dir",
    disk.dir,
    "--checkpoint",
    "200ms",
    "--attempts",
    "1",
  ];
  const start = (port = 0) => {
    const where = ["--host", `127.0.0.1:${port}`];
    return scenario.start(disk.command, [
      "master",
      probePlugin,
      `jobs=${jobs}`,
      ...words,
      ...place,
      ...where,
    ]);
  };
  const goTo = (id: number) => writeFileSync(hold, String(id));
  const master = start();
  const port = await portOf(master);
  scenario.slave(port, ["--procs", "2"]);
  goTo(jobsBefore);
  await until(() => scenario.records().ended.size === jobsBefore, "the first jobs ended");
  return { scenario, disk, master, goTo, restart: () => start(port) };
}

/** Fills the disk again and again, for a save that was under way frees some of it; returns how to stop. */
function keepFull(disk: TinyDisk, leaveBytes: number): () => void {
  disk.fill(leaveBytes);
  const filling = setInterval(() => disk.fill(leaveBytes), 5);
  return () => clearInterval(filling);
}

/** What is on the disk is true, and complete or not. */
async function judge(t: Running, disk: TinyDisk, scenario: Scenario, isComplete: boolean): Promise<void> {
  const problems: string[] = [];
  const loaded = await load(disk.seen, problems);
  if (loaded !== null) checkTruth(loaded.state, scenario.records(), await lettersIn(disk.seen), problems);
  t.same(problems, []);
  t.equal(loaded?.state.complete, isComplete);
}

/** And once no master runs, nothing half-made is there. */
async function judgeEnd(t: Running, disk: TinyDisk, scenario: Scenario, isComplete: boolean): Promise<void> {
  await judge(t, disk, scenario, isComplete);
  t.same(leftoversIn(disk.seen), []);
}

t.test(
  "the disk is full for a while: the run goes on, and later saves succeed",
  { skip: noMount },
  async (t) => {
    const words = ["pause=3", "bytes=6000", `bad=${letters.map((id) => `${id}:throw`)}`];
    const { scenario, disk, master, goTo } = await fullDisk(t, words);
    // less than a letter, which has three times the weight of its job, or a state with two jobs
    const stopFilling = keepFull(disk, 10_000);
    try {
      goTo(600);
      await master.printed(/Cannot save the state.*(?:ENOSPC|no space)/);
      await master.printed(/Cannot write dead letters.*(?:ENOSPC|no space)/);
      goTo(800);
      await until(() => scenario.records().ended.size === 800 - letters.length, "it goes on meanwhile");
    } finally {
      stopFilling();
    }
    await judge(t, disk, scenario, false);
    disk.free();
    goTo(jobs);
    t.equal(await master.ended, 3, master.stderr);
    await judgeEnd(t, disk, scenario, true);
    t.same([...await lettersIn(disk.seen)].sort((a, b) => a - b), letters);
    t.same(scenario.records().lost(jobs), letters);
    t.equal(scenario.records().repeated, 0);
  },
);

t.test("the disk stays full: exit code 6, the last good state stays", { skip: noMount }, async (t) => {
  const { scenario, disk, master, goTo, restart } = await fullDisk(t, ["pause=1"]);
  const stopFilling = keepFull(disk, 0);
  goTo(jobs);
  await master.printed(/Cannot save the state/).finally(stopFilling);
  t.equal(await master.ended, 6, master.stderr);
  t.match(master.stderr, /no space|ENOSPC/);
  t.same(scenario.records().lost(jobs), [], "it did all the work");
  await judgeEnd(t, disk, scenario, false);
  t.equal(await restart().ended, 6, "refused at once, before a job runs");
  disk.free();
  const next = restart();
  t.equal(await next.ended, 0, next.stderr);
  await judgeEnd(t, disk, scenario, true);
});
