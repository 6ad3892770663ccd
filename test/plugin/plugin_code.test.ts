import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { PluginError } from "../../src/lib/errors.ts";
import { loadPlugin, PluginChangedError } from "../../src/plugin/load_plugin.ts";
import { readPluginCode } from "../../src/plugin/plugin_code.ts";

type Files = Readonly<Record<string, string>>;

function write(folder: string, files: Files): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

/** Files and packages that count for `plugin.ts`, without their hashes. */
function namesIn(folder: string, plugin = "plugin.ts"): string[] {
  return readPluginCode(join(folder, plugin)).lines.map((line) => line.replace(/^[0-9a-f]{64} {2}/, ""))
    .sort();
}

const hex = (path: string): string => Buffer.from(readPluginCode(path).hash).toString("hex");

/** One plugin with most of what counts. */
const rich: Files = {
  "plugin.ts": 'import { a } from "./lib/a.ts"; import table from "./table.json" with { type: "json" };\n' +
    'import query from "./query.sql" with { type: "text" }; import postgres from "postgres/sub"; import "node:fs";\n' +
    'export { b } from "../shared/b.mjs"; const c = require("./c.cjs"); const d = await import("./d.mts");\n',
  "lib/a.ts": 'import "./more.ts"; import "@acme/tools"; import "fs/promises"; export const a = 1;\n',
  "lib/more.ts": 'import "../plugin.ts"; import type { T } from "./types.ts";\n',
  "lib/types.ts": "export type T = 1;\n",
  "../shared/b.mjs": "export const b = 1;\n",
  "c.cjs": 'module.exports = require("./lib/c/");\n',
  "lib/c/index.js": "module.exports = 1;\n",
  "d.mts": "export {};\r\n",
  "table.json": "[]",
  "query.sql": 'SELECT 1; -- import "./no.ts"\n',
  "no.ts": "",
  "node_modules/postgres/package.json": '{ "name": "postgres", "version": "3.4.5" }',
  "../node_modules/@acme/tools/package.json": '{ "name": "@acme/tools", "version": "1.0.0-beta" }',
};

t.test("files reached by relative imports count, and packages by name and version", async (t) => {
  const folder = join(t.testdir({ jobs: {} }), "jobs");
  write(folder, rich);
  t.same(namesIn(folder), [
    "../shared/b.mjs",
    "@acme/tools@1.0.0-beta",
    "c.cjs",
    "d.mts",
    "lib/a.ts",
    "lib/c/index.js",
    "lib/more.ts",
    "plugin.ts",
    "postgres@3.4.5",
    "query.sql",
    "table.json",
  ]);
});

t.test("each of them changes the hash, and nothing else does", async (t) => {
  const folder = join(t.testdir({ jobs: {} }), "jobs");
  write(folder, rich);
  const before = hex(join(folder, "plugin.ts"));
  for (const name of Object.keys(rich)) {
    const file = join(folder, name);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, name.endsWith("package.json") ? text.replace(/"version": "/, "$&9") : `${text} `);
    const counts = name !== "no.ts" && name !== "lib/types.ts";
    t.equal(hex(join(folder, "plugin.ts")) !== before, counts, name);
    writeFileSync(file, text);
  }
  writeFileSync(join(folder, "unrelated.ts"), "");
  t.equal(hex(join(folder, "plugin.ts")), before, "as it was");
});

t.test("it does not depend on where the folder lies, nor on how it is reached", async (t) => {
  const folder = t.testdir({ one: { jobs: {} }, two: { deep: {} } });
  write(join(folder, "one", "jobs"), rich);
  cpSync(join(folder, "one"), join(folder, "two", "deep"), { recursive: true });
  symlinkSync(join(folder, "two", "deep"), join(folder, "current"));
  const paths = ["one/jobs", "two/deep/jobs", "current/jobs"].map((name) => join(folder, name, "plugin.ts"));
  symlinkSync(paths[0]!, join(folder, "plugin.ts"));
  const hashes = [...paths, join(folder, "plugin.ts")].map(hex);
  t.equal(new Set(hashes).size, 1, hashes.join(" "));
});

t.test("the hash is what sha256sum and sort make of the lines", async (t) => {
  const folder = join(t.testdir({ jobs: {} }), "jobs");
  write(folder, rich);
  const files = namesIn(folder).filter((name) => !/@\d/.test(name));
  const command = `(sha256sum ${files.join(" ")}; echo postgres@3.4.5; echo @acme/tools@1.0.0-beta) |` +
    " LC_ALL=C sort | sha256sum";
  const { stdout } = spawnSync("sh", ["-c", command], { cwd: folder, encoding: "utf8", timeout: 10_000 });
  t.equal(stdout.slice(0, 64), hex(join(folder, "plugin.ts")));
});

t.test("where there is no file of just that name, all that a runtime may take count", async (t) => {
  const table: readonly (readonly [string, Files, readonly string[]])[] = [
    ["./a", { "a.ts": "", "a.js": "", "a.txt": "" }, ["a.js", "a.ts"]],
    ["./a.js", { "a.ts": "" }, ["a.ts"]],
    ["./a.js", { "a.ts": "", "a.js": "" }, ["a.js"]],
    ["./a", { "a/index.ts": "", "a/package.json": "{}" }, ["a/index.ts"]],
    ["./a", { "a/main.cjs": "", "a/package.json": '{ "main": "main" }' }, ["a/main.cjs"]],
    ["./a", { "a.ts": "", "a/index.ts": "" }, ["a.ts"]],
    [".", { "index.ts": "" }, ["index.ts"]],
    ["./a%20b.ts?v=1#x", { "a b.ts": "" }, ["a b.ts"]],
    ["./100%.ts", { "100%.ts": "" }, ["100%.ts"]],
    ["./gone.ts", {}, []],
    ["#a", {
      "package.json": '{ "imports": { "#a": { "bun": "./b.ts", "default": "./c.ts" } } }',
      "b.ts": "",
      "c.ts": "",
    }, ["b.ts", "c.ts"]],
    ["#lib/a", { "package.json": '{ "imports": { "#lib/*": "./l/*.ts" } }', "l/a.ts": "" }, ["l/a.ts"]],
    ["me/x", {
      "package.json": '{ "name": "me", "version": "1", "exports": { "./x": "./x.ts" } }',
      "x.ts": "",
    }, ["me@1", "x.ts"]],
    ["@/lib/a", {
      "tsconfig.json": '{ "extends": "./base", "compilerOptions": { /* "paths": */ "strict": true, }, }',
      "base.json":
        '{ "compilerOptions": { "paths": { "@/*": ["./gone/*", "./src/*"], "@/lib/*": ["./l/*"] } } }',
      "src/lib/a.ts": "",
      "l/a.ts": "",
    }, ["l/a.ts"]],
    ["lib/a", { "tsconfig.json": '{ "compilerOptions": { "baseUrl": "./src" } }', "src/lib/a.ts": "" }, [
      "src/lib/a.ts",
    ]],
    ["x", {
      "tsconfig.json": '{ "compilerOptions": { "paths": { "x": ["./x.ts"] } } }',
      "x.ts": "",
      "node_modules/x/package.json": '{ "version": "1" }',
    }, ["x.ts", "x@1"]],
    ["npm:pg@^8/lib", { "node_modules/pg/package.json": '{ "version": "8.1.0" }' }, ["pg@8.1.0"]],
    ["npm:pg@^8/lib", {}, ["npm:pg@^8/lib"]],
    ["x", { "node_modules/x/index.js": 'import "./y.js"', "node_modules/x/y.js": "" }, [
      "npm:x/index.js",
      "npm:x/y.js",
      "x@",
    ]],
    ["x", { "node_modules/x/package.json": '{ "main": "m.js" }', "node_modules/x/m.js": "" }, [
      "npm:x/m.js",
      "x@",
    ]],
    ["x/y.js", { "node_modules/x/y.js": "", "node_modules/x/z.js": "" }, ["npm:x/y.js", "x@"]],
    ["x.js", { "node_modules/x.js": "" }, ["npm:x.js", "x.js@"]],
    ["x", {
      "node_modules/x/package.json":
        '{ "version": "1", "dependencies": { "a": "*", "os": "*", "gone": "*" }, "optionalDependencies": { "os": "*" } }',
      "node_modules/x/node_modules/a/package.json":
        '{ "version": "2", "dependencies": { "x": "*" }, "peerDependencies": { "b": "*" } }',
      "node_modules/a/package.json": '{ "version": "1" }',
      "node_modules/b/package.json": '{ "version": "3" }',
      "node_modules/os/package.json": '{ "version": "4" }',
    }, ["a@2", "b@3", "x@1"]],
    ["jsr:@std/csv", {}, ["jsr:@std/csv"]],
    ["https://esm.sh/x", {}, ["https://esm.sh/x"]],
    ["mapped", {}, ["mapped"]],
    ["bun:sqlite", {}, []],
    ["node:sqlite", {}, []],
    ["fs/promises", {}, []],
  ];
  for (const [at, [specifier, files, expected]] of table.entries()) {
    const folder = join(t.testdirName, String(at));
    write(folder, { "plugin.ts": `import ${JSON.stringify(specifier)};`, ...files });
    t.same(namesIn(folder), [...expected, "plugin.ts"].sort(), specifier);
  }
  t.testdir({});
});

t.test("a package that is linked from outside of node_modules is followed by its files", async (t) => {
  const folder = t.testdir({ app: { node_modules: {} }, tools: {} });
  write(folder, {
    "app/plugin.ts": 'import "tools"; import "tools/deep/x";',
    "tools/package.json":
      '{ "name": "tools", "version": "0.0.0", "exports": { ".": { "types": "./a.d.ts", "import": "./a.ts" }, "./deep/*": "./src/*.ts" } }',
    "tools/a.ts": 'import "./b.ts";',
    "tools/a.d.ts": "",
    "tools/b.ts": "",
    "tools/src/x.ts": "",
  });
  symlinkSync(join(folder, "tools"), join(folder, "app", "node_modules", "tools"));
  t.same(namesIn(join(folder, "app")), [
    "npm:tools/a.ts",
    "npm:tools/b.ts",
    "npm:tools/src/x.ts",
    "plugin.ts",
    "tools@0.0.0",
  ]);
});

t.test("links that lead in circles end", async (t) => {
  const folder = t.testdir({
    "plugin.ts": 'import "./self/plugin.ts"; import "./b.ts"',
    "b.ts": 'import "./plugin.ts"',
  });
  symlinkSync(folder, join(folder, "self"));
  t.same(namesIn(folder), ["b.ts", "plugin.ts", "self/plugin.ts"]);
});

t.test("too much code is refused with a sentence", async (t) => {
  const folder = t.testdir({ "plugin.ts": 'import "./data.json" with { type: "json" }', "data.json": "" });
  truncateSync(join(folder, "data.json"), 257 * 1024 * 1024);
  t.throws(() => readPluginCode(join(folder, "plugin.ts")), PluginError);
  t.throws(() => readPluginCode(join(folder, "plugin.ts")), /more than 256 MiB.*Read data when it is needed/);
  const many = Array.from({ length: 10_000 }, (_, index) => [`${index}.ts`, ""] as const);
  const wide = join(folder, "wide");
  write(wide, {
    "plugin.ts": many.map(([name]) => `import "./${name}";`).join(""),
    ...Object.fromEntries(many),
  });
  t.throws(() => readPluginCode(join(wide, "plugin.ts")), /more than 10000 files/);
});

t.test("code that is edited while it is loaded, or is not what it must be, is no plugin", async (t) => {
  const text = (next: string) =>
    `import { writeFileSync } from "node:fs"; ${next} export const handleJob = () => {}; import "./b.mjs";`;
  const folder = t.testdir({
    "a.mjs": text('writeFileSync(new URL("./b.mjs", import.meta.url), "1;");'),
    "b.mjs": "",
    "c.mjs": "globalThis.ran = true; export const handleJob = () => {};",
  });
  await t.rejects(loadPlugin(join(folder, "a.mjs"), undefined, "slave"), PluginChangedError);
  const c = join(folder, "c.mjs");
  const refused = loadPlugin(c, undefined, "slave", new Uint8Array(32));
  await t.rejects(
    refused,
    /was edited after this slave had started with it: it was 00000000, and is [0-9a-f]{8} now/,
  );
  t.notOk("ran" in globalThis, "nothing of it ran");
  await loadPlugin(c, undefined, "slave", readPluginCode(c).hash);
  t.ok("ran" in globalThis);
  const code = readPluginCode(c);
  t.ok(code.isUnchanged());
  renameSync(c, `${c}.old`);
  t.notOk(code.isUnchanged());
});
