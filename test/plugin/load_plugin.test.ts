import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";
import { PluginError } from "../../src/lib/errors.ts";
import { loadPlugin, splitPluginWord } from "../../src/plugin/load_plugin.ts";
import { pickPlugin, type Side } from "../../src/plugin/shape.ts";

const getJobs = () => [1];
const handleJob = () => {};
const iterPosts = () => [2];

t.test("splitPluginWord() takes what is behind the last colon as an export, if it can be one", (t) => {
  const table: readonly [string, string, string | undefined][] = [
    ["plugins/posts.ts", "plugins/posts.ts", undefined],
    ["plugins/posts.ts:iterPosts", "plugins/posts.ts", "iterPosts"],
    ["posts.ts:$_é", "posts.ts", "$_é"],
    ["C:\\x.ts", "C:\\x.ts", undefined],
    ["C:x", "C:x", undefined],
    ["C:\\x.ts:migrate", "C:\\x.ts", "migrate"],
    ["file:///x.ts", "file:///x.ts", undefined],
    ["file:///x.ts:migrate", "file:///x.ts", "migrate"],
    ["a:b/c.ts", "a:b/c.ts", undefined],
    ["posts.ts:", "posts.ts:", undefined],
    ["posts.ts:1x", "posts.ts:1x", undefined],
    ["", "", undefined],
  ];
  for (const [word, path, exportName] of table) t.same(splitPluginWord(word), { path, exportName }, word);
  t.end();
});

t.test("loadPlugin() takes a relative path, an absolute one, and a file URL", async (t) => {
  const text = "export const getJobs = () => [1];\nexport const options = { concurrency: 4 };\n";
  const file = join(t.testdir({ "posts.mjs": text }), "posts.mjs");
  for (const path of [file, relative(process.cwd(), file), pathToFileURL(file).href]) {
    const loaded = await loadPlugin(path, undefined, "master");
    t.match(loaded, {
      name: "posts.mjs",
      path: file,
      exportName: "default",
      options: { concurrency: 4 },
      hints: [],
    });
    const line = `${createHash("sha256").update(text).digest("hex")}  posts.mjs`;
    t.same(loaded.code, [line]);
    t.same(Buffer.from(loaded.hash), createHash("sha256").update(`${line}\n`).digest());
    t.same(loaded.plugin.getJobs!(undefined, undefined as never), [1]);
  }
});

t.test("loadPlugin() says why there is no plugin", async (t) => {
  const folder = t.testdir({
    "syntax.mjs": "export const a = ;",
    "package.mjs": 'import "no-such-package"; export const getJobs = 1;',
    "relative.mjs": 'import "./gone.mjs";',
    "throws.mjs": 'throw new Error("no database")',
    "named.mjs": 'export * from "node:os"; import { gone } from "node:fs"; gone();',
  });
  const table: readonly [string, RegExp][] = [
    [join(folder, "gone.ts"), /^Cannot load the plugin ".*": there is no file \/.*gone\.ts\. Paths are/],
    [join(folder, "throws"), /there is no file \/.*throws\. Is throws\.mjs meant\? Paths are/],
    [join(folder, "throws.ts"), /Is throws\.mjs meant\?/],
    [join(folder, "throws.mjs", "x.ts"), /there is no file/],
    [folder, /is a folder. Name the file in it\.$/],
    ["file:gone%2fx.ts", /not a file URL. Give a path\.$/],
    [join(folder, "syntax.mjs"), /^Cannot load the plugin \/.*syntax\.mjs: SyntaxError: Unexpected token/],
    [
      join(folder, "package.mjs"),
      /Cannot find package 'no-such-package'.*must be installed beside it \(`npm/,
    ],
    [
      join(folder, "relative.mjs"),
      /Cannot find module .*gone\.mjs.*relative imports must be copied with it; `paths` of .*alone\.$/,
    ],
    [
      join(folder, "throws.mjs"),
      /^Cannot load the plugin \/.*throws\.mjs: no database at \/.*throws\.mjs:1:7\.$/,
    ],
    [join(folder, "named.mjs"), /SyntaxError: .*gone/],
  ];
  for (const [path, words] of table) {
    const error: unknown = await loadPlugin(path, undefined, "master").catch((error) => error);
    t.ok(error instanceof PluginError, path);
    t.equal((error as PluginError).exitCode, 4);
    t.match((error as Error).message, words);
  }
});

t.test("a file that is not readable is told so", { skip: process.getuid?.() === 0 }, async (t) => {
  const file = join(t.testdir(), "posts.mjs");
  writeFileSync(file, "", { mode: 0 });
  await t.rejects(loadPlugin(file, undefined, "master"), { message: /is not readable by this user/ });
});

t.test("exports that look misspelt are hinted at", async (t) => {
  const text =
    "export const getJobs = () => [], onfinish = 1, cursors = 2, options = {}, option = 3, other = 4;";
  const file = join(t.testdir({ "posts.mjs": text }), "posts.mjs");
  const { hints } = await loadPlugin(file, undefined, "master");
  t.same(hints.map((hint) => hint.split("`")[3]), ["cursor", "onFinish"]);
});

const pick = (exports: object, side: Side, name?: string) =>
  pickPlugin(exports as never, name, side, "/p.ts");

t.test("pickPlugin() takes named exports, a default export, and named over default", (t) => {
  t.same(pick({ getJobs, handleJob, other: 1 }, "both"), { getJobs, handleJob });
  t.same(
    pick({ default: { handleJob: () => "default" }, getJobs }, "both").handleJob!(0, null as never),
    "default",
  );
  const both = pick(
    { default: { getJobs: () => [9], options: { procs: 1 } }, getJobs, options: undefined },
    "master",
  );
  t.same(both, { getJobs, options: { procs: 1 } });
  t.end();
});

t.test("pickPlugin() binds the methods of a default export to it, also those of a class instance", (t) => {
  class Posts {
    first = 5;
    getJobs() {
      return [this.first];
    }
  }
  t.same(pick({ default: new Posts() }, "master").getJobs!(undefined, null as never), [5]);
  t.end();
});

t.test("a named function stands in for getJobs or handleJob beside the other exports", (t) => {
  const cursor = () => 1;
  t.same(pick({ getJobs, cursor, iterPosts }, "master", "iterPosts"), { getJobs: iterPosts, cursor });
  t.same(pick({ getJobs, iterPosts }, "slave", "iterPosts"), { getJobs, handleJob: iterPosts });
  t.same(pick({ default: iterPosts }, "master", "default"), { getJobs: iterPosts });
  t.throws(() => pick({ getJobs, iterPosts }, "both", "iterPosts"), { message: /`run` needs an object/ });
  t.end();
});

t.test("a named object stands for itself, alone", (t) => {
  const cursor = () => 1;
  const named = pick({ posts: { getJobs: iterPosts, handleJob }, getJobs, cursor }, "both", "posts");
  t.same(named.getJobs!(undefined, null as never), [2]);
  t.equal(named.cursor, undefined);
  t.end();
});

t.test("pickPlugin() says what was found instead", (t) => {
  const found = "Found: ";
  const table: readonly [object, Side, string | undefined, string][] = [
    [{}, "master", undefined, "it lacks `getJobs`. It exports nothing. Export `getJobs(last)`, "],
    [
      { getJobs: "x" },
      "master",
      undefined,
      "`getJobs` is a string, not a function. Found: getJobs (a string).",
    ],
    [{ handleJob: [] }, "slave", undefined, "`handleJob` is an array, not a function. "],
    [{ getJobs: class Rows {} }, "master", undefined, "`getJobs` is a class, not a function. "],
    [{ getJobs, cursor: 5 }, "master", undefined, "`cursor` is a number, not a function. "],
    [{ getJobs, setup: null }, "master", undefined, "`setup` is null, not a function. "],
    [
      { getJob: getJobs },
      "master",
      undefined,
      `it lacks \`getJobs\`. ${found}getJob (a function). Is \`getJob\` (`,
    ],
    [{ getJobs, handlejob: handleJob }, "both", undefined, "Is `handlejob` (for `handleJob`) meant?"],
    [
      { posts: { getJobs, handleJob } },
      "both",
      undefined,
      "Is the plugin `posts` meant? Write `p.ts:posts`.",
    ],
    [{ posts: {} }, "both", undefined, "it lacks `getJobs` and `handleJob`. Found: posts (an object)."],
    [
      { posts: {} },
      "both",
      undefined,
      "which returns or yields the jobs, and `handleJob(job)`, which does one.",
    ],
    [{ default: getJobs }, "master", undefined, "it lacks `getJobs`. Found: default (a function)."],
    [
      { getJobs, iterPosts },
      "master",
      "iterPost",
      "it has no export `iterPost`. Found: getJobs (a function), ",
    ],
    [{ getJobs, iterPosts }, "master", "iterPost", "Is `iterPosts` meant?"],
    [{ getJobs, size: 5 }, "master", "size", "`size` is a number. Found: "],
    [{ getJobs, options: [] }, "master", undefined, "`options` is an array, not an object. "],
    [
      { getJobs, options: { procs: () => 1 } },
      "master",
      undefined,
      '`options["procs"]` is a function, not a string, n',
    ],
  ];
  for (const [exports, side, name, words] of table) {
    const error = (() => {
      try {
        return pick(exports, side, name);
      } catch (error) {
        return error;
      }
    })();
    t.ok(error instanceof PluginError);
    const { message } = error as Error;
    t.ok(message.startsWith("Cannot use the plugin /p.ts: "), message);
    t.ok(message.includes(words), message);
  }
  t.end();
});

t.test("loadPlugin() tells a whole plugin from a function that was named", async (t) => {
  const text = "export const whole = { getJobs: () => [1] };\nexport const getJobs = () => [2];\n";
  const file = join(t.testdir({ "two.mjs": text }), "two.mjs");
  for (const [exportName, isWhole] of [["whole", true], ["getJobs", false], [undefined, false]] as const) {
    t.equal((await loadPlugin(file, exportName, "master")).isWhole, isWhole);
  }
});
