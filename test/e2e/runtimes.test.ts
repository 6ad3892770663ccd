import t from "tap";
import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Program } from "../kit/program.ts";
import { root, runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";

type Runtime = keyof typeof runtimes;
const pairs: readonly (readonly [Runtime, Runtime])[] = [
  ["binary", "deno"],
  ["deno", "bun"],
  ["bun", "binary"],
  ["deno", "deno"],
  ["node", "binary"],
  ["bun", "node"],
];

for (const [masterRuntime, slaveRuntime] of pairs) {
  t.test(`a master under ${masterRuntime}, a slave under ${slaveRuntime}`, async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const master = scenario.master(["jobs=500", "--log-level", "debug"], runtimes[masterRuntime]);
    const slave = scenario.slave(
      await portOf(master),
      ["--procs", "2", "--log-level", "debug"],
      runtimes[slaveRuntime],
    );
    t.equal(await master.ended, 0, master.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.same(scenario.records().lost(500), []);
    t.equal(scenario.records().repeated, 0);
    t.same(scenario.workerRuntimes(), [slaveRuntime], "the runtime that answered");
  });
}

t.test("the program starts through a symbolic link", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const link = join(scenario.folder, "tm.ts");
  symlinkSync(join(root, "mod.ts"), link);
  // Deno says that the modules which it looks for beside the link are not there.
  for (const runtime of ["bun", "node"] as const) {
    const program = scenario.start([...runtimes[runtime].slice(0, -1), link], ["version"]);
    t.equal(await program.ended, 0, runtime);
    t.match(program.stdout, /^taskmaster \d/, runtime);
  }
});

/** A run of a plugin that says what its worker is allowed, under Deno with these flags. */
function underDeno(scenario: Scenario, flags: readonly string[], text = ""): Program {
  const [deno] = runtimes.deno;
  const plugin = join(scenario.folder, "p.ts");
  writeFileSync(
    plugin,
    `${text}; export const getJobs = () => [1];
     export const handleJob = () => console.log(["run", "read", "ffi"].map((name) =>
       name + "=" + Deno.permissions.querySync({ name }).state).join(" "));`,
  );
  const words = ["run", plugin, "--host", "127.0.0.1:0", "--procs", "1"];
  return scenario.start([deno!, "run", ...flags, join(root, "mod.ts")], words);
}

const allowed = ["env", "net", "read", "run", "sys", "write"].map((name) => `--allow-${name}`);

t.test("workers under Deno are allowed what their master is, and no more", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const run = underDeno(scenario, allowed);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.stderr, "run=granted read=granted ffi=prompt");
});

t.test("an import map and V8's flags reach the workers of Deno", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  writeFileSync(join(scenario.folder, "map.json"), '{ "imports": { "mapped": "./mapped.ts" } }');
  writeFileSync(join(scenario.folder, "mapped.ts"), "export {};");
  const map = ["--import-map", join(scenario.folder, "map.json")];
  const text = 'import "mapped"; import "./mapped"; if (typeof gc !== "function") throw new Error("no flag")';
  const flags = ["-A", ...map, "--unstable-sloppy-imports", "--v8-flags=--expose-gc"];
  const run = underDeno(scenario, flags, text);
  t.equal(await run.ended, 0, run.stderr);
});

t.test("without --allow-run, a run and a slave under Deno give up with a sentence", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const flags = allowed.filter((flag) => flag !== "--allow-run");
  const run = underDeno(scenario, flags);
  t.equal(await run.ended, 5);
  t.match(run.stderr, /^taskmaster: Cannot start worker processes: .*--allow-run/);
  t.notOk(existsSync(join(scenario.folder, "p.state")), "before it touched anything");
  const [deno] = runtimes.deno;
  const slave = scenario.slave(1, [], [deno!, "run", ...flags, join(root, "mod.ts")]);
  t.equal(await slave.ended, 5, slave.stderr);
  t.match(slave.stderr, /--allow-run/);
  const blind = underDeno(scenario, ["--allow-run"]);
  t.equal(await blind.ended, 2);
  t.match(blind.stderr, /^taskmaster: Deno does not allow what this program needs: .*-A\.$/m);
});

t.test("what resumes a run is what was typed", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const plugin = join(scenario.folder, "long.ts");
  writeFileSync(
    plugin,
    "export async function* getJobs() { yield 1; await new Promise(() => {}); } export const handleJob = () => {};",
  );
  const [bun, entry] = runtimes.bun, [deno] = runtimes.deno, [node] = runtimes.node;
  const starts = [[bun!, "--smol", entry!], [deno!, "run", "--quiet", ...allowed, entry!], [
    node!,
    "--no-warnings",
    entry!,
  ]];
  for (const words of starts) {
    const run = scenario.start(words, ["run", plugin, "--host", "127.0.0.1:0", "--procs", "1"]);
    await run.printed(/joined/);
    run.signal("SIGINT");
    t.equal(await run.ended, 130, run.stderr);
    t.match(run.stderr, `Resume with: ${words.join(" ")} run ${plugin}`);
  }
});

t.test("the sample plugin runs under Node", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const [node] = runtimes.node;
  const blog = `new (require("node:sqlite").DatabaseSync)("blog.sqlite").exec(\`
    CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INTEGER, title TEXT, body TEXT);
    CREATE TABLE post_tags (post_id INTEGER, tag TEXT);
    INSERT INTO authors VALUES (1, 'Ada'), (7, 'Eve');
    INSERT INTO posts VALUES (2, 7, 'One', 'hello world');\`)`;
  t.equal(await scenario.start([node!, "-e", blog], []).ended, 0);
  const words = ["--state-dir", scenario.folder, "--host", "127.0.0.1:0", "--attempts", "1", "--procs", "1"];
  const posts = join(root, "plugins", "posts.ts");
  const run = scenario.start(runtimes.node, ["run", posts, "file=blog.sqlite", ...words]);
  t.equal(await run.ended, 0, run.stderr);
  const rows =
    'console.log(new (require("node:sqlite").DatabaseSync)("blog.sqlite").prepare("SELECT * FROM cards").all())';
  const shown = scenario.start([node!, "-e", rows], []);
  t.equal(await shown.ended, 0);
  t.match(shown.stdout, /post_id: 2,\s*title: 'One',\s*author: 'Eve',\s*words: 2,\s*excerpt: 'hello world'/);
});

t.test("one master, slaves of all runtimes", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const master = scenario.master(["jobs=5000", "pause=2"]);
  const port = await portOf(master);
  // Those that start quickest come last, or nothing would be left for the others.
  for (const runtime of ["deno", "node", "bun", "binary"] as const) {
    await scenario.slave(port, ["--procs", "1"], runtimes[runtime]).printed(/Joined "probe"/);
  }
  t.equal(await master.ended, 0, master.stderr);
  t.same(scenario.records().lost(5000), []);
  t.equal(scenario.records().repeated, 0);
  t.same(scenario.workerRuntimes(), ["binary", "bun", "deno", "node"]);
});
