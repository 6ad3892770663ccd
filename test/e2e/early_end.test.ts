import t from "tap";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { row, type Stage } from "./stage.ts";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";

// Row A29 of docs/reliability.md: whatever ends the process before its program has, it is no success, and it is named.

t.jobs = 3;

const jobs = "export const getJobs = () => [1, 2, 3]; export function handleJob() {}";
const never = "await new Promise(() => {});";
/** Yields for minutes; `first` is done when it begins. */
const slowly = (first: string) =>
  `export async function* getJobs() {
  ${first}
  for (let job = 0; job < 100_000; job++) { await new Promise((go) => setTimeout(go, 2)); yield job; }
}
export function handleJob() {}`;

/** The line that ends the process carries this comment. */
const here = "/* here */";

function start(stage: Stage, text: string, command = runtimes.binary): Program {
  const path = join(stage.folder, "plugin.ts");
  writeFileSync(path, text);
  return stage.start(command, ["run", path, "--host", "127.0.0.1:0", "--procs", "1", "--json"]);
}

/** `plugin.ts:LINE:` of the line with the comment. */
function placeIn(text: string): RegExp {
  const line = text.split("\n").findIndex((line) => line.includes(here)) + 1;
  return new RegExp(`called at \\S*plugin\\.ts:${line}:\\d+`);
}

const atLoad: Readonly<Record<string, readonly [text: string, how: RegExp]>> = {
  "process.exit(0)": [`process.exit(0); ${here}\n${jobs}`, /process\.exit\(0\)/],
  "exit, by its name": [`import { exit } from "node:process";\nexit(0); ${here}\n${jobs}`, /exit\W/],
  "process.reallyExit(0)": [`process.reallyExit(0); ${here}\n${jobs}`, /process\.reallyExit\(0\)/],
  "process.abort()": [`process.abort(); ${here}\n${jobs}`, /process\.abort\(\)/],
  "SIGKILL to itself": [
    `process.kill(process.pid, "SIGKILL"); ${here}\n${jobs}`,
    /process\.kill\(process\.pid/,
  ],
  "SIGTERM to itself, by number": [
    `process.kill(process.pid, 15); ${here}\n${jobs}`,
    /process\.kill\(process\.pid, 15/,
  ],
  "another program in its place": [
    `process.execve("/bin/true", ["true"], {}); ${here}\n${jobs}`,
    /process\.execve/,
  ],
  "a top-level await that nothing ends": [`${never}\n${jobs}`, /nothing was left for it to wait for/],
  "the same, all listeners taken away, and exit code 0": [
    `process.removeAllListeners(); process.exitCode = 0; ${never}\n${jobs}`,
    /nothing was left for it to wait for/,
  ],
  "the same, and a listener to the exit that throws": [
    `process.on("exit", () => { throw new Error("late"); }); ${never}\n${jobs}`,
    /nothing was left for it to wait for/,
  ],
  "an exit that a listener turns into 0": [
    `process.on("exit", () => { process.exitCode = 0; process.exit(0); });\nprocess.exit(5); ${here}\n${jobs}`,
    /process\.exit\(5\)/,
  ],
  "an exit of its own making": [
    `const { exit } = process; process.exit = () => exit(0);\nexit(0); ${here}\n${jobs}`,
    /process\.exit\(0\)/,
  ],
};

for (const [what, [text, how]] of Object.entries(atLoad)) {
  row(`A29: at load, ${what}: exit code 1, and what did it`, async (t, stage) => {
    const run = start(stage, text);
    t.equal(await run.ended, 1, run.stderr);
    t.match(run.stderr, how);
    if (text.includes(here)) t.match(run.stderr, placeIn(text));
    t.match(run.stderr, /No job was handed out/, "where the run stands");
  });
}

const inTheRun: Readonly<Record<string, string>> = {
  "in getJobs": `export function getJobs() {\n  process.exit(0); ${here}\n}\nexport function handleJob() {}`,
  "in cursor": `export const getJobs = () => [1, 2, 3];\nexport function handleJob() {}
export function cursor(job) {\n  if (job === 2) process.exit(0); ${here}\n  return job;\n}`,
  "in a timer": slowly(`setTimeout(() => {\n  process.exit(0); ${here}\n}, 200);`),
  "in a signal's listener": slowly(`process.on("SIGUSR2", () => {\n  process.exit(0); ${here}\n});
setTimeout(() => process.kill(process.pid, "SIGUSR2"), 200);`),
};

for (const [where, text] of Object.entries(inTheRun)) {
  row(
    `A29: process.exit(0) ${where}: exit code 1, where the run stands, and how it goes on`,
    async (t, stage) => {
      const run = start(stage, text);
      t.equal(await run.ended, 1, run.stderr);
      t.match(run.stderr, /process\.exit\(0\)/);
      t.match(run.stderr, placeIn(text));
      t.match(run.stderr, /The state was saved .* ago/);
      t.match(run.stderr, /Resume with: \S*taskmaster run /);
      t.match(run.events("ended")[0], { exitCode: 1, savedFinally: false, error: /process\.exit/ });
    },
  );
}

for (
  const [what, text] of Object.entries({
    throws: "onFinish() { throw new TypeError('no mail'); }",
    rejects: "async onFinish() { await 1; throw new TypeError('no mail'); }",
    "rejects with nothing": "onFinish() { return Promise.reject(); }",
    "rejects unheard": "onFinish() { (async () => { throw new TypeError('no mail'); })(); }",
  })
) {
  row(`A29: an onFinish that ${what}: exit code 1, and the next start calls it again`, async (t, stage) => {
    const plugin = (finish: string) =>
      `export default { getJobs: () => [1, 2, 3], handleJob() { console.log("a job"); }, cursor: (job) => job,
  ${finish} };`;
    const run = start(stage, plugin(text));
    t.equal(await run.ended, 1, run.stderr);
    t.match(run.stderr, /Finished: every job is handled, but onFinish failed\./);
    t.match(run.stderr, /What onFinish had to do is not done, for it threw: .*(no mail|undefined)/);
    t.match(
      run.stderr,
      /complete and saved: no job runs again\. Call onFinish again with: .*run .*plugin\.ts/,
    );
    const [ended] = await run.events("ended");
    t.match(ended, { exitCode: 1, savedFinally: true, done: 3, onFinish: { kind: "threw" } });
    t.match(await stage.state("plugin"), { done: 3 });
    const again = start(stage, plugin("onFinish({ done }) { console.log(`told of ${done}`); }"));
    t.equal(await again.ended, 0, again.stderr);
    t.match(again.stderr, /told of 3/);
    t.notMatch(again.stderr, /a job/, "no job runs again");
  });
}

row("A29: process.exit(0) in onFinish: exit code 1, and the run is told to be complete", async (t, stage) => {
  const text = `${jobs}\nexport function onFinish() {\n  process.exit(0); ${here}\n}`;
  const run = start(stage, text);
  t.equal(await run.ended, 1, run.stderr);
  t.match(run.stderr, placeIn(text));
  t.match(run.stderr, /The run itself is complete and saved/);
  t.match(run.events("ended")[0], { exitCode: 1, savedFinally: true, done: 3 });
});

row("A29: SIGTERM that a plugin sends itself in mid-run stops the run as any other", async (t, stage) => {
  const run = start(stage, slowly("setTimeout(() => process.kill(process.pid), 200);"));
  t.equal(await run.ended, 143, run.stderr);
  t.match(run.stderr, /Stopped and saved/);
});

row(
  "A29: what happens to the process once the program has ended does not change its exit code",
  async (t, stage) => {
    const run = start(
      stage,
      `${jobs}\nprocess.on("exit", () => { process.exitCode = 7; throw new Error("late"); });`,
    );
    t.equal(await run.ended, 0, run.stderr);
    t.match(run.stderr, /a listener to the end of the process threw/);
  },
);

for (const [what, handler] of Object.entries({ "at once": "() =>", "before it awaits": "async () =>" })) {
  row(`A29: a handler that exits ${what} costs its own job, and ends with that`, async (t, stage) => {
    const text = `const exits = ${handler} process.exit(0);
export const getJobs = () => [1, 2, 3];
export const handleJob = (job) => job === 2 ? exits() : undefined;`;
    const run = start(stage, text);
    t.equal(await run.ended, 3, run.stderr);
    t.match(run.events("ended")[0], { done: 2, dead: 1, lateErrors: 0 });
    t.match(run.stderr, /1 x handler exited \(0\)/);
  });
}

for (
  const [what, body] of Object.entries({
    exits: `process.exit(0); ${here}`,
    throws: `throw new Error("no flush"); ${here}`,
  })
) {
  row(`A29: a teardown that ${what} is an error after the end of jobs: exit code 3`, async (t, stage) => {
    const run = start(stage, `${jobs}\nexport async function teardown() {\n  ${body}\n}`);
    t.equal(await run.ended, 3, run.stderr);
    t.match(
      run.stderr,
      what === "exits" ? /teardown ended the process by process\.exit\(0\) at/ : /no flush/,
    );
    t.match(run.events("ended")[0], { exitCode: 3, done: 3, dead: 0, lateErrors: 1 });
  });
}

row("A29: who captures uncaught exceptions does not keep them from the program", async (t, stage) => {
  const text = slowly(`process.setUncaughtExceptionCaptureCallback(() => console.log("captured"));
setTimeout(() => { throw new Error("lost"); }, 200);`);
  const run = start(stage, text);
  t.equal(await run.ended, 1, run.stderr);
  t.match(run.stderr, /captured/);
  t.match(run.stderr, /nobody caught what was thrown: lost/);
});

row(
  "A29: the slave of a run that a signal ended alone, with exit code 0, is started anew",
  async (t, stage) => {
    const run = start(
      stage,
      `import { existsSync, readFileSync, writeFileSync } from "node:fs";
const once = "${stage.folder}/once";
const isThere = () => {
  try { return process.kill(Number(readFileSync(once)), 0); } catch (error) { return error.code !== "ESRCH"; }
};
export async function* getJobs() {
  yield* [1, 2];
  while (isThere()) await new Promise((go) => setTimeout(go, 20));
  yield 3;
}
export function handleJob(job) {
  if (job !== 2 || existsSync(once)) return;
  writeFileSync(once, String(process.ppid));
  process.kill(process.ppid, "SIGTERM");
}`,
    );
    t.equal(await run.ended, 0, run.stderr);
    t.match(run.stderr, /This machine's slave ended \(it was told to leave: .*\); starting another one/);
    t.match(run.events("ended")[0], { done: 3 });
  },
);

row("A29: at a slave, the supervisor names where the plugin ended its worker", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = (await master.printed(/127\.0\.0\.1:(\d+)/))[1];
  for (
    const [what, text] of [["loaded", `process.exit(0); ${here}`], [
      "setup",
      `export function setup() {\n  process.exit(0); ${here}\n}`,
    ]] as const
  ) {
    const path = stage.write("plugin.ts", `${text}\nexport function handleJob() {}`);
    const slave = stage.start(runtimes.binary, [
      "slave",
      path,
      "--host",
      `127.0.0.1:${port}`,
      "--procs",
      "1",
      "--any-plugin",
    ]);
    t.equal(await slave.ended, 4, slave.stderr);
    t.match(slave.stderr, new RegExp(`${what}.*exited \\(0\\) at \\S*plugin\\.ts:`));
  }
  master.signal("SIGKILL");
});

for (const name of ["bun", "deno", "node"] as const) {
  row(`A29: the same in ${name}`, async (t, stage) => {
    const exits =
      `export function getJobs() {\n  process.exit(0); ${here}\n}\nexport function handleJob() {}`;
    const run = start(stage, exits, runtimes[name]);
    t.equal(await run.ended, 1, run.stderr);
    t.match(run.stderr, placeIn(exits));
    t.notMatch(run.stderr, /threw/, "and nothing goes on behind it");
    const waits = start(stage, `${never}\n${jobs}`, runtimes[name]);
    t.equal(await waits.ended, 1, waits.stderr);
    const text = slowly("setTimeout(() => (process.removeAllListeners(), process.kill(process.pid)), 200);");
    const stopped = start(stage, text, runtimes[name]);
    t.equal(await stopped.ended, 143, stopped.stderr);
    t.match(stopped.stderr, /Stopped and saved/, "signals are heard, though all listeners were taken away");
    // Deno ends by itself once no timer is left, and names the place.
    t.match(waits.stderr, name === "deno" ? /Top-level await promise never resolved/ : /nothing was left/);
  });
}

for (const name of ["NODE_UNIQUE_ID", "BUN_OPTIONS"] as const) {
  row(
    `A29: with ${name} set, which would make another program of it, it does not start`,
    async (t, stage) => {
      const plugin = stage.write("plugin.ts", jobs);
      const run = stage.start(runtimes.binary, ["run", plugin, "--host", "127.0.0.1:0"], {
        [name]: "--smol",
      });
      t.equal(await run.ended, 2, run.stderr);
      t.match(run.stderr, new RegExp(`${name} is set.*env -u ${name}`));
    },
  );
}

row("A29: variables of the runtime that a plugin sets do not reach our own processes", async (t, stage) => {
  const set = ["BUN_BE_BUN", "BUN_OPTIONS", "NODE_UNIQUE_ID", "NODE_CHANNEL_FD", "BUN_INSPECT"];
  const run = start(stage, `for (const name of ${JSON.stringify(set)}) process.env[name] = "1";\n${jobs}`);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.events("ended")[0], { done: 3 });
});

row(
  "A29: where a plugin closes stdout and stderr, no file or socket of ours takes their numbers",
  async (t, stage) => {
    const run = start(
      stage,
      `import { closeSync, readlinkSync, writeFileSync } from "node:fs";
closeSync(1);
closeSync(2);
export function getJobs() {
  const names = [1, 2].map((fd) => readlinkSync("/proc/self/fd/" + fd));
  writeFileSync("${stage.folder}/names", names.join());
  return [1, 2, 3];
}
export function handleJob() {}`,
    );
    t.equal(await run.ended, 0);
    t.equal(stage.read("names").toString(), "/dev/null,/dev/null");
    t.match(await stage.state("plugin"), { done: 3 });
  },
  { skip: process.platform !== "linux" },
);
