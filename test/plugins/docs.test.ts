import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { promisify } from "node:util";
import t from "tap";
import { driven } from "./driven.ts";

/** The code blocks of the page, by the file name in their first line. */
function blocksOf(page: string): Record<string, string> {
  const blocks = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);
  return Object.fromEntries(
    blocks.map((code) => [/^\/\/ plugins\/(\w+\.ts)\b/.exec(code)?.[1] ?? "unnamed", code]),
  );
}

/** As much of the package as the page uses. */
const postgresTypes = `
  declare namespace postgres {
    type Query<T> = Promise<T> & { cursor(rows: number): AsyncIterable<T> };
    interface Sql { <T = unknown[]>(text: TemplateStringsArray, ...values: unknown[]): Query<T>; end(o?: { timeout: number }): Promise<void> }
  }
  declare function postgres(url: string, options: { max: number }): postgres.Sql;
  export default postgres;`;

const page = readFileSync("docs/plugins.md", "utf8");
const blocks = blocksOf(page);
const folder = t.testdir({
  "package.json": '{ "type": "module" }',
  plugins: blocks,
  node_modules: {
    postgres: {
      "package.json": '{ "name": "postgres", "type": "module", "types": "./index.d.ts" }',
      "index.d.ts": postgresTypes,
    },
  },
});

t.test("each block of docs/plugins.md is named and passes the type check", async (t) => {
  t.same(Object.keys(blocks).sort(), [
    "again.ts",
    "export.ts",
    "orders.ts",
    "pages.ts",
    "reuse.ts",
    "squares.ts",
    "two_in_one.ts",
  ]);
  t.equal(page.split("```ts\n").length - 1, 7, "none was missed");
  writeFileSync(
    join(folder, "mod.ts"),
    `export type * from "${relative(folder, resolve("src/plugin/types.ts"))}";`,
  );
  const config = {
    extends: resolve("tsconfig.json"),
    include: ["plugins"],
    compilerOptions: { typeRoots: [resolve("node_modules/@types")] },
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  const check = promisify(execFile)(resolve("node_modules/.bin/tsc"), ["-p", folder], { timeout: 60_000 });
  const output = await check.then(() => "", (error) => error.stdout);
  t.equal(output, "");
});

t.test("the blocks that need no server run", async (t) => {
  const run = (name: string, task: object) =>
    driven("bun", join(folder, "plugins", name), folder, { args: {}, ...task });
  const squares = await run("squares.ts", { args: { end: "4" } });
  t.same(squares.results.map(({ kind }) => kind), ["skipped", "done", "skipped", "done"]);
  t.equal(squares.lastCursor, 4);
  const reuse = await run("reuse.ts", {});
  t.equal(
    new Set(reuse.jobs.map((job) => JSON.stringify(job))).size,
    10_000,
    "each job is as it was when yielded",
  );
  t.equal(reuse.results.filter(({ kind }) => kind === "skipped").length, 4_950);
  const letters = join(folder, "squares.dead.ndjson");
  const lines = [
    { seq: 7, job: { id: 8 }, cbor: "oWJpZAg=" },
    { seq: 3, job: { id: 4 }, cbor: "oWJpZAQ=" },
    { seq: 5, job: { id: 6 }, cbor: "oWJpZAY=" },
    { seq: 9, job: null, cbor: null },
    { seq: 5, handled: "2025-01-02T03:04:05.000Z" },
  ];
  writeFileSync(letters, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const again = await run("again.ts", { args: { letters } });
  t.same(again.jobs, [{ id: 4 }, { id: 8 }], "the letters that stand");
  t.same((await run("again.ts", { args: { letters }, last: "BA==" })).jobs, [{ id: 8 }]);
  const pages = await run("pages.ts", { args: { site: "http://127.0.0.1:1" }, stopAfter: 1 });
  t.match(pages.results, [{ kind: "failed", how: "threw" }], "nobody listens there");
});
