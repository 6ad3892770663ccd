import t, { type Test } from "tap";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Program } from "../kit/program.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { heartbeat, row, type Stage } from "./stage.ts";

// The right code runs: a slave's plugin is its master's, in all that it imports, or the slave does nothing.

t.jobs = 3;

/** A plugin of two files, whose jobs leave a mark; `how` is what the imported file does. */
function writeHelped(stage: Stage, folder: string, how: string): string {
  write(stage, `${folder}/helper.ts`, `export const work = (${how});`);
  return write(
    stage,
    `${folder}/helped.ts`,
    `import { work } from "./helper.ts"; export const getJobs = (last, { args }) => [...Array(Number(args.jobs ?? 3)).keys()];
     export const handleJob = (id, ctx) => work(id, ctx); export const other = handleJob;`,
  );
}

function write(stage: Stage, name: string, text: string): string {
  const path = join(stage.folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

const mark = (name: string) =>
  `(id) => process.getBuiltinModule("node:fs").appendFileSync("${name}", id + " ")`;

async function refused(t: Test, slave: Program, ...words: readonly RegExp[]): Promise<void> {
  t.equal(await slave.ended, 5, slave.stderr);
  for (const word of words) t.match(slave.stderr, word);
}

row("C22: a slave whose plugin imports another file than the master's is refused", async (t, stage) => {
  const good = writeHelped(stage, "new", mark("done"));
  const bad = writeHelped(stage, "old", mark("wrong"));
  const master = stage.masterOf(good);
  const port = await portOf(master);
  const slave = stage.hand(port, [], bad);
  await refused(t, slave, /helped\.ts/, /--any-plugin/);
  const [mine, theirs] = [...slave.stderr.matchAll(/\(([0-9a-f]{8})\)/g)].map(([, hash]) => hash!);
  await master.printed(/Slave '.*' is refused/);
  for (const hash of [mine!, theirs!]) t.match(master.stderr, hash, "both sides name both");
  t.not(mine, theirs);
  t.notOk(stage.has("wrong"), "it ran nothing");
  stage.hand(port, [], good);
  t.equal(await master.ended, 0, master.stderr);
  t.ok(stage.has("done"));
});

row(
  "C22: a plugin of another name is refused, unless its export is named or --any-plugin",
  async (t, stage) => {
    const plugin = writeHelped(stage, "new", mark("done"));
    const other = join(stage.folder, "new", "other.ts");
    cpSync(plugin, other);
    const master = stage.masterOf(plugin);
    const port = await portOf(master);
    await refused(t, stage.hand(port, [], other), /helped\.ts/, /other\.ts/, /other\.ts:handleJob/);
    t.notOk(stage.has("done"));
    stage.hand(port, [], `${other}:other`);
    t.equal(await master.ended, 0, master.stderr);

    const wrong = writeHelped(stage, "old", mark("any"));
    for (const way of [["--any-plugin"], []]) {
      const again = stage.masterOf(plugin, ["--reset"]);
      stage.env.TASKMASTER_ANY_PLUGIN = way.length === 0 ? "true" : "";
      stage.hand(await portOf(again), way, wrong);
      t.equal(await again.ended, 0, again.stderr);
      t.match(again.stderr, /started with --any-plugin/, "the master says so");
    }
    t.ok(stage.has("any"));
  },
);

/** Job 1 waits for a gate; job 0, once that has begun or the gate is open, edits the imported file, if it is to, and ends its worker. */
const editing = (edit: string) =>
  `async (id, ctx) => {
  const { existsSync, writeFileSync, appendFileSync } = require("node:fs");
  const until = async (...files) => { while (!files.some(existsSync)) await new Promise((go) => setTimeout(go, 10)); };
  if (id === 1) { writeFileSync("open.begun", ""); await until("open.rest"); }
  if (id === 0) await until("open.begun", "open.rest");
  if (id === 0 && !existsSync("edited")) { writeFileSync("edited", ""); ${edit} process.exit(1); }
  appendFileSync("done", id + " ");
}`;

row("C22: a plugin edited meanwhile ends its slave with 5, once what runs has ended", async (t, stage) => {
  const edit = (text: string) => `writeFileSync("jobs/helper.ts", ${JSON.stringify(text)});`;
  const broken = "this is no code";
  const plugin = writeHelped(stage, "jobs", editing(edit(broken)));
  const master = stage.masterOf(plugin, ["jobs=2", ...heartbeat]);
  const port = await portOf(master);
  const slave = stage.hand(port, ["--procs", "2"], plugin);
  await slave.printed(/The plugin was edited/);
  stage.open("rest");
  await refused(
    t,
    slave,
    /was edited after this slave had started with it: it was [0-9a-f]{8}, and is [0-9a-f]{8}/,
  );
  t.equal(stage.read("done").toString(), "1 ", "the other worker's job has ended");
  await until(() => master.events("left").length === 1, "left");
  writeHelped(stage, "jobs", editing(edit(broken)));
  stage.hand(port, [], plugin);
  t.equal(await master.ended, 0, master.stderr);
  t.match(master.ending(), { handedOut: 2, done: 2, dead: 0 });
});

row(
  "C22: a run whose plugin is edited meanwhile ends with 5, saved, and resumes with the new code",
  async (t, stage) => {
    const plugin = writeHelped(stage, "jobs", editing('writeFileSync("jobs/helper.ts", NEW);'));
    const text = `export const work = (${mark("done")});`;
    writeHelped(stage, "jobs", editing(`writeFileSync("jobs/helper.ts", ${JSON.stringify(text)});`));
    stage.open("rest");
    const words = [
      "run",
      plugin,
      "jobs=50",
      "--state-dir",
      stage.folder,
      "--host",
      "127.0.0.1:0",
      "--procs",
      "1",
      "--json",
    ];
    const first = stage.start(runtimes.binary, words);
    t.equal(await first.ended, 5, first.stderr);
    t.match(first.stderr, /was edited after this slave had started with it/);
    const second = stage.start(runtimes.binary, words);
    t.equal(await second.ended, 0, second.stderr);
    t.match(second.stderr, /has changed since the state was saved; resuming with the new one/);
    t.match(second.ending(), { handedOut: 50, done: 50, dead: 0, stranded: 0 });
  },
);

row(
  "C22: a run whose plugin is edited before its slave has loaded it ends with 5, saved",
  async (t, stage) => {
    writeHelped(stage, "jobs", mark("wrong"));
    const plugin = write(
      stage,
      "jobs/editing.ts",
      `import { writeFileSync } from "node:fs"; import { work } from "./helper.ts";
     export const getJobs = () => { writeFileSync("jobs/helper.ts", "export const work = () => {};"); return [1]; };
     export const handleJob = work;`,
    );
    const words = ["run", plugin, "--state-dir", stage.folder, "--host", "127.0.0.1:0", "--procs", "1"];
    // Before the master is loaded, its slave cannot be started.
    const run = stage.start(runtimes.binary, words);
    t.equal(await run.ended, 5, run.stderr);
    t.match(run.stderr, /is other code \([0-9a-f]{8}\) than this slave's|was edited/);
    t.match(run.stderr, /Stopped and saved/);
    t.notOk(stage.has("wrong"));
  },
);

row("C22: a master started again with changed code refuses the slaves that live on", async (t, stage) => {
  const plugin = writeHelped(stage, "jobs", mark("done"));
  const waiting = write(
    stage,
    "jobs/waiting.ts",
    `import "./helper.ts"; export async function* getJobs() { yield 0; await new Promise(() => {}); } export const handleJob = () => {};`,
  );
  const first = stage.masterOf(waiting, heartbeat);
  const port = await portOf(first);
  const slave = stage.hand(port, [], waiting);
  await until(() => first.events("joined").length === 1, "joined");
  first.signal("SIGKILL");
  await first.ended;
  writeHelped(stage, "jobs", mark("other"));
  const second = stage.masterOf(waiting, heartbeat, port);
  await portOf(second);
  await refused(t, slave, /is other code \([0-9a-f]{8}\) than this slave's \([0-9a-f]{8}\)/);
  t.match(second.stderr, /has changed since the state was saved; resuming with the new one/);
  second.signal("SIGKILL");
  t.ok(plugin);
});

row("C22: all runtimes come to the same hash, wherever the folder lies", async (t, stage) => {
  writeHelped(stage, "a", "(id) => {}");
  write(
    stage,
    "a/helper.ts",
    'import "./more.mjs"; import "./data.json" with { type: "json" }; export * from "@acme/x";',
  );
  write(
    stage,
    "a/more.mjs",
    'export const lazy = () => import("./lib/lazy.cjs");\r\n// import "./gone.ts"\r\n',
  );
  write(stage, "a/lib/lazy.cjs", "module.exports = `${1}`");
  write(stage, "a/data.json", "[]");
  write(
    stage,
    "a/node_modules/@acme/x/package.json",
    '{ "name": "@acme/x", "version": "1.2.3", "exports": "./x.js", "type": "module" }',
  );
  write(stage, "a/node_modules/@acme/x/x.js", "export const work = () => {};");
  cpSync(join(stage.folder, "a"), join(stage.folder, "b", "c"), { recursive: true });
  const hashes = new Map<string, string>();
  for (const [runtime, command] of Object.entries(runtimes)) {
    for (const folder of ["a", "b/c"]) {
      const words = ["--host", "127.0.0.1:0", "--log-level", "debug", "--key", `${runtime}${folder.length}`];
      const master = stage.start(command, ["master", join(stage.folder, folder, "helped.ts"), ...words]);
      const [, hash, files] = await master.printed(/The code of helped\.ts is ([0-9a-f]{8}): (.*)/);
      hashes.set(`${runtime} ${folder}`, hash!);
      for (const name of ["helper.ts", "more.mjs", "data.json", "lib/lazy.cjs", "@acme/x@1.2.3"]) {
        t.match(files, name);
      }
      t.notMatch(files, "gone");
      master.signal("SIGKILL");
    }
  }
  t.equal(new Set(hashes.values()).size, 1, JSON.stringify([...hashes]));
});

row("C22: what Deno's import map leads to counts", async (t, stage) => {
  const map = (folder: string) => join(stage.folder, folder, "map.json");
  const [deno, run, ...rest] = runtimes.deno;
  const mapped = (folder: string) => [deno!, run!, `--import-map=${map(folder)}`, ...rest];
  for (const [folder, how] of [["new", mark("done")], ["old", mark("wrong")]] as const) {
    write(stage, `${folder}/lib/helper.ts`, `export const work = ${how};`);
    write(
      stage,
      `${folder}/mapped.ts`,
      'import { work } from "@/helper.ts"; export const getJobs = () => [1, 2, 3]; export const handleJob = (id) => work(id);',
    );
    write(stage, `${folder}/map.json`, '{ "imports": { "@/": "./lib/" } }');
  }
  cpSync(join(stage.folder, "new"), join(stage.folder, "far", "away"), { recursive: true });
  const plugin = (folder: string) => join(stage.folder, folder, "mapped.ts");
  const master = stage.masterOf(plugin("new"), [], 0, mapped("new"));
  const port = await portOf(master);
  await refused(t, stage.hand(port, [], plugin("old"), mapped("old")), /mapped\.ts/, /--any-plugin/);
  t.notOk(stage.has("wrong"));
  stage.hand(port, [], plugin("far/away"), mapped("far/away"));
  t.equal(await master.ended, 0, master.stderr);
  t.ok(stage.has("done"));
});
