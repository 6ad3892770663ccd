import t from "tap";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { runtimes } from "../kit/runtimes.ts";
import { row, type Stage } from "./stage.ts";

// What a plugin may use that not every runtime has: it works, or a sentence says why not (docs/troubleshooting.md).

t.jobs = 3;

const functions = "export const getJobs = () => [1]; export const handleJob = (job) => work(job);";

function run(stage: Stage, plugin: string, runtime: keyof typeof runtimes = "binary") {
  const words = [
    "run",
    plugin,
    "--state-dir",
    stage.folder,
    "--host",
    "127.0.0.1:0",
    "--procs",
    "1",
    "--json",
  ];
  return stage.start(runtimes[runtime], [...words, "--key", runtime]);
}

row(
  "paths of tsconfig.json work under Bun and in the binary, wherever it is started, and are named elsewhere",
  async (t, stage) => {
    const folder = join(stage.folder, "plugin");
    mkdirSync(join(folder, "lib"), { recursive: true });
    stage.write("plugin/tsconfig.json", '{ "compilerOptions": { "paths": { "@/*": ["./lib/*"] }, }, }');
    stage.write(
      "plugin/lib/work.ts",
      "export const work = (job: number) => { if (job !== 1) throw new Error(); };",
    );
    const plugin = stage.write(
      "plugin/p.ts",
      `import { work } from "@/work.ts"; ${functions.replace("(job)", "(job: number)")}`,
    );
    for (const runtime of ["binary", "bun"] as const) {
      const program = run(stage, plugin, runtime);
      t.equal(await program.ended, 0, program.stderr);
      t.match(program.ending(), { done: 1 });
    }
    const node = run(stage, plugin, "node");
    t.equal(await node.ended, 4);
    t.match(node.stderr, /`paths` of a tsconfig\.json are read by Bun and the compiled binary alone/);
  },
);

row("legacy decorators are refused where they would mean something else", async (t, stage) => {
  stage.write("tsconfig.json", '{ "compilerOptions": { "experimentalDecorators": true } }');
  const plugin = stage.write(
    "p.ts",
    `let how = ""; const mark = (_: unknown, key: unknown) => void (how = typeof key); class A { @mark b() {} }
     function work(_: number) { void A; if (how !== "string") throw new Error(how); } ${
      functions.replace("(job)", "(job: number)")
    }`,
  );
  const program = run(stage, plugin);
  t.equal(await program.ended, 4);
  t.match(program.stderr, /p\.ts has decorators, and .*tsconfig\.json asks for the legacy ones/);
  const bun = run(stage, plugin, "bun");
  t.equal(await bun.ended, 0, bun.stderr);
});

row("a path that Bun cannot import from is named", async (t, stage) => {
  for (const name of ["a?b", "c\\d"]) {
    mkdirSync(join(stage.folder, name));
    const plugin = stage.write(`${name}/p.ts`, `const work = () => {}; ${functions}`);
    const program = run(stage, plugin);
    t.equal(await program.ended, 4);
    t.match(program.stderr, `there is a "${name[1]}" in its path`);
  }
});

row(
  "a child of fork() is told that it is no JavaScript runtime, and how it becomes one",
  async (t, stage) => {
    stage.write("child.mjs", 'process.send("hello"); process.disconnect();');
    const plugin = stage.write(
      "p.mjs",
      `import { fork } from "node:child_process";
     const start = (env) => new Promise((done) => {
       const child = fork(new URL("child.mjs", import.meta.url).pathname, [], { env: { ...process.env, ...env } });
       let said; child.on("message", (message) => said = message); child.on("exit", (code) => done(said ?? code));
     });
     async function work() {
       const [plain, told] = [await start({}), await start({ BUN_BE_BUN: "1" })];
       if (plain !== 2 || told !== "hello") throw new Error(plain + " " + told);
     } ${functions}`,
    );
    const program = run(stage, plugin);
    t.equal(await program.ended, 0, program.stderr);
    t.match(program.stderr, /Was this started by fork\(\) in a plugin\?.*BUN_BE_BUN=1/);
  },
);

row(
  "a plugin that is a symbolic link imports what lies beside the file, in each runtime",
  async (t, stage) => {
    for (const folder of ["releases", "current"]) mkdirSync(join(stage.folder, folder));
    stage.write("releases/work.mjs", "export const work = () => {};");
    stage.write("current/work.mjs", 'export const work = () => { throw new Error("beside the link"); };');
    const file = stage.write("releases/p.mjs", `import { work } from "./work.mjs"; ${functions}`);
    const plugin = join(stage.folder, "current", "p.mjs");
    symlinkSync(file, plugin);
    for (const runtime of Object.keys(runtimes) as (keyof typeof runtimes)[]) {
      const program = run(stage, plugin, runtime);
      t.equal(await program.ended, 0, `${runtime}: ${program.stderr}`);
      t.match(program.ending(), { done: 1 }, runtime);
    }
  },
);
