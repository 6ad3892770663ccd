import t from "tap";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binary, portOf, processesOf, root, runtimes, Scenario } from "./harness.ts";

const plugin = `
export function* getJobs(last: number = -1) { for (let id = last + 1; id < 1000; id++) yield id; }
export function handleJob(job: number) { if (typeof job !== "number") throw new Error("not a number"); }
`;

t.test("the binary, alone in an empty folder with just a plugin", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-smoke-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  copyFileSync(binary, join(folder, "taskmaster"));
  writeFileSync(join(folder, "count.ts"), plugin);
  const run = (...args: string[]) =>
    spawnSync(join(folder, "taskmaster"), args, {
      cwd: folder,
      env: { HOME: folder },
      encoding: "utf8",
      timeout: 30_000,
    });

  const version = run("--version");
  t.match(version.stdout, /^taskmaster \d+\.\d+\.\d+/);
  t.equal(version.status, 0);

  const first = run("run", "count.ts", "--host", "127.0.0.1:0");
  t.equal(first.status, 0, first.stderr);
  t.match(first.stderr, /Taskmaster server running on '127\.0\.0\.1:\d+'/);
  t.match(first.stderr, /1000/, "the summary counts the jobs");

  const beganMs = performance.now();
  const again = run("run", "count.ts", "--host", "127.0.0.1:0");
  t.ok(performance.now() - beganMs < 8_000, "nobody waits for a slave that had nothing to join");
  t.equal(again.status, 0, again.stderr);
  t.match(again.stderr, /finished/i, "a finished run stays finished, and says so");
  t.ok(readdirSync(folder).includes("count.state"));
});

t.test("a master and two slaves of the binary", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const master = scenario.master(["jobs=2000", "pause=1"]);
  const port = await portOf(master);
  const slaves = [scenario.slave(port), scenario.slave(port)];
  t.equal(await master.ended, 0, master.stderr);
  for (const slave of slaves) t.equal(await slave.ended, 0, "a complete run dismisses its slaves");
  const records = scenario.records();
  t.same(records.lost(2000), []);
  t.equal(records.repeated, 0);
  t.same(processesOf(scenario.folder), [], "nothing is left running");
});

t.test(
  "a slave keeps the memory it freed, and so do its workers; what the user says of it counts",
  { skip: process.platform !== "linux" },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const path = join(scenario.folder, "idle.ts");
    writeFileSync(path, "export function handleJob() {}");
    for (const [said, delay] of [[undefined, "-1"], ["7", "7"]] as const) {
      const env = said === undefined ? {} : { MIMALLOC_PURGE_DELAY: said };
      const slave = scenario.start(runtimes.binary, ["slave", path, "--host", "127.0.0.1:1"], env);
      await slave.printed(/Cannot join/); // a worker has loaded the plugin by then
      const pids = processesOf(scenario.folder);
      t.ok(pids.includes(String(slave.process.pid)), "it is the process that was started");
      const delays = pids.map((pid) =>
        /MIMALLOC_PURGE_DELAY=([^\0]*)/.exec(readFileSync(`/proc/${pid}/environ`, "latin1"))?.[1]
      );
      t.ok(delays.length > 1 && delays.every((one) => one === delay), String(delays));
      slave.signal("SIGTERM");
      t.equal(await slave.ended, 0);
    }
  },
);

t.test("the lines of a file, with the plugin that comes along", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const file = join(scenario.folder, "words.txt");
  writeFileSync(file, Array.from({ length: 20_000 }, (_, line) => `line ${line}\n`).join(""));
  const words = [join(root, "plugins", "lines.ts"), `file=${file}`, "--state-dir", scenario.folder];
  const run = scenario.start(runtimes.binary, ["run", ...words, "--host", "127.0.0.1:0"]);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.stderr, /20000 = 20000 done \+ 0 skipped \+ 0 dead \+ 0 stranded/);
});
