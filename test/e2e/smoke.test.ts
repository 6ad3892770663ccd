import t from "tap";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { binary, root, runtimes } from "../kit/runtimes.ts";
import { processesOf } from "../kit/processes.ts";
import { portOf, Scenario, tokenText } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";

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

  // the number of an open file does not outlive that a process begins anew
  const script = `./taskmaster run count.ts --key open --host 127.0.0.1:0 --token-file <(echo ${tokenText})`;
  const open = spawnSync("bash", ["-c", script], {
    cwd: folder,
    env: { HOME: folder, PATH: process.env.PATH },
    encoding: "utf8",
    timeout: 30_000,
  });
  t.equal(open.status, 0, open.stderr);

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

const bunReads = ["MIMALLOC_PURGE_DELAY", "BUN_JSC_thresholdForFTLOptimizeAfterWarmUp"] as const;
type BunReads = Readonly<Partial<Record<typeof bunReads[number], string>>>;

/** What a process began with of this. */
function begunWith(pid: string): BunReads {
  const environment = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
  const pairs = environment.map((pair) => pair.split("=")).filter(([name]) =>
    bunReads.includes(name as never)
  );
  return Object.fromEntries(pairs);
}

t.test(
  "each process begins with what Bun is to do for its role; what the user says counts, and a plugin finds no other",
  { skip: process.platform !== "linux" },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const path = join(scenario.folder, "plugin.ts");
    writeFileSync(
      path,
      `import { appendFileSync } from "node:fs";
      const found = (who) => appendFileSync("found", Object.keys(process.env).filter((name) =>
        ${JSON.stringify([...bunReads, "TASKMASTER_TUNED"])}.includes(name)).sort().concat(who).join() + ";");
      export async function* getJobs(_, { signal }) {
        found("source");
        yield 1;
        await new Promise((resolve) => signal.onabort = resolve);
      }
      export function handleJob() { found("handler"); }`,
    );
    const later = { BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "1000000" };
    const both = { MIMALLOC_PURGE_DELAY: "7", BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "5000" };
    const cases: readonly [said: BunReads, master: BunReads, others: BunReads][] = [
      [{}, { MIMALLOC_PURGE_DELAY: "1000", ...later }, { MIMALLOC_PURGE_DELAY: "-1", ...later }],
      [{ MIMALLOC_PURGE_DELAY: "7" }, { MIMALLOC_PURGE_DELAY: "7", ...later }, {
        MIMALLOC_PURGE_DELAY: "7",
        ...later,
      }],
      [both, both, both],
    ];
    for (const [index, [said, master, others]] of cases.entries()) {
      const words = ["--host", "127.0.0.1:0", "--procs", "1", "--key", `case${index}`];
      const run = scenario.start(runtimes.binary, ["run", path, ...words], said);
      const found = join(scenario.folder, "found");
      await until(
        () => existsSync(found) && readFileSync(found, "utf8").includes("handler"),
        "a handled job",
      );
      const pids = processesOf(scenario.folder);
      t.equal(pids.length, 3, "master, slave, worker");
      for (const pid of pids) {
        t.same(begunWith(pid), pid === String(run.process.pid) ? master : others);
      }
      const names = Object.keys(said).sort().map((name) => `${name},`).join("");
      t.same(readFileSync(found, "utf8").split(";").sort(), ["", `${names}handler`, `${names}source`]);
      rmSync(found);
      run.signal("SIGTERM");
      t.equal(await run.ended, 143);
    }
  },
);

t.test(
  "a slave started by hand is the same process, and its workers begin as it does",
  { skip: process.platform !== "linux" },
  async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const path = join(scenario.folder, "idle.ts");
    writeFileSync(path, "export function handleJob() {}");
    const slave = scenario.start(runtimes.binary, ["slave", path, "--host", "127.0.0.1:1"]);
    await slave.printed(/Cannot join/); // a worker has loaded the plugin by then
    const pids = processesOf(scenario.folder);
    t.ok(pids.includes(String(slave.process.pid)), "it is the process that was started");
    t.ok(pids.length > 1);
    for (const pid of pids) {
      t.match(begunWith(pid), {
        MIMALLOC_PURGE_DELAY: "-1",
        BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "1000000",
      });
    }
    slave.signal("SIGTERM");
    t.equal(await slave.ended, 0);
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

t.test("the binary holds no path of the machine it was built on", async (t) => {
  const bytes = readFileSync(binary);
  // Of root it is a part of names that Bun has in every binary.
  for (const path of [root, realpathSync(root), homedir()].filter((path) => !/^\/(?:root)?$/.test(path))) {
    for (const encoding of ["utf8", "utf16le"] as const) {
      t.equal(bytes.indexOf(Buffer.from(`${path}/`, encoding)), -1, `${path} in ${encoding}`);
    }
  }
  t.ok(bytes.includes("/$bunfs/root/taskmaster"), "it does hold where it is itself");
});
