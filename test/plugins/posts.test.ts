import { readdirSync } from "node:fs";
import t from "tap";
import { bun } from "../kit/runtimes.ts";
import { driven, withSqlite } from "./driven.ts";

const plugin = "plugins/posts.ts";

for (const runtime of withSqlite) {
  t.test(`posts.ts makes its sample, writes cards, and resumes behind \`last\`, on ${runtime}`, async (t) => {
    const folder = t.testdir();
    const first = await driven(runtime, plugin, folder, { args: {}, stopAfter: 1500 });
    t.match(first, { runtime, error: undefined, lastCursor: 1500 });
    t.match(first.logs, [/^info Making a sample blog of 100,000 posts: .*posts\.sqlite$/]);
    t.match(first.jobs[1499], { id: 1500, title: "Post 1500", body: String });
    t.ok(first.results.every(({ kind }) => kind === "done"));
    t.ok(readdirSync(folder).includes("posts.sqlite"), "in the current folder");
    t.notOk(readdirSync(folder).includes("posts.sqlite.new"));

    const again = await driven(runtime, plugin, folder, { args: {}, last: first.last!, stopAfter: 10 });
    t.same(again.logs, [], "the sample is made once");
    t.match(again.jobs[0], { id: 1501 });
  });
}

t.test("posts.ts reads all 100,000 posts, once each, in order", async (t) => {
  const folder = t.testdir();
  const { jobs } = await driven("bun", plugin, folder, { args: {}, isMasterOnly: true });
  t.equal(jobs.length, 100_000);
  t.ok(jobs.every((job, index) => (job as { id: number }).id === index + 1));
});

t.test("posts.ts is idempotent, and skips a post whose author is gone", async (t) => {
  const folder = t.testdir();
  const task = { args: { file: "blog.sqlite" }, stopAfter: 20 };
  await sql(folder, blog);
  const first = await driven("bun", plugin, folder, task);
  t.same(first.results.map(({ kind }) => kind), ["done", "skipped", "done"]);
  const cards = await sql(folder, "SELECT * FROM cards");
  t.same(cards, [
    { post_id: -3, title: "One", author: "Ada", words: 2, excerpt: "hello world", tags: null },
    { post_id: 9, title: "Three", author: "Ada", words: 0, excerpt: "", tags: "a, b" },
  ]);
  await driven("bun", plugin, folder, task);
  t.same(await sql(folder, "SELECT * FROM cards"), cards, "a second run changes nothing");
});

t.test("posts.ts says what to do where its file is missing", async (t) => {
  const folder = t.testdir();
  const { error, results } = await driven("bun", plugin, folder, { args: { file: "gone.sqlite" } });
  t.match(error, missing);
  t.same([results, readdirSync(folder)], [[], []], "and makes none");
});

for (const runtime of withSqlite) {
  t.test(`posts.ts is not asked again for what cannot be its file, on ${runtime}`, async (t) => {
    const folder = t.testdir({ folder: {}, "text.sqlite": "no database at all, but a text\n".repeat(100) });
    await sql(folder, "CREATE TABLE other (id INTEGER PRIMARY KEY)");
    for (
      const [file, why] of [
        ["folder", /unable to open/],
        ["text.sqlite", /not a database/],
        ["blog.sqlite", /no such table: posts/],
      ] as const
    ) {
      const { error } = await driven(runtime, plugin, folder, { args: { file } });
      t.match(error, why, file);
      t.match(error, /^getJobs called ctx.fatal: Cannot read posts from /, file);
    }
  });
}

t.test("posts.ts fails a job, not its worker, on a machine without the file", async (t) => {
  const folder = t.testdir();
  const post = { id: 1, author_id: 1, title: "One", body: "hello" };
  const task = { args: { file: "gone.sqlite" }, jobs: [post] };
  const { error, results } = await driven("bun", plugin, folder, task);
  t.match([error, results, readdirSync(folder)], [undefined, [{ kind: "failed", message: missing }], []]);
});

const missing =
  /There is no .*gone\.sqlite on this machine: .* Start taskmaster in its folder, or say file=PATH$/;

const blog = `
  CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT);
  CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INTEGER, title TEXT, body TEXT);
  CREATE TABLE post_tags (post_id INTEGER, tag TEXT);
  INSERT INTO authors VALUES (1, 'Ada');
  INSERT INTO posts VALUES (-3, 1, 'One', ' hello  world '), (5, 77, 'Two', 'x'), (9, 1, 'Three', '');
  INSERT INTO post_tags VALUES (9, 'a'), (9, 'b');`;

/** Runs SQL on blog.sqlite; answers with the rows of its last statement. */
async function sql(folder: string, text: string): Promise<unknown[]> {
  const { execFileSync } = await import("node:child_process");
  const script = `const { DatabaseSync } = require("node:sqlite");
    const db = new DatabaseSync("blog.sqlite");
    const text = process.argv[1];
    if (text.startsWith("SELECT")) console.log(JSON.stringify(db.prepare(text).all()));
    else { db.exec(text); console.log("[]"); }`;
  return JSON.parse(
    execFileSync(bun, ["-e", script, text], { cwd: folder, timeout: 20_000, encoding: "utf8" }),
  );
}
