import t from "tap";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeDisk } from "../../src/state/disk.ts";
import { readStateFile } from "../../src/state/read_state.ts";
import type { Program } from "../kit/program.ts";
import { randomFrom } from "../kit/random.ts";
import { runtimes } from "../kit/runtimes.ts";
import { processesOf } from "../kit/processes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";

// Every scenario counts lost and repeated jobs from what the handlers wrote. The bounds on repetition are those of
// the README: jobs whose answer had not arrived, and after a master's death those of the last checkpoint interval.

/** Heartbeat of the scenarios: silence is noticed after three of them. */
const heartbeat = ["--heartbeat", "500ms"];

t.test("a slave killed in mid-run costs nothing but its unanswered jobs", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 3000;
  const master = scenario.master([`jobs=${jobs}`, "pause=2"]);
  const port = await portOf(master);
  const doomed = scenario.slave(port, ["--procs", "2"]);
  scenario.slave(port, ["--procs", "2"]);
  const writers = () => readdirSync(scenario.folder).filter((name) => name.endsWith(".records")).length;
  await until(() => writers() === 5, "the master and all four workers have jobs");
  await until(() => scenario.records().ended.size > jobs / 4, "a quarter of the jobs ended");
  doomed.signal("SIGKILL");
  t.equal(await master.ended, 0, master.stderr);
  const records = scenario.records();
  t.same(records.lost(jobs), []);
  // all that a slave of two workers may hold: one job each that runs, and 160 ms ahead
  t.ok(records.repeated <= 2 * (1 + 80), `${records.repeated} repeated`);
  t.ok(records.repeated > 0, "the kill hit running jobs");
  await until(() => processesOf(scenario.folder).length <= 0, "the dead slave's workers ended too");
});

for (const reading of ["exclusive", "inclusive"]) {
  t.test(`a master killed at random moments and started again (${reading} plugin)`, async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const jobs = 4000;
    const random = randomFrom(reading.length);
    const killedAtMs: number[] = [];
    const words = [`jobs=${jobs}`, "pause=4", `reading=${reading}`, ...heartbeat];
    let master = scenario.master(words);
    const port = await portOf(master);
    scenario.slave(port, ["--procs", "2"]);
    for (let kill = 0; kill < 4; kill++) {
      const moment = scenario.records().ended.size + 100 + random(500);
      await until(() => scenario.records().ended.size >= moment || master.hasEnded, `${moment} jobs ended`);
      master.signal("SIGKILL");
      await master.ended;
      killedAtMs.push(Date.now());
      master = scenario.master(words, runtimes.binary, port);
      await portOf(master);
    }
    t.equal(await master.ended, 0, master.stderr);
    const records = scenario.records();
    t.same(records.lost(jobs), []);
    // begun since the last checkpoint, a second and the time of a save ago, or handed out and not begun then
    const bound = killedAtMs.reduce(
      (sum, atMs) => sum + records.begunBetween(atMs - 1500, atMs) + 2 * (1 + 50),
      0,
    );
    t.ok(records.repeated <= bound, `${records.repeated} repeated, of at most ${bound}`);
    t.ok(bound < jobs, "the bound says something");
    t.match(master.stderr, new RegExp(`\\b${jobs}\\b`), "the counts are over all starts");
  });
}

t.test("run, killed again and again in mid-run: its slave ends too, and the next start goes on", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 3000;
  const start = () => scenario.run([`jobs=${jobs}`, "pause=1"]);
  let run: Program = start();
  for (let kill = 0; kill < 3; kill++) {
    const moment = scenario.records().ended.size + 300;
    await until(() => scenario.records().ended.size >= moment || run.hasEnded, `${moment} jobs ended`);
    run.signal("SIGKILL");
    await run.ended;
    await until(() => processesOf(scenario.folder).length === 0, "slave and workers ended with the master");
    run = start();
  }
  t.equal(await run.ended, 0, run.stderr);
  t.same(scenario.records().lost(jobs), []);
});

t.test("a run saves as often as it costs little, so that a killed master repeats little", async (t) => {
  const saves = async (words: readonly string[]) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const run = scenario.run(["jobs=80", "pause=50", ...words]);
    const path = join(scenario.folder, "probe.state");
    const writers = new Set<number>();
    while (!run.hasEnded) {
      if (existsSync(path)) writers.add(statSync(path).mtimeMs);
      await sleep(5);
    }
    t.equal(await run.ended, 0, run.stderr);
    return writers.size;
  };
  const [often, asked] = [await saves([]), await saves(["--checkpoint", "1h"])];
  t.ok(often >= 7, `${often} saves in two seconds`);
  t.ok(asked <= 3, `${asked} saves where one an hour is asked for`);
});

t.test("jobs that take longer than a checkpoint: those in flight when everything is killed run again", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 40;
  const start = () => scenario.run([`jobs=${jobs}`, "pause=3000", "--concurrency", "10"]);
  const saved = async () =>
    (await readStateFile(nodeDisk, join(scenario.folder, "probe.state")))?.state.handedOut ?? 0;
  const first = start();
  await until(() => scenario.records().begun.size > jobs / 2, "a second round of jobs began");
  const endMs = Date.now() + 2_000;
  while (await saved() <= jobs / 2 && Date.now() < endMs) await sleep(20); // a checkpoint that has them
  first.signal("SIGKILL");
  await first.ended;
  await until(() => processesOf(scenario.folder).length === 0, "slave and workers ended with the master");
  t.ok(scenario.records().lost(jobs).length > 0, "the kill hit running jobs");
  const second = start();
  t.equal(await second.ended, 0, second.stderr);
  t.same(scenario.records().lost(jobs), []);
});

t.test("a slave stopped for longer than the limit, then continued", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 3000;
  const master = scenario.master([`jobs=${jobs}`, "pause=2", ...heartbeat, "--json"]);
  const port = await portOf(master);
  const sleeper = scenario.slave(port, ["--procs", "1"]);
  scenario.slave(port, ["--procs", "1"]);
  await until(() => scenario.records().ended.size > jobs / 5, "a fifth of the jobs ended");
  sleeper.signal("SIGSTOP");
  await master.printed(/silent/);
  sleeper.signal("SIGCONT");
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await sleeper.ended, 0, "it came back and was dismissed with the others");
  const records = scenario.records();
  t.same(records.lost(jobs), []);
  t.ok(records.repeated <= 1 + 80, `${records.repeated} repeated`);
});

t.test("a master stopped for longer than the limit gives nobody up", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 3000;
  const master = scenario.master([`jobs=${jobs}`, "pause=2", ...heartbeat, "--json"]);
  const port = await portOf(master);
  scenario.slave(port, ["--procs", "2"]);
  await until(() => scenario.records().ended.size > jobs / 5, "a fifth of the jobs ended");
  master.signal("SIGSTOP");
  // the stop itself is the event: twice the limit
  await new Promise((resolve) => setTimeout(resolve, 3000));
  master.signal("SIGCONT");
  t.equal(await master.ended, 0, master.stderr);
  const records = scenario.records();
  t.same(records.lost(jobs), []);
  t.equal(records.repeated, 0);
  // A slave that was given up comes back and keeps its jobs: the records alone would not show it.
  t.equal(master.stdout.match(/"event":"joined"/g)?.length, 1, "its slave never had to come back");
});

t.test("Ctrl-C, then the same command again", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 2000;
  const start = () => scenario.run([`jobs=${jobs}`, "pause=2"]);
  const first = start();
  await until(() => scenario.records().ended.size > jobs / 4, "a quarter of the jobs ended");
  first.signal("SIGINT");
  t.equal(await first.ended, 130);
  t.match(first.stderr, /taskmaster run .*probe\.ts/, "it prints the command that resumes");
  const second = start();
  t.equal(await second.ended, 0, second.stderr);
  const records = scenario.records();
  t.same(records.lost(jobs), []);
  t.equal(records.repeated, 0, "a clean stop repeats nothing");
});

t.test("two masters with one key: the second is refused, naming the first", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const first = scenario.master(["jobs=100"]);
  await portOf(first);
  const second = scenario.master(["jobs=100"]);
  t.equal(await second.ended, 6);
  t.match(second.stderr, new RegExp(`\\b${first.process.pid}\\b`), "the first one's pid");
  first.signal("SIGINT");
  t.equal(await first.ended, 130);
});

const bads = [
  { what: "loop", words: ["--timeout", "300ms"], reason: /timed out/ },
  { what: "exit", words: [], reason: /exited \(3\)/ },
  { what: "kill", words: [], reason: /SIGKILL/ },
  { what: "throw", words: ["--backoff", "100ms"], reason: /bad row/ },
];
for (const { what, words, reason } of bads) {
  t.test(`a job that does this each time: ${what}`, async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const jobs = 600;
    const master = scenario.master([`jobs=${jobs}`, `bad=150:${what}`, "pause=1", ...words]);
    const slave = scenario.slave(await portOf(master), ["--procs", "2"]);
    t.equal(await master.ended, 3, `finished, with dead letters\n${master.stderr}\n${slave.stderr}`);
    t.equal(await slave.ended, 0, "the slave stayed");
    const records = scenario.records();
    t.same(records.lost(jobs), [150], "only the bad one is missing");
    const letters = scenario.deadLetters();
    t.same(letters.map((letter) => letter.seq), [150], "no neighbour is charged");
    t.match(JSON.stringify(letters), reason);
    t.equal(records.begun.get(150), 3, "tried three times");
  });
}
