import t from "tap";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { row, type Stage } from "./stage.ts";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";

// Row A28 of docs/reliability.md: what is waited for of the user's is named after 10 s, and a stop is bounded. Nearly all of
// the time is waiting.

t.jobs = 8;

const jobs = "export const getJobs = () => [1, 2, 3]; export function handleJob() {}";
const forEver = "new Promise(() => setInterval(() => {}, 60_000))";
const graceMs = 2_000;
/** For the stop itself, on a machine that is busy. */
const slackMs = 8_000;

function start(stage: Stage, text: string, words: readonly string[] = []): Program {
  const path = join(stage.folder, "plugin.ts");
  writeFileSync(path, text);
  const more = ["--procs", "1", "--grace", `${graceMs}ms`, "--status-interval", "1s"];
  return stage.start(runtimes.binary, ["run", path, "--host", "127.0.0.1:0", ...more, ...words]);
}

/** One SIGTERM, and the time until it is over. */
async function stopped(program: Program, signal: NodeJS.Signals = "SIGTERM") {
  const startedMs = performance.now();
  program.signal(signal);
  return { code: await program.ended, ms: performance.now() - startedMs };
}

row("A28: a plugin whose loading hangs is named; a signal ends the wait", async (t, stage) => {
  const run = start(stage, `await ${forEver};\n${jobs}`);
  await run.printed(/the plugin loads since 1\d s/);
  const { code, ms } = await stopped(run);
  t.equal(code, "SIGTERM");
  t.ok(ms < slackMs);
});

row("A28: a signal ends a plugin that hangs at load, though it listens to the signal", async (t, stage) => {
  const run = start(
    stage,
    `process.on("SIGTERM", () => console.log("no"));\nconsole.log("up");\nawait ${forEver};\n${jobs}`,
  );
  await run.printed(/up/);
  t.equal((await stopped(run)).code, 143, run.stderr);
  t.match(run.stderr, /Stopped while the plugin was loaded/);
});

row(
  "A28: an onFinish that never ends is named, and one SIGTERM ends it within the grace",
  async (t, stage) => {
    const run = start(stage, `${jobs}\nexport const onFinish = () => ${forEver};`);
    await run.printed(/WARN: onFinish runs since 1\d s/);
    await run.printed(/\| onFinish runs since 1\d s/);
    const { code, ms } = await stopped(run);
    t.equal(code, 143, run.stderr);
    t.ok(ms < graceMs + slackMs, `${ms}`);
    t.match(run.stderr, /What onFinish had to do is not done/);
    t.match(await stage.state("plugin"), { done: 3 }, "the run is saved");
  },
);

row("A28: a run that is stopped waits for onFinish 5 s, or the grace", async (t, stage) => {
  const run = start(
    stage,
    `${jobs.replace("[1, 2, 3]", "(async function* () { yield 1; await new Promise(() => {}); })()")}
export const onFinish = () => { console.log("finishing"); return ${forEver}; };`,
  );
  await run.printed(/joined/);
  const { code, ms } = await stopped(run, "SIGINT");
  t.equal(code, 130, run.stderr);
  t.match(run.stderr, /finishing/);
  t.ok(ms < 5_000 + graceMs + slackMs, `${ms}`);
});

row("A28: a second signal ends an onFinish at once", async (t, stage) => {
  const text = `${jobs}\nexport const onFinish = () => { console.log("finishing"); return ${forEver}; };`;
  const run = start(stage, text, ["--grace", "10m"]);
  await run.printed(/finishing/);
  run.signal("SIGTERM");
  await run.printed(/Stopping: the run has ended/);
  t.equal((await stopped(run)).code, 143, run.stderr);
});

for (const [what, text] of Object.entries({ hangs: forEver, loops: "(() => { for (;;); })()" })) {
  row(
    `A28: a setup that ${what} is named at the slave and at its master, and keeps no stop`,
    async (t, stage) => {
      const run = start(stage, `${jobs}\nexport const setup = () => ${text};`);
      await run.printed(/WARN: worker \d+ is in setup since 1\d s/);
      await run.printed(/\| waiting for slaves: worker \d+ is in setup since 1\d s/);
      const { code, ms } = await stopped(run);
      t.equal(code, 143, run.stderr);
      t.ok(ms < graceMs + slackMs, `${ms}`);
    },
  );
}

for (const [what, text] of Object.entries({ hangs: `await ${forEver};`, loops: "for (;;);" })) {
  row(`A28: a plugin whose loading in a worker ${what} is named, and keeps no stop`, async (t, stage) => {
    const master = stage.scripted("3*ok");
    const plugin = stage.write("plugin.ts", `${text}\nexport function handleJob() {}`);
    const slave = stage.hand(await portOf(master), ["--status-interval", "1s", "--any-plugin"], plugin);
    await slave.printed(/WARN: worker \d+ loads the plugin since 1\d s/);
    await slave.printed(/\| worker \d+ loads the plugin since 1\d s/);
    const { code, ms } = await stopped(slave);
    t.equal(code, 0, slave.stderr);
    t.ok(ms < slackMs, `${ms}`);
    master.signal("SIGKILL");
  });
}

row("A28: a teardown that hangs is cut off after 10 s, and named", async (t, stage) => {
  const run = start(stage, `${jobs}\nexport const teardown = () => ${forEver};`);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.stderr, /teardown did not end within 10s, and is cut off in worker \d+/);
});

row(
  "A28: a stop whose grace is short still calls teardown, and cuts off one that hangs",
  async (t, stage) => {
    const text = `export async function* getJobs() {
  for (let job = 0; ; job++) { await new Promise((go) => setTimeout(go, 2)); yield job; }
}
export function handleJob() {}
export const teardown = () => { console.log("tearing down"); return ${forEver}; };`;
    const run = start(stage, text);
    await run.printed(/Current Job: [1-9]/);
    const { code, ms } = await stopped(run);
    t.equal(code, 143, run.stderr);
    t.match(run.stderr, /tearing down/);
    t.match(run.stderr, /teardown did not end within 2s|teardown did not end within 1\.\d+s/);
    t.ok(ms < graceMs + slackMs, `${ms}`);
  },
);

row("A28: a source that gives nothing is named, and keeps no stop", async (t, stage) => {
  const run = start(
    stage,
    `export async function* getJobs() { await ${forEver}; }\nexport function handleJob() {}`,
  );
  await run.printed(/WARN: getJobs gives nothing since 1\d s/);
  await run.printed(/\| source slow: getJobs gives nothing since 1\d s/);
  const { code, ms } = await stopped(run);
  t.equal(code, 143, run.stderr);
  t.ok(ms < graceMs + slackMs, `${ms}`);
  t.equal(run.stderr.match(/getJobs did not end within 5 s/g)?.length ?? 0, 0, "the grace is shorter");
});

row("A28: a slave of run that does not join is named, and keeps no stop", async (t, stage) => {
  const run = start(stage, `if (process.argv.includes("worker")) await ${forEver};\n${jobs}`);
  await run.printed(/WARN: this machine's slave has not joined since 1\d s/);
  await run.printed(/\| waiting for slaves: this machine's slave has not joined since 1\d s/);
  await run.printed(/WARN: worker \d+ loads the plugin since 1\d s/);
  const { code, ms } = await stopped(run);
  t.equal(code, 143, run.stderr);
  t.ok(ms < graceMs + slackMs, `${ms}`);
});

row("A28: a slave that reaches no master says so", async (t, stage) => {
  const slave = stage.hand(await closedPort());
  await slave.printed(/WARN: There is no connection to the master \(.*\) since 1\d s/);
  t.equal((await stopped(slave)).code, 0, slave.stderr);
});

/** Nothing listens there. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

const canForget = process.platform === "linux" ? {} : { skip: "the signals need Linux" };

row("A28: an onFinish that loops is named, and one SIGTERM ends it within the grace", async (t, stage) => {
  const run = start(stage, `${jobs}\nexport function onFinish() { for (;;); }`);
  await run.printed(/The event loop stands still since 1\d s: the plugin \(getJobs, cursor, onFinish/);
  const { code, ms } = await stopped(run);
  t.equal(code, "SIGTERM", run.stderr);
  t.ok(ms < graceMs + slackMs, `${ms}`);
  t.match(run.stderr, /SIGTERM came, and the plugin did not give control back within the grace/);
  t.match(await stage.state("plugin"), { done: 3 }, "the run is saved");
}, canForget);

for (const name of ["binary", "node", "deno"] as const) {
  row(
    `A28: an iterator that loops in return(), in ${name}: the stop that called it is bounded`,
    async (t, stage) => {
      const path = stage.write(
        "plugin.ts",
        `export const getJobs = () => ({ [Symbol.asyncIterator]: () => ({
  next: () => new Promise(() => {}),
  return() { for (;;); },
}) });
export function handleJob() {}`,
      );
      const words = ["run", path, "--host", "127.0.0.1:0", "--procs", "1", "--grace", `${graceMs}ms`];
      const run = stage.start(runtimes[name], words);
      await run.printed(/joined/);
      const { code, ms } = await stopped(run);
      t.equal(code, name === "binary" ? "SIGTERM" : "SIGKILL", run.stderr);
      t.ok(ms < graceMs + slackMs, `${ms}`);
      t.match(run.stderr, /SIGTERM came, and the plugin did not give control back within the grace/);
    },
  );
}

row("A28: a getJobs that loops: the second SIGINT ends it at once, whatever the grace", async (t, stage) => {
  const run = start(
    stage,
    `export function* getJobs() { console.log("up"); for (;;); }\nexport function handleJob() {}`,
    ["--grace", "10m"],
  );
  // What it prints comes only by the loop, which stands still.
  await run.printed(/Taskmaster server running/);
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  run.signal("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  t.notOk(run.hasEnded, "the first one waits for the grace");
  t.equal((await stopped(run, "SIGINT")).code, "SIGINT");
}, canForget);

row("A28: a getJobs that blocks for seconds takes a signal in as any other", async (t, stage) => {
  const run = start(
    stage,
    `export function* getJobs() {
  yield 1;
  for (const endMs = Date.now() + 6_000; Date.now() < endMs;);
  for (let job = 2; ; job++) yield job;
}
export function handleJob() {}`,
    ["--grace", "1m"],
  );
  await run.printed(/Taskmaster server running/);
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const { code } = await stopped(run);
  t.equal(code, 143, run.stderr);
  t.match(run.stderr, /Stopped and saved/);
}, canForget);

row("A28: a plugin that loops at its top level is named; a signal ends it", async (t, stage) => {
  const run = start(stage, `for (;;);\n${jobs}`);
  await run.printed(/The event loop stands still since 1\d s: the plugin \(its top level\)/);
  const { code, ms } = await stopped(run);
  t.equal(code, "SIGTERM", run.stderr);
  t.ok(ms < slackMs, `${ms}`);
});
