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
  "a slave keeps the memory it freed, its workers for a minute; what the user says of it counts",
  { skip: process.platform !== "linux" },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const path = join(scenario.folder, "seen.ts");
    writeFileSync(
      path,
      `import { writeFileSync } from "node:fs";
       writeFileSync("seen", String(process.env.MIMALLOC_PURGE_DELAY));
       export function handleJob() {}`,
    );
    for (const [said, ofSlave, ofWorker] of [[undefined, "-1", "60000"], ["7", "7", "7"]] as const) {
      const env = said === undefined ? {} : { MIMALLOC_PURGE_DELAY: said };
      const slave = scenario.start(runtimes.binary, ["slave", path, "--host", "127.0.0.1:1"], env);
      await slave.printed(/Cannot join/); // the plugin is loaded by then
      const environmentOf = (pid: string) => readFileSync(`/proc/${pid}/environ`, "latin1");
      const delays = processesOf(scenario.folder).map((pid) =>
        [pid, /MIMALLOC_PURGE_DELAY=([^\0]*)/.exec(environmentOf(pid))?.[1]] as const
      );
      const own = String(slave.process.pid);
      t.equal(delays.find(([pid]) => pid === own)?.[1], ofSlave, "the process that was started");
      t.same([...new Set(delays.filter(([pid]) => pid !== own).map(([, delay]) => delay))], [ofWorker]);
      t.equal(
        readFileSync(join(scenario.folder, "seen"), "utf8"),
        String(said),
        "the plugin sees the user's word",
      );
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
