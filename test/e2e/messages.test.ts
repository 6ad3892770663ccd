import t from "tap";
import { spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binary, runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";

// What the binary says to the person who runs it: right, in one sentence, with what to do next.

/** Runs the binary to its end in a folder of its own, with these files in it. */
function ran(
  t: Tap,
  files: Readonly<Record<string, string>>,
  args: readonly string[],
  env: Record<string, string> = {},
) {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  for (const [name, text] of Object.entries(files)) writeFileSync(join(scenario.folder, name), text);
  const again = (args: readonly string[], env: Record<string, string> = {}) => {
    const { status, stdout, stderr } = spawnSync(binary, args, {
      cwd: scenario.folder,
      env: { ...scenario.env, ...env },
      encoding: "utf8",
      timeout: 40_000,
      killSignal: "SIGKILL",
    });
    return { status, stdout, stderr, folder: scenario.folder, again };
  };
  return again(args, env);
}

type Tap = { teardown: (end: () => unknown) => void };

const run = (plugin: string, ...more: string[]) => [
  "run",
  plugin,
  "--host",
  "127.0.0.1:0",
  "--procs",
  "1",
  "--no-progress",
  ...more,
];

const fine = "export const getJobs = () => [1, 2, 3];\nexport function handleJob() {}\n";

t.test("an unknown TASKMASTER_ variable is warned about once, behind the first line", async (t) => {
  const { stderr, status } = ran(t, { "x.mjs": fine }, run("x.mjs"), { TASKMASTER_ATTEMTPS: "5" });
  t.equal(status, 0);
  const lines = stderr.split("\n");
  t.match(lines[0], /^Taskmaster server running on/);
  t.equal(lines.filter((line) => line.includes("TASKMASTER_ATTEMTPS")).length, 1, stderr);
  t.match(stderr, "Did you mean TASKMASTER_ATTEMPTS?");
});

t.test("an unknown TASKMASTER_ variable is warned about though nothing starts", async (t) => {
  const { stderr, status } = ran(t, {}, run("none.mjs"), { TASKMASTER_ATTEMTPS: "5" });
  t.equal(status, 4);
  t.match(stderr, "Did you mean TASKMASTER_ATTEMPTS?");
});

t.test("--reset says where the earlier state and its dead letters are", async (t) => {
  const bad = "export const getJobs = () => [1];\nexport function handleJob() { throw new Error('no'); }\n";
  const first = ran(t, { "x.mjs": bad }, run("x.mjs", "--attempts", "1"));
  t.equal(first.status, 3, first.stderr);
  const { stderr, folder } = first.again(run("x.mjs", "--attempts", "1", "--reset"));
  const kept = readdirSync(folder).filter((name) => name.includes(".bak."));
  t.equal(kept.length, 2);
  for (const name of kept) t.match(stderr, `"${join(folder, name)}"`);
});

t.test("the resume line keeps what was typed, but for --force and --reset", async (t) => {
  const throwing =
    "export function getJobs(_, ctx) { throw ctx.fatal('no file'); }\nexport function handleJob() {}\n";
  const { stderr } = ran(t, { "x.mjs": throwing }, run("x.mjs", "q=a b", "--force", "--reset"));
  t.match(stderr, /^Resume with: .* run x\.mjs --host 127\.0\.0\.1:0 --procs 1 --no-progress 'q=a b'$/m);
});

t.test("a folder that is not writable is named, and no file that nobody made", {
  skip: process.getuid?.() === 0 && spawnSync("setpriv", ["--version"]).status === 0 ? false : "needs root",
}, async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const folder = join(scenario.folder, "closed");
  mkdirSync(folder);
  writeFileSync(join(folder, "x.mjs"), fine);
  for (const path of [scenario.folder, folder]) chmodSync(path, 0o555);
  const { status, stderr } = spawnSync(
    "setpriv",
    ["--reuid=65534", "--regid=65534", "--clear-groups", binary, ...run(join(folder, "x.mjs"))],
    { env: scenario.env, cwd: folder, encoding: "utf8", timeout: 30_000 },
  );
  t.equal(status, 6, stderr);
  t.match(
    stderr,
    `Cannot keep the state in "${folder}": permission denied (EACCES). Make the folder writable`,
  );
  t.notMatch(stderr, /\.lock|\.tmp/);
});

/** Plugins that throw somewhere, and the lines that say so; never a frame of this program. */
const throwing: readonly (readonly [string, Record<string, string>, readonly RegExp[]])[] = [
  ["at load", {
    "x.mjs": 'import { open } from "./helper.mjs";\nopen();\nexport const getJobs = () => [1];\n',
    "helper.mjs":
      'export function open() {\n  inner();\n}\nfunction inner() { throw new TypeError("no database"); }\n',
  }, [
    /^taskmaster: Cannot load the plugin .*x\.mjs: TypeError: no database at .*helper\.mjs:4:\d+\.$/m,
    /^ {4}at inner \(.*helper\.mjs:4:\d+\)\n {4}at open \(.*helper\.mjs:2:\d+\)\n {4}at .*x\.mjs:2:\d+/m,
  ]],
  ["in a promise at load", {
    "x.mjs":
      `function later() { throw new TypeError("no database"); }\nPromise.resolve().then(later);\n${fine}`,
  }, [/nobody caught what the plugin threw: TypeError: no database\n {4}at later \(.*x\.mjs:1:\d+\)$/m]],
  ["in setup", {
    "x.mjs": `export async function setup() { await 1; throw new TypeError("no database"); }\n${fine}`,
  }, [/ERROR: setup failed: TypeError: no database\n {8}at setup \(.*x\.mjs:1:\d+\)\n/]],
  ["in getJobs", {
    "x.mjs": 'function rows() { throw new TypeError("no database"); }\n' +
      "export function getJobs(last, ctx) { try { rows(); } catch (error) { ctx.log.error(error); ctx.fatal('gone'); } }\n" +
      "export function handleJob() {}\n",
  }, [
    /ERROR: TypeError: no database\n {8}at rows \(.*x\.mjs:1:\d+\)\n {8}at getJobs \(.*x\.mjs:2:\d+\)\n\S/,
  ]],
  ["in a handler", {
    "x.mjs": "export const getJobs = () => [1];\n" +
      "export function handleJob(job, ctx) { ctx.log.error(new Error('no').stack, { pid: 7 }); }\n",
  }, [/ERROR: Error: no \{"pid":7\}\n {8}at handleJob \(.*x\.mjs:2:\d+\)\n\[/]],
  ["in onFinish", {
    "x.mjs": `${fine}export function onFinish() { throw new TypeError("no mail"); }\n`,
  }, [/ERROR: onFinish .*: TypeError: no mail\n {8}at onFinish \(.*x\.mjs:3:\d+\)\n\S/]],
];
for (const [where, files, expected] of throwing) {
  t.test(`what a plugin throws ${where} is shown with its own frames alone`, async (t) => {
    const { stderr } = ran(t, files, run("x.mjs"));
    for (const pattern of expected) t.match(stderr, pattern);
    t.notMatch(stderr, /\$bunfs|node:internal|processTicks|\\n/);
  });
}

const bad = `
export function* getJobs(last = 0) { for (let id = last + 1; id <= 200; id++) yield id; }
export function handleJob(job) { if (job % 10 === 0) throw new Error("row " + job + " is bad"); }
export const options = { attempts: 2, backoff: 50 };
`;

t.test("a job that becomes a dead letter has a line at info; a flood of them has a few, and a count", async (t) => {
  const { stderr, status } = ran(t, { "x.mjs": bad }, run("x.mjs"));
  t.equal(status, 3, stderr);
  const lines = stderr.split("\n").filter((line) => / INFO: Job \d+ is a dead letter/.test(line));
  t.match(lines[0], / INFO: Job \d+ is a dead letter after 2 failures, the last at \S+: row \d+ is bad$/);
  const more =
    stderr.match(/ INFO: (\d+) more jobs are dead letters, job \d+ the last of them: row \d+ is bad/g) ?? [];
  const counted = more.reduce((sum, line) => sum + Number(/(\d+) more/.exec(line)![1]), 0);
  t.equal(lines.length + counted, 20, stderr);
  t.notMatch(stderr, /DEBUG/);
});

t.test("a failed attempt has a line at debug, with what becomes of its job", async (t) => {
  const { stderr } = ran(t, { "x.mjs": bad.replace("200", "10") }, run("x.mjs", "--log-level", "debug"));
  t.match(stderr, / DEBUG: Job 9 failed, 1 of 2, at \S+, and is tried again in \d+ms: row 10 is bad\n/);
  t.match(stderr, / DEBUG: Job 9 failed, 2 of 2, at \S+, and has no attempts left: row 10 is bad\n/);
});

t.test("a fault of the code in every job is told with its place, and what to do", async (t) => {
  const plugin = `export const getJobs = () => Array(500).keys();
export const handleJob = (job) => job.user.name;
`;
  const { stderr, status } = ran(t, { "x.mjs": plugin }, run("x.mjs", "--max-outage", "2s"));
  t.equal(status, 7, stderr);
  t.match(
    stderr,
    / WARN: Everything fails: TypeError: .*job\.user\.name.* \(x\.mjs:2:\d+\)\. No job .* mend the plugin and start the same/,
  );
});

t.test("a run that is stopped while nothing succeeds says so at its end", async (t) => {
  for (const words of [[], ["--quiet"]]) {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const plugin =
      "export const getJobs = () => Array(500).keys();\nexport const handleJob = (job) => job.user.name;\n";
    writeFileSync(join(scenario.folder, "x.mjs"), plugin);
    const program = scenario.start(runtimes.binary, run("x.mjs", ...words));
    await program.printed(/WARN: Everything fails: /);
    program.signal("SIGINT");
    t.equal(await program.ended, 130);
    t.match(
      program.stderr,
      /Stopped and saved\. Nothing succeeded any more: TypeError: .* \(x\.mjs:2:\d+\)\n/,
    );
  }
});

t.test("a token that cannot be written names the option for another file", async (t) => {
  const { stderr, status } = ran(t, { file: "" }, ["token", "--write", "file/taskmaster.token"]);
  t.equal(status, 5);
  t.match(stderr, /^taskmaster: Cannot make the token file .*\. Name another one with --write\.\n$/);
});

t.test("a slave with another token is told which one it was, if it was named", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const port = await portOf(scenario.master(["jobs=10"]));
  const slave = scenario.slave(port, [], runtimes.binary, {
    TASKMASTER_TOKEN: "A7kVw9TzQm2RbXc5LfYp8HsNd4Gj",
  });
  t.equal(await slave.ended, 5, slave.stderr);
  t.match(
    slave.stderr,
    /the tokens differ \(here it is that of TASKMASTER_TOKEN\); .* name it with --token-file\n/,
  );
});

t.test("--quiet says in one line that there are dead letters", async (t) => {
  const { stderr, status, folder } = ran(t, { "x.mjs": bad }, run("x.mjs", "--quiet"));
  t.equal(status, 3);
  const letters = join(folder, "x.dead.ndjson");
  t.match(
    stderr,
    new RegExp(
      `^\\[.*\\] WARN: Finished, with 20 dead letters in ${letters}; most often: 20 x row \\d+ is bad .*\\n$`,
    ),
  );
});

t.test("--quiet says why a run ended", async (t) => {
  const plugin = `export function setup() { throw new Error("no mount"); }\n${fine}`;
  const { stderr, status } = ran(t, { "x.mjs": plugin }, run("x.mjs", "--quiet"));
  t.equal(status, 4);
  t.match(stderr, /ERROR: setup failed: no mount/);
  t.match(stderr, /ERROR: Stopped and saved\. What ended it: this machine's slave cannot run, .*exit code 4/);
  t.match(stderr, /ERROR: Resume with: /);
});

t.test("the log tells a slave that drained from one that was killed", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const master = scenario.master(["jobs=1000000", "ms=50"]);
  const port = await portOf(master);
  const join = async () => {
    const slave = scenario.slave(port);
    const joins = master.stderr.split(" joined, ").length;
    await until(() => master.stderr.split(" joined, ").length > joins, "a slave joined");
    return slave;
  };
  (await join()).signal("SIGTERM");
  await master.printed(/INFO: Slave '\S+' left: it said: Drained\.\n/);
  (await join()).signal("SIGKILL");
  await master.printed(
    /INFO: Slave '\S+' left: its connection closed without a word.*: it was killed, or its machine or the network failed\.\n/,
  );
  const last = await join();
  master.signal("SIGTERM");
  await last.printed(
    /The connection to the master ended: (?:the master drains; connecting again in 10s|it said: )/,
  );
  await master.ended;
});

/** Every third fails, each with its number in the message; job 7 in another way. */
const failingRows =
  `export const getJobs = () => Array.from({ length: 30 }, (_, id) => ({ id, at: new Date(id) }));
export function handleJob({ id }) {
  if (id === 7) throw new Error("no disk");
  if (id % 3 === 0) throw new TypeError(\`user \${id} not found\`);
}
export const options = { attempts: 1 };
`;

t.test("the line that a run with dead letters ends with shows them, grouped as the summary has them", async (t) => {
  const place = ["--key", "rows", "--state-dir", "."];
  const { stderr, status, folder, again } = ran(t, { "x.mjs": failingRows }, run("x.mjs", ...place));
  t.equal(status, 3);
  t.match(stderr, /^ {4}10 x TypeError: user \d+ not found \(and others like it\)\n {4}1 x no disk$/m);
  const [, command] = /Look at them with: (.*)/.exec(stderr) ?? [];
  t.equal(command, `${binary} dead x.mjs --key=rows --state-dir=.`);
  const copied = spawnSync("sh", ["-c", command!], { cwd: folder, encoding: "utf8", timeout: 20_000 });
  t.equal(copied.status, 0);
  t.match(
    copied.stdout,
    /^11 dead letters in .*rows\.dead\.ndjson\n\n[\da-f]{8} {2}10 x TypeError: user # not found\n/,
  );
  t.match(copied.stdout, /^[\da-f]{8} {2}1 x no disk$/m);
  t.match(copied.stdout, /\n {8}at handleJob \(.*x\.mjs:4:/, "with the stack of a sample");

  const dead = (...more: string[]) => again(["dead", "x.mjs", ...place, ...more]);
  const [group] = /^[\da-f]{8}(?= {2}10 x)/m.exec(copied.stdout)!;
  const one = dead("--group", group);
  t.notMatch(one.stdout, "no disk");
  t.equal(one.stdout.match(/^ {2}job \d+, /gm)?.length, 10, "its letters");
  const letters = (...more: string[]) =>
    dead("--json", ...more).stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  t.same(letters().map(({ seq }) => seq).sort((a, b) => a - b), [0, 3, 6, 7, 9, 12, 15, 18, 21, 24, 27]);
  t.equal(letters("--group", group).length, 10);
  t.match(letters("--seq", "7"), [{ seq: 7, job: { id: 7, at: { $date: /1970/ } }, cbor: /^\S+$/ }]);
  t.match(dead("--seq", "7,27").stdout, /^Job 27, of group (?:[^]*\n)Job 7, of group /);
  t.equal(dead("--seq", "1").stdout, `No such dead letters in ${join(folder, "rows.dead.ndjson")}\n`);

  const path = join(folder, "rows.dead.ndjson");
  appendFileSync(path, '{"seq":7,"handled":"2025-01-01T00:00:00.000Z"}\n{"seq":3,"ti');
  const appended = dead();
  t.equal(appended.status, 0, "a line that is half written is no fault");
  t.match(appended.stdout, /^10 dead letters in /);
  writeFileSync(path, `nonsense\n${readFileSync(path, "utf8")}`);
  const damaged = dead();
  t.equal(damaged.status, 6);
  t.match(damaged.stdout, /^10 dead letters in /, "the rest is shown");
  t.match(damaged.stderr, /^taskmaster: In ".*" 1 line is no dead letter, line 1: /);
});

t.test("`dead` says where there are none, and that there is no such run", async (t) => {
  const { status, folder, again } = ran(t, { "x.mjs": fine }, run("x.mjs"));
  t.equal(status, 0);
  const none = again(["dead", "x.mjs"]);
  t.same([none.status, none.stdout], [0, `No dead letters in ${join(folder, "x.dead.ndjson")}\n`]);
  t.same([again(["dead", "x.mjs", "--json"]).stdout, again(["dead", "x.mjs", "--json"]).status], ["", 0]);
  const noRun = again(["dead", "y"]);
  t.equal(noRun.status, 6);
  t.match(
    noRun.stderr,
    /^taskmaster: Cannot read ".*y\.dead\.ndjson": there is no such file, nor a state of that run\./,
  );
});
