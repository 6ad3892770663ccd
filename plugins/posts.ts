/**
 * Writes one ready-to-show card for every post of a blog, in SQLite:
 *
 *     taskmaster run plugins/posts.ts                     a sample blog of 100,000 posts, ./posts.sqlite
 *     taskmaster run plugins/posts.ts file=blog.sqlite    one of your own, with the tables of `sampleBlog` below
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import type { Context, JobContext, SourceContext, Summary } from "../mod.ts";

type Post = { id: number; author_id: number; title: string; body: string };
type Shared = { db?: DatabaseSync; write?: StatementSync };

/**
 * All posts behind `last`, page by page in the order of the primary key: memory stays the same however many
 * there are. `id > last` reads `last` as exclusive; `id >= last` (inclusive) would do as well.
 */
export function* getJobs(last: number | undefined, { args, log, fatal }: SourceContext): Generator<Post> {
  const unknown = Object.keys(args).find((name) => name !== "file");
  if (unknown !== undefined) fatal(`There is no argument ${unknown}: it takes file=PATH`);
  const path = pathOf(args);
  if (args.file === undefined && !existsSync(path)) makeSampleBlog(path, log);
  if (!existsSync(path)) fatal(missing(path));
  const { db, page } = openPosts(path, fatal);
  try {
    for (let after = last ?? -Infinity;;) {
      const posts = page.all(after) as Post[];
      if (posts.length === 0) return;
      yield* posts;
      after = posts.at(-1)!.id;
    }
  } finally {
    db.close();
  }
}

/** What `last` will be: unique, and no post appears behind it later. */
export const cursor = (post: Post): number => post.id;

/** One connection for each worker process, opened at its first job: by then `getJobs` has made the sample blog. */
export function setup(): Shared {
  return {};
}

export function handleJob(post: Post, { args, shared, skip }: JobContext<Shared>): void {
  shared.db ??= open(pathOf(args));
  shared.write ??= writeTo(shared.db);
  const words = post.body.split(/\s+/).filter(Boolean);
  const excerpt = words.slice(0, 20).join(" ");
  const values = [post.id, post.title, words.length, excerpt, post.id, post.author_id];
  const { changes } = shared.write.run(...values);
  if (changes === 0) skip("its author is gone");
}

export function teardown({ shared }: { shared: Shared }): void {
  shared.db?.close();
}

export function onFinish(summary: Summary, { args, log }: Context): void {
  if (summary.complete) log.info(`The cards are in the table \`cards\` of ${pathOf(args)}`);
}

/**
 * An upsert: a job can run again after a crash, and then finds its own row. Plain `?`, as some releases of Node bind
 * `?1` and `?2` in the order in which they stand.
 */
function writeTo(db: DatabaseSync): StatementSync {
  return db.prepare(`
    INSERT INTO cards (post_id, title, author, words, excerpt, tags)
    SELECT ?, ?, name, ?, ?, (SELECT group_concat(tag, ', ') FROM post_tags WHERE post_id = ?)
    FROM authors WHERE id = ?
    ON CONFLICT (post_id) DO UPDATE SET title = excluded.title, author = excluded.author,
      words = excluded.words, excerpt = excluded.excerpt, tags = excluded.tags`);
}

function pathOf(args: Context["args"]): string {
  return resolve(args.file ?? "posts.sqlite");
}

function missing(path: string): string {
  return `There is no ${path} on this machine: an SQLite file is for one machine. Start taskmaster in its folder, or say file=PATH`;
}

/** What trying again does not mend: a folder, a file that is no database, one without these tables. */
const hopeless = /unable to open|not a database|no such|readonly/;

function openPosts(path: string, fatal: SourceContext["fatal"]): { db: DatabaseSync; page: StatementSync } {
  try {
    const db = open(path);
    const page = db.prepare(
      "SELECT id, author_id, title, body FROM posts WHERE id > ? ORDER BY id LIMIT 1000",
    );
    return { db, page };
  } catch (error) {
    const { message } = error as Error;
    if (hopeless.test(message)) fatal(`Cannot read posts from ${path}: ${message}`);
    throw error;
  }
}

/** Several processes write to the file at once: WAL lets readers go on, and a writer waits for its turn. */
function open(path: string): DatabaseSync {
  if (!existsSync(path)) throw new Error(missing(path));
  const db = new DatabaseSync(path);
  db.exec("PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
  db.exec(
    `CREATE TABLE IF NOT EXISTS cards (post_id INTEGER PRIMARY KEY, title TEXT NOT NULL, author TEXT NOT NULL,
    words INTEGER NOT NULL, excerpt TEXT NOT NULL, tags TEXT)`,
  );
  return db;
}

/** A file that is there is complete: it is made under another name first. */
function makeSampleBlog(path: string, log: Context["log"]): void {
  log.info(`Making a sample blog of 100,000 posts: ${path}`);
  const unfinished = `${path}.new`;
  rmSync(unfinished, { force: true });
  const db = new DatabaseSync(unfinished);
  db.exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
  db.exec(sampleBlog);
  db.close();
  renameSync(unfinished, path);
}

/** Posts of 20 to 1,500 characters, by 500 authors, with up to three tags each. */
const sampleBlog = `
  BEGIN;
  CREATE TABLE authors (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
  CREATE TABLE posts (id INTEGER PRIMARY KEY, author_id INTEGER NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL);
  CREATE TABLE post_tags (post_id INTEGER, tag TEXT, PRIMARY KEY (post_id, tag)) WITHOUT ROWID;

  INSERT INTO authors
    WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 500)
    SELECT id, 'Author ' || id FROM n;
  INSERT INTO posts
    WITH RECURSIVE
      n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 100000),
      ink(text) AS (SELECT replace(hex(zeroblob(60)), '00', 'the quick brown fox jumps over a lazy dog and '))
    SELECT id, 1 + id % 500, 'Post ' || id, substr(text, 1 + id % 46, 20 + id * 7919 % 60 * (id % 25)) FROM n, ink;
  INSERT INTO post_tags SELECT id, 'news' FROM posts WHERE id % 2 = 0;
  INSERT INTO post_tags SELECT id, 'sports' FROM posts WHERE id % 3 = 0;
  INSERT INTO post_tags SELECT id, 'cats' FROM posts WHERE id % 5 = 0;
  COMMIT;
`;
