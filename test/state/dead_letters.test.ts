import fc from "fast-check";
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import type { DeadLetter } from "../../src/core/types.ts";
import { decode, encode } from "../../src/protocol/cbor.ts";
import { DeadLetterFile, deadLetterLines, lastLetters } from "../../src/state/dead_letters.ts";
import { readDeadLetters } from "../kit/dead_letters.ts";
import { jobJson } from "../../src/lib/job_json.ts";
import { nodeDisk, SaveError } from "../../src/state/disk.ts";
import { holds } from "../kit/holds.ts";
import { FakeDisk, systemError } from "./fake_disk.ts";
import { attempt, folder, listen, open, openFake, untouched } from "./fixtures.ts";

const letter = (seq: number, job: unknown = { id: seq }): DeadLetter => ({
  seq,
  job: encode(job),
  history: { ...untouched, failures: 2, crashes: 1, attempts: [attempt, { ...attempt, how: "crashed" }] },
});

/** As the store does before it saves a state that has these jobs as done. */
async function takeBack({ deadPath: path }: { deadPath: string }, ...seqs: number[]): Promise<void> {
  const nowIso = () => new Date().toISOString();
  await new DeadLetterFile({ disk: nodeDisk, path, dir: dirname(path), nowIso, log: () => {} }).takeBack(
    seqs,
  );
}

const lines = (path: string) =>
  readFileSync(path, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line));

t.test("a dead letter is one line that says all", async (t) => {
  const store = await open(folder(t));
  await store.bury([letter(7, { id: 7n ** 30n, at: new Date(0) }), letter(8, "eight\nlines")]);
  const [first, second] = lines(store.deadPath);
  t.match(first, {
    seq: 7,
    time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    failures: 2,
    crashes: 1,
    attempts: [{
      how: "threw",
      error: "no such row",
      stack: /handleJob/,
      slave: "web1",
      durationMs: 12.5,
      at: attempt.at,
    }, {}],
    job: { id: { $bigint: String(7n ** 30n) }, at: { $date: "1970-01-01T00:00:00.000Z" } },
  });
  t.same(decode(new Uint8Array(Buffer.from(first.cbor, "base64"))), { id: 7n ** 30n, at: new Date(0) });
  t.equal(second.job, "eight\nlines");
  t.equal(statSync(store.deadPath).mode & 0o777, 0o600);
  await store.close();
});

const row = { cursor: encode({ id: 5n }), path: '$["a b"]', reason: "half a pair", dataFault: "half" };
const rowLetter = (seq: number): DeadLetter => ({ seq, job: null, history: untouched, row });

t.test("the letter of a row that could not be sent has its cursor and its fault, and no bytes", async (t) => {
  const store = await open(folder(t));
  await store.bury([rowLetter(5), letter(6), rowLetter(7)]);
  await takeBack(store, 7);
  const [line] = lines(store.deadPath);
  t.match(line, {
    seq: 5,
    time: /^\d{4}-/,
    failures: 0,
    crashes: 0,
    attempts: [],
    path: '$["a b"]',
    reason: "half a pair",
    cursor: { id: { $bigint: "5" } },
    job: null,
    cbor: null,
  });
  const { letters, damagedLines } = await readDeadLetters(store.deadPath);
  t.equal(damagedLines, 0);
  t.same(letters.map(({ seq, cbor }) => [seq, cbor === null]), [[5, true], [6, false]]);
  t.same(letters[0]!.row, { path: row.path, reason: row.reason, cursor: { id: { $bigint: "5" } } });
  t.same([...await lastLetters(store.deadPath, nodeDisk, (seq) => seq !== 6)], [[5, null]]);
  const half = `${JSON.stringify({ ...line, reason: undefined })}\n`;
  appendFileSync(store.deadPath, half);
  t.equal((await readDeadLetters(store.deadPath)).damagedLines, 1, "without its fault it is none");
  await store.close();
});

t.test("none is no write", async (t) => {
  const store = await open(folder(t));
  await store.bury([]);
  t.notOk(existsSync(store.deadPath));
  await store.close();
});

t.test("the last line of a seq counts, and `handled` takes one back", async (t) => {
  const store = await open(folder(t));
  await store.bury([letter(3), letter(1), letter(2)]);
  await store.bury([letter(1, "again")]);
  appendFileSync(store.deadPath, '{"seq":2,"handled":"2025-01-01T00:00:00.000Z"}\n');
  const { letters, damagedLines } = await readDeadLetters(store.deadPath);
  t.match(letters, [{ seq: 1, job: "again" }, { seq: 3 }]);
  t.equal(letters.length, 2);
  t.same(letters[0]!.cbor, encode("again"));
  t.equal(damagedLines, 0);
  await store.bury([letter(2)]);
  t.equal((await readDeadLetters(store.deadPath)).letters.length, 3, "buried once more");
  await store.close();
});

t.test("letters are taken back by a line of their own", async (t) => {
  const store = await open(folder(t));
  await store.bury([letter(1), letter(2), letter(3)]);
  await takeBack(store);
  await takeBack(store, 3, 1);
  t.match(lines(store.deadPath).slice(3), [{ seq: 3, handled: /^\d{4}-.*Z$/ }, { seq: 1 }]);
  t.same((await readDeadLetters(store.deadPath)).letters.map(({ seq }) => seq), [2]);
  await store.close();
});

t.test("the jobs of the last letters, of the seqs that are wanted", async (t) => {
  const store = await open(folder(t));
  const last = async () => [...await lastLetters(store.deadPath, nodeDisk, (seq) => seq > 1)];
  t.same(await last(), [], "there is no file");
  await store.bury([letter(1), letter(2), letter(3), letter(4)]);
  await store.bury([letter(2, "again")]);
  await takeBack(store, 3);
  t.same(await last(), [[2, encode("again")], [4, encode({ id: 4 })]]);
  await store.close();
});

t.test("of a long file only the end is read", async (t) => {
  const store = await open(folder(t));
  await store.bury([letter(1), letter(2)]);
  const { size } = statSync(store.deadPath);
  const linesOf = async (bytesMax: number) => {
    const all = { read: [] as number[], damaged: 0 };
    for await (const { read, damaged } of deadLetterLines(store.deadPath, nodeDisk, bytesMax)) {
      all.read.push(...read.map((line) => line.seq));
      all.damaged += damaged;
    }
    return all;
  };
  t.same(await linesOf(size), { read: [1, 2], damaged: 0 });
  t.same(await linesOf(size - 1), { read: [2], damaged: 1 });
  t.same(await linesOf(10), { read: [], damaged: 1 });
  await store.close();
});

t.test("lines that are none are counted, whatever they are", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  const good = { seq: 1, time: "t", failures: 1, crashes: 0, attempts: [], job: "a\u2028b", cbor: "AA==" };
  const bad = [
    "",
    "nonsense",
    "null",
    "[]",
    '{"seq":-1}',
    '{"seq":1.5,"handled":1}',
    { ...good, cbor: 7 },
    { ...good, cbor: "" },
    { ...good, attempts: [{}] },
    { ...good, failures: "1" },
  ];
  writeFileSync(
    path,
    [good, ...bad, { ...good, seq: 2 }].map((line) => typeof line === "string" ? line : JSON.stringify(line))
      .join("\n"),
  );
  const { letters, damagedLines } = await readDeadLetters(path);
  t.same(letters.map(({ seq, job }) => [seq, job]), [[1, "a\u2028b"], [2, "a\u2028b"]]);
  t.equal(damagedLines, bad.length);
  t.same(await readDeadLetters(`${path}.none`), { letters: [], damagedLines: 0 });
});

t.test("lines longer than what is read at once, and characters cut by it", async (t) => {
  const store = await open(folder(t));
  const jobs = ["ä".repeat(200_000), "x".repeat(65_535), "é"];
  await store.bury(jobs.map((job, seq) => letter(seq, job)));
  const { letters } = await readDeadLetters(store.deadPath);
  t.same(letters.map(({ cbor }) => decode(cbor!)), jobs);
  await store.close();
});

t.test("a torn last line is taken away by the next append; a whole one gets its newline", async (t) => {
  for (const cut of [1, 2, 30, 200]) {
    const { log, said } = listen();
    const store = await open(folder(t), { log });
    await store.bury([letter(1), letter(2)]);
    truncateSync(store.deadPath, statSync(store.deadPath).size - cut);
    await store.bury([letter(3)]);
    t.same(lines(store.deadPath).map(({ seq }) => seq), cut === 1 ? [1, 2, 3] : [1, 3], `${cut} bytes short`);
    t.equal(said.length, cut === 1 ? 0 : 1);
    await store.close();
  }
});

t.test("a torn line longer than a block, and one that is all there is", async (t) => {
  const store = await open(folder(t));
  writeFileSync(store.deadPath, `{"seq":1,"error":"${"x".repeat(300_000)}`);
  await store.bury([letter(2)]);
  t.same(lines(store.deadPath).map(({ seq }) => seq), [2]);
  await store.close();
});

t.test("deleted or moved away while running: made again", async (t) => {
  const store = await open(folder(t));
  await store.bury([letter(1)]);
  unlinkSync(store.deadPath);
  await store.bury([letter(2)]);
  t.same(lines(store.deadPath).map(({ seq }) => seq), [2]);
  await store.close();
});

t.test("a symbolic link in its place is refused for good, whenever it comes", async (t) => {
  const dir = folder(t), target = join(folder(t), "target"), path = join(dir, "posts.dead.ndjson");
  writeFileSync(target, "precious");
  symlinkSync(target, path);
  await t.rejects(open(dir), { name: "StateError", message: /symbolic link/ });
  await t.rejects(readDeadLetters(path), /symbolic link/);
  unlinkSync(path);
  const store = await open(dir);
  symlinkSync(target, path);
  await t.rejects(store.bury([letter(1)]), { name: "StateError", message: /symbolic link/ });
  t.equal(readFileSync(target, "utf8"), "precious");
  await store.close();
});

t.test("a start proves that it can append, before a letter needs it", async (t) => {
  const dir = folder(t), path = join(dir, "posts.dead.ndjson");
  mkdirSync(path);
  await t.rejects(open(dir), { name: "StateError", message: /move it away/ });
  rmdirSync(path);
  execFileSync("mkfifo", [path]);
  await t.rejects(open(dir), { name: "StateError", message: /it is no file/ });
  unlinkSync(path);
  await (await open(dir)).close();
  t.notOk(existsSync(path), "none is made");

  const store = await open(dir);
  writeFileSync(path, "{}\n");
  truncateSync(path, 2 ** 36);
  await t.rejects(store.bury([letter(1)]), { name: "StateError", message: /longer than any letter/ });
  t.equal(statSync(path).size, 2 ** 36, "it is left as it is");
  unlinkSync(path);
  await store.close();

  const fake = new FakeDisk();
  fake.put("/d/posts.dead.ndjson", new Uint8Array());
  fake.onStep = (step, path) => {
    if (step === "open old" && path.endsWith(".ndjson") && fake.get(path)) throw systemError("EACCES");
  };
  await t.rejects(openFake(fake), { name: "StateError", message: /EACCES.*Make it writable/ });
  await t.resolves(
    openFake(fake, { reset: true }).then((store) => store.close()),
    "one that is set aside is not asked",
  );
});

t.test("a full disk: nothing torn stays, and the next append succeeds", async (t) => {
  for (const taken of [0, 1, 100]) {
    const fake = new FakeDisk();
    const store = await openFake(fake);
    await store.bury([letter(1)]);
    const before = fake.get("/d/posts.dead.ndjson");
    fake.writeMax = taken;
    await t.rejects(store.bury([letter(2)]), { name: "SaveError", message: /no space left/ });
    t.same(fake.get("/d/posts.dead.ndjson"), before);
    fake.writeMax = Infinity;
    await store.bury([letter(3)]);
    const { letters, damagedLines } = await readDeadLetters("/d/posts.dead.ndjson", fake.disk);
    t.same([letters.map(({ seq }) => seq), damagedLines], [[1, 3], 0]);
    await store.close();
  }
});

t.test("an error at any step of a bury is tried again, and leaves whole lines", async (t) => {
  for (let at = 0;; at++) {
    const fake = new FakeDisk();
    const store = await openFake(fake);
    await store.bury([letter(1)]);
    let left = at, isHit = false;
    fake.onStep = () => {
      if (left-- === 0 && (isHit = true)) throw systemError("EIO");
    };
    const error = await store.bury([letter(2)]).then(() => null, (error: unknown) => error);
    fake.onStep = () => {};
    if (isHit) t.ok(error instanceof SaveError, `step ${at}`);
    await store.bury([letter(2)]);
    const { letters, damagedLines } = await readDeadLetters("/d/posts.dead.ndjson", fake.disk);
    t.same([letters.map(({ seq }) => seq), damagedLines], [[1, 2], 0]);
    await store.close();
    if (!isHit) return t.ok(at >= 4);
  }
});

t.test("large letters are written in several groups", async (t) => {
  const fake = new FakeDisk();
  const store = await openFake(fake);
  let writes = 0;
  fake.onStep = (step) => void (writes += Number(step === "write"));
  const large = new Uint8Array(1_000_000);
  await store.bury(Array.from({ length: 13 }, (_, seq) => letter(seq, large)));
  t.equal(writes, 2, "8 MiB at most but for one letter");
  t.equal((await readDeadLetters("/d/posts.dead.ndjson", fake.disk)).letters.length, 13);
  await store.close();
});

t.test("jobJson() shows any job as JSON", async (t) => {
  const cases: [unknown, string][] = [
    [undefined, '{"$undefined":true}'],
    [null, "null"],
    [NaN, '{"$number":"NaN"}'],
    [-Infinity, '{"$number":"-Infinity"}'],
    [12n, '{"$bigint":"12"}'],
    [new Date(NaN), '{"$date":"invalid"}'],
    [Uint8Array.of(10, 255), '{"$bytes":"0aff"}'],
    [new Map<unknown, unknown>([[1, { a: [] }]]), '{"$map":[[1,{"a":[]}]]}'],
    [new Set([1, "x"]), '{"$set":[1,"x"]}'],
    [{ a: 1, "b\n": [true, "\u001b[31m"] }, '{"a":1,"b\\n":[true,"\\u001b[31m"]}'],
    [() => 1, '"[function]"'],
  ];
  for (const [job, json] of cases) t.equal(jobJson(job, 4096), json);
  const cycle: Record<string, unknown> = { a: 1 };
  cycle.self = cycle;
  t.equal(jobJson(cycle, 4096), '{"a":1,"self":"[cycle]"}');
  const twice = { x: 1 };
  t.equal(jobJson([twice, twice], 4096), '[{"x":1},{"x":1}]', "twice is no cycle");
});

t.test("jobJson() cuts what is long, quickly, and stays JSON", async (t) => {
  for (
    const job of [
      "x".repeat(1 << 20),
      new Uint8Array(1 << 20),
      Array.from({ length: 1e5 }, () => ({ a: 1 })),
      2n ** 8000n,
    ]
  ) {
    const text = JSON.parse(jobJson(job, 100));
    t.type(text, "string");
    t.ok(text.length <= 101 && text.endsWith("…"));
  }
  holds(
    t,
    fc.property(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true }),
      fc.nat(200),
      (job, charsMax) => {
        const json = jobJson(job, charsMax);
        JSON.parse(json);
        t.notOk(json.includes("\n"));
        t.notOk(/\p{Surrogate}/u.test(json), "no half of a pair");
      },
    ),
    { numRuns: 300 },
  );
});
