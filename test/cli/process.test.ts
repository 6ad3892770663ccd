import { spawn } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { version } from "../../src/lib/runtime.ts";
import { bun, root } from "../kit/runtimes.ts";

// The program as a process under Bun: what it prints where, and what it exits with.

type Ended = Readonly<{ stdout: string; stderr: string; code: number | string | null }>;

/** Runs the program in a folder of its own; `heard` is told of what comes on stderr. */
function program(
  folder: string,
  args: readonly string[],
  env: Record<string, string> = {},
  heard: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
): Promise<Ended> {
  const child = spawn(bun, [join(root, "mod.ts"), ...args], {
    cwd: folder,
    env: { HOME: folder, PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => stdout += chunk);
  child.stderr.on("data", (chunk) => heard(stderr += chunk, (signal) => child.kill(signal)));
  return new Promise((resolve) =>
    child.on("close", (code, signal) => resolve({ stdout, stderr, code: code ?? signal }))
  );
}

const table: readonly (readonly [string[], number, { stdout?: RegExp; stderr?: RegExp }])[] = [
  [[], 0, { stdout: /^taskmaster runs.*\n\n( {2}\$ taskmaster .*\n){3}/ }],
  [["--help"], 0, { stdout: /Commands:/ }],
  [["help", "master"], 0, {
    stdout: /^taskmaster master:.*\n\n( {2}\$ taskmaster master .*\n){3}[^]*--size N .*10000/,
  }],
  [["slave", "-h"], 0, { stdout: /TASKMASTER_HOST/ }],
  [["--version"], 0, { stdout: new RegExp(`^taskmaster ${version}\\n$`) }],
  [["rnu"], 2, { stderr: /^taskmaster: There is no command "rnu"\. Did you mean `taskmaster run`\?/ }],
  [["help", "rnu"], 2, { stderr: /taskmaster run/ }],
  [["run", "x.ts", "--sise", "5"], 2, { stderr: /Did you mean --size\?/ }],
  [["run"], 2, { stderr: /needs a plugin/ }],
  [["run", "x.ts", "--size", "none"], 2, { stderr: /--size cannot be "none"/ }],
  [["run", "x.ts", "--key", "../../etc/x"], 2, { stderr: /a key is 1 to 64/ }],
  [["slave", "x.ts", "a=1"], 2, { stderr: /given to the master/ }],
  [["worker"], 2, { stderr: /taskmaster slave/ }],
  [["run", "none.ts"], 4, { stderr: /there is no file/ }],
  [["slave", "none.ts", "--host", "10.0.0.5"], 5, {
    stderr: /taskmaster token --write taskmaster\.token\n {2}scp taskmaster taskmaster\.token web1:/,
  }],
  [["token", "--write", "taskmaster.token"], 0, {
    stderr: /\n {2}scp taskmaster taskmaster\.token web1:\n$/,
  }],
  [["token", "--write", "other.token"], 0, {
    stderr: /\n {2}scp taskmaster web1:\n {2}scp other\.token web1:taskmaster\.token\n$/,
  }],
  [["state", "none"], 6, { stderr: /there is no such file/ }],
];
for (const [args, code, { stdout = /^$/, stderr = /^$/ }] of table) {
  t.test(`taskmaster ${args.join(" ")}`, async (t) => {
    const ended = await program(t.testdir({}), args);
    t.equal(ended.code, code, ended.stderr);
    t.match(ended.stdout, stdout);
    t.match(ended.stderr, stderr);
  });
}

t.test("a reader of stdout that has enough is no fault", async (t) => {
  const child = spawn(bun, [join(root, "mod.ts"), "help", "run"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (chunk) => stderr += chunk);
  t.equal(await new Promise((resolve) => child.on("close", resolve)), 0);
  t.equal(stderr, "");
});

const plugin = `
export function* getJobs(last = -1) {
  console.count("counted");
  console.dirxml("shown");
  console.groupCollapsed("group");
  console.groupEnd();
  console.log("token of the source:", process.env.TASKMASTER_TOKEN);
  for (let id = last + 1; id < 50; id++) yield id;
}
export function handleJob(id, ctx) {
  if (id === 0) ctx.log.warn("said by the handler", { id });
  if (id === 0) console.log("token of the handler:", process.env.TASKMASTER_TOKEN);
  if (id === 7) throw new Error("bad \\u001b[2J row");
}`;
const secret = "s3cret-Nd4GjUa6EeB5wQ3kVw9TzQm7RbXc2LfY";

t.test("a run keeps stdout for data, the token for itself, and says how it ended", async (t) => {
  const folder = t.testdir({});
  writeFileSync(join(folder, "jobs.mjs"), plugin);
  const args = ["run", "jobs.mjs", "--json", "--procs", "1", "--attempts", "1", "--host", "127.0.0.1:0"];
  const { stdout, stderr, code } = await program(folder, args, { TASKMASTER_TOKEN: secret });
  t.equal(code, 3, stderr);
  const events = stdout.trimEnd().split("\n").map((line) => JSON.parse(line));
  t.same(
    ["started", "listening", "joined", "left", "dead", "status", "ended"].filter((name) =>
      !events.some(({ event }) => event === name)
    ),
    [],
  );
  t.match(events.find(({ event }) => event === "dead"), {
    seq: 7,
    how: "threw",
    message: "bad \u001b[2J row",
  });
  t.match(events.at(-1), { event: "ended", exitCode: 3, done: 49, dead: 1, handedOut: 50 });
  t.match(stderr, /^Taskmaster server running on '127\.0\.0\.1:\d+'\n/);
  t.match(stderr, /^counted: 1\nshown\ngroup\n/m, "no `console` of the plugin reaches stdout");
  t.match(stderr, /^token of the source: undefined$/m);
  t.match(stderr, /^token of the handler: undefined$/m);
  t.match(stderr, /^\[[\d:]+\] WARN: said by the handler \{"id":0\}$/m);
  t.match(stderr, /Finished, with 1 dead letter\.[^]*1 x bad \\e\[2J row[^]*jobs\.dead\.ndjson/);
  t.notMatch(stderr + stdout, new RegExp(secret), "it is shown nowhere");
  t.notOk(stderr.includes("\u001b"), "no escapes off a terminal");
  const again = await program(folder, ["state", "jobs.mjs", "--json"]);
  t.match(JSON.parse(again.stdout), {
    done: 49,
    dead: 1,
    complete: true,
    strandedCount: 0,
    last: { cursor: 49 },
  });
});

t.test("a run's slave has the token and the address of the run, whatever the environment says", async (t) => {
  const folder = t.testdir({ "other.token": "0ther-Rb7Xc2LfYp8HsNd4GjUa6EeB5wQ3kVw9T" });
  writeFileSync(
    join(folder, "jobs.mjs"),
    "export const getJobs = () => [1, 2];\nexport function handleJob() {}",
  );
  chmodSync(join(folder, "other.token"), 0o600);
  writeFileSync(join(folder, "own.token"), secret, { mode: 0o600 });
  const args = ["run", "jobs.mjs", "--procs", "1", "--host", "127.0.0.1:0", "--token-file", "own.token"];
  const { stderr, code } = await program(folder, args, {
    TASKMASTER_INSECURE: "1",
    TASKMASTER_TOKEN_FILE: "other.token",
    TASKMASTER_HOST: "127.0.0.1:9",
    TASKMASTER_LISTEN: "127.0.0.1:9",
    TASKMASTER_TLS: "1",
    TASKMASTER_TLS_CA: "none.pem",
  });
  t.equal(code, 0, stderr);
  t.match(stderr, /= 2 done/);
});

t.test("a folder for settings that is none is said in a sentence", async (t) => {
  const folder = t.testdir({ config: "a file", "jobs.mjs": "export const getJobs = () => [];" });
  const { stderr, code } = await program(folder, ["master", "jobs.mjs"], {
    XDG_CONFIG_HOME: join(folder, "config"),
  });
  t.equal(code, 5);
  t.match(stderr, /^taskmaster: Cannot make the token file .*--token-file.*TASKMASTER_TOKEN\.\n$/);
});

t.test("a master stopped at its first line exits 130 with the command that resumes", async (t) => {
  const folder = t.testdir({});
  writeFileSync(join(folder, "jobs.mjs"), plugin);
  const stop = (text: string, kill: (signal: NodeJS.Signals) => void) => {
    // One is enough; those that come with the last words change nothing.
    if (!text.includes("Stopping") || text.includes("Stopped")) kill("SIGINT");
  };
  const args = ["master", "jobs.mjs", "--reset", "q=a b", "--host", "127.0.0.1:0"];
  const { stderr, code } = await program(folder, args, { TASKMASTER_TOKEN: secret }, stop);
  t.equal(code, 130, stderr);
  t.match(stderr, /^Join with: taskmaster slave jobs\.mjs --host 127\.0\.0\.1:\d+$/m);
  t.match(stderr, /^Resume with: \S*bun \S+mod\.ts master jobs\.mjs 'q=a b' --host 127\.0\.0\.1:0$/m);
});

for (
  const what of [
    "setTimeout(() => { throw new Error('astray'); })",
    "void Promise.reject(new Error('astray'))",
  ]
) {
  t.test(`a plugin that does ${what} stops a master, which saves`, async (t) => {
    const folder = t.testdir({});
    writeFileSync(
      join(folder, "jobs.mjs"),
      `export async function* getJobs(_, { signal }) { yield 1; ${what}; await new Promise((end) => signal.addEventListener("abort", end)); }`,
    );
    const args = ["master", "jobs.mjs", "--host", "127.0.0.1:0"];
    const { stderr, code } = await program(folder, args, { TASKMASTER_TOKEN: secret });
    t.equal(code, 1);
    t.match(
      stderr,
      /nobody caught what was thrown: astray\n.* {4}at [^]*Stopped and saved\.[^]*Resume with: /,
    );
  });
}

t.test("a source that fails for good ends a master with its stack, once, quiet or not", async (t) => {
  const folder = t.testdir({});
  writeFileSync(
    join(folder, "jobs.mjs"),
    `export const getJobs = () => [1];\nexport function cursor() { throw new Error("no id"); }`,
  );
  for (const flags of [[], ["--quiet"]]) {
    const args = ["master", "jobs.mjs", "--host", "127.0.0.1:0", ...flags];
    const { stderr, code } = await program(folder, args, { TASKMASTER_TOKEN: secret });
    t.equal(code, 1);
    t.match(stderr, /WARN: getJobs yielded job 0, of which cursor\(job\) threw: no id; calling it again/);
    t.equal(stderr.match(/at cursor \(/g)?.length, 1, stderr);
    t.match(stderr, /Ended: getJobs yielded job 0[^]*Resume with: .* master jobs\.mjs/);
  }
});
