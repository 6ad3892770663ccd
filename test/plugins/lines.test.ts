import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { cursor, getJobs, handleJob, setup, teardown } from "../../plugins/lines.ts";
import { driven, withSqlite } from "./driven.ts";
import { HandleJob } from "../../src/plugin/handle_job.ts";
import { PluginHost } from "../../src/plugin/handler.ts";
import { JobEncoder } from "../../src/protocol/cbor.ts";
import type { Plugin, SourceContext } from "../../src/plugin/types.ts";

type Line = { offset: number; line: string };

function context(args: Record<string, string>): SourceContext {
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const fatal = (reason: string): never => {
    throw new Error(`fatal: ${reason}`);
  };
  return { args, signal: new AbortController().signal, log, fatal };
}

async function read(file: string, last?: number): Promise<Line[]> {
  const jobs: Line[] = [];
  for await (const job of getJobs(last, context({ file }))) jobs.push(job);
  return jobs;
}

const linesOf = (jobs: readonly Line[]) => jobs.map(({ line }) => line);

t.test("lines.ts reads lines with \\n and \\r\\n, empty ones, and a last one without either", async (t) => {
  const table: readonly [string, string[]][] = [
    ["", []],
    ["a", ["a"]],
    ["a\n", ["a"]],
    ["a\r\nb\r\n", ["a", "b"]],
    ["\n\r\n\n", ["", "", ""]],
    ["a\rb\n", ["a\rb"]],
    ["\ufeffa\n\ufeffb", ["a", "b"]],
    ["naïve 😀\n漢字", ["naïve 😀", "漢字"]],
  ];
  const file = join(t.testdir(), "text");
  for (const [text, lines] of table) {
    writeFileSync(file, text);
    t.same(linesOf(await read(file)), lines, JSON.stringify(text));
  }
});

t.test("an offset is where its line begins; from each, what follows is read again", async (t) => {
  const file = join(t.testdir({ text: "naïve 😀\r\n\n漢字\nlast" }), "text");
  const jobs = await read(file);
  t.same(jobs.map(cursor), [0, 13, 14, 21]);
  for (const [index, job] of jobs.entries()) t.same(await read(file, cursor(job)), jobs.slice(index));
});

t.test("lines and characters across the ends of its reads arrive whole", async (t) => {
  // Over ten reads of some 2 MiB, whose ends fall into characters and between \r and \n.
  const text = Array.from(
    { length: 400 },
    (_, index) => `${index}${"x".repeat(index % 12)}${"😀é漢x".repeat(5_500)}`,
  );
  const file = join(t.testdir(), "text");
  writeFileSync(file, text.join("\r\n"));
  const lines = linesOf(await read(file));
  t.equal(lines.length, text.length);
  t.equal(lines.findIndex((line, index) => line !== text[index]), -1, "no line differs");
});

t.test("a line may have almost 1 MiB; a longer one is too long for a job, and those behind it are read", async (t) => {
  const mib = 1 << 20;
  const file = join(t.testdir(), "text");
  const isSendable = (job: Line): boolean => {
    try {
      return new JobEncoder().append(job) > 0;
    } catch {
      return false;
    }
  };
  for (const length of [mib - 64, mib + 1, 2 * mib - 1, 2 * mib, 2 * mib + 1, 3 * mib + 7, 5 * mib]) {
    for (const end of ["\nb", "\n", ""]) {
      writeFileSync(file, `a\n${"x".repeat(length)}${end}`);
      const jobs = await read(file);
      const expected = [[0, true], [2, length < mib], ...(end === "\nb" ? [[length + 3, true]] : [])];
      t.same(
        jobs.map((job) => [job.offset, isSendable(job)]),
        expected,
        `${length} bytes${JSON.stringify(end)}`,
      );
      const again = (await read(file, 2)).map((job) => [job.offset, isSendable(job)]);
      t.same(again, expected.slice(1), "the same from there on");
    }
  }
});

t.test("lines appended later are read from the last one on", async (t) => {
  const file = join(t.testdir({ text: "a\nb\n" }), "text");
  const last = cursor((await read(file)).at(-1)!);
  appendFileSync(file, "c\nd");
  t.same(linesOf(await read(file, last)), ["b", "c", "d"], "the last one again, which the master drops");
  appendFileSync(file, "e\n");
  t.same(await read(file, 6), [{ offset: 6, line: "de" }], "a last line that grew is another job");
});

t.test("a file that was rewritten is refused", async (t) => {
  const file = join(t.testdir({ text: "abc\ndef\n" }), "text");
  for (const last of [2, 8, 400]) {
    await t.rejects(read(file, last), {
      message: new RegExp(`^fatal: No line begins at byte ${last} of .*--reset`),
    });
  }
});

t.test("it gives up where no file is named, where there is none, and where an argument is misspelt", async (t) => {
  const gaveUp = (args: Record<string, string>, message: RegExp) =>
    t.rejects(getJobs(undefined, context(args)).next(), { message });
  await gaveUp({}, /^fatal: .*file=PATH$/);
  await gaveUp({ file: "" }, /^fatal: .*file=PATH$/);
  await gaveUp({ file: "/gone/text" }, /^fatal: Cannot read \/gone\/text: ENOENT/);
  await gaveUp({ file: t.testdir() }, /^fatal: Cannot read \/.*: it is a folder$/);
  await gaveUp({ file: "/dev/null" }, /^fatal: Cannot read \/dev\/null: it is no regular file$/);
  await gaveUp({ flie: "/gone/text" }, /^fatal: There is no argument flie: /);
});

t.test("the handler counts, skips empty lines, and fails on what is not JSON where a field is asked for", async (t) => {
  const logs: unknown[] = [];
  const plugin = { handleJob, setup, teardown } as unknown as Plugin;
  const host = new PluginHost(plugin, { field: "type" }, (...line) => void logs.push(line));
  const handler = new HandleJob(plugin, await host.setup());
  const run = (line: string) => handler.run({ seq: 0, attempt: 1, jobs: [{ offset: 0, line }] }, 0);
  t.same(run('{"type":"view"}'), { kind: "done" });
  t.same(run('{"type":"buy", "n": 1}'), { kind: "done" });
  t.same(run('{"type":"view"}'), { kind: "done" });
  t.same(run("null"), { kind: "done" });
  t.same(run("  "), { kind: "skipped", reason: "empty line" });
  t.match(run("{type"), { kind: "failed", message: /^SyntaxError: / });
  await host.teardown();
  t.same(logs, [
    ["info", "Counted", { lines: 4, words: 6, characters: 56 }],
    ["info", "Most frequent values of type", { view: 2, buy: 1, "(missing)": 1 }],
  ]);
});

for (const runtime of withSqlite) {
  t.test(`lines.ts stops and resumes on ${runtime}`, async (t) => {
    const folder = t.testdir({ "events.ndjson": '{"a":1}\n{"a":2}\n{"a":3}\n' });
    const args = { file: "events.ndjson", field: "a" };
    const first = await driven(runtime, "plugins/lines.ts", folder, { args, stopAfter: 2 });
    t.match(first, {
      runtime,
      error: undefined,
      lastCursor: 8,
      results: [{ kind: "done" }, { kind: "done" }],
    });
    t.equal(first.jobs.length, 2);
    const again = await driven(runtime, "plugins/lines.ts", folder, { args, last: first.last! });
    t.same(again.jobs, [{ offset: 8, line: '{"a":2}' }, { offset: 16, line: '{"a":3}' }]);
  });
}
