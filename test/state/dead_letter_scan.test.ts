import fc from "fast-check";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { encode } from "../../src/protocol/cbor.ts";
import { DeadLetterScan } from "../../src/state/dead_letter_scan.ts";
import { deadLetterLine, handledLine } from "../../src/state/dead_letters.ts";
import { readDeadLetters } from "../kit/dead_letters.ts";
import { attempt, folder, untouched } from "./fixtures.ts";

const time = "2025-01-02T03:04:05.678Z";
const history = { ...untouched, failures: 1, attempts: [attempt] };
const line = (seq: number, job: unknown = seq) => deadLetterLine({ seq, job: encode(job), history }, time);

async function scanned(path: string) {
  const scan = new DeadLetterScan(path);
  const letters = [];
  for await (const some of scan.letters()) letters.push(...some);
  return { letters, damaged: scan.damagedCount, lines: scan.damagedLines };
}

const seqsOf = async (path: string) => (await scanned(path)).letters.map(({ seq }) => seq);

t.test("the newest come first; of a seq the last line counts, and `handled` takes it back", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  t.same(await seqsOf(path), [], "there is none");
  writeFileSync(path, "");
  t.same(await scanned(path), { letters: [], damaged: 0, lines: [] });
  writeFileSync(
    path,
    line(3) + line(1) + line(2) + handledLine(3, time) + line(1, "again") + handledLine(7, time),
  );
  const { letters, damaged } = await scanned(path);
  t.match(letters, [{ seq: 1, job: "again", cbor: encode("again") }, { seq: 2 }]);
  t.same([letters.length, damaged], [2, 0]);
  appendFileSync(path, line(3));
  t.same(await seqsOf(path), [3, 1, 2]);
});

t.test("a last line that is half written is no fault, and a whole one that lacks its newline counts", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  for (const length of [1, 9, 60, line(2).length - 2]) {
    writeFileSync(path, line(1) + line(2).slice(0, length));
    const { letters, damaged } = await scanned(path);
    t.same([letters.map(({ seq }) => seq), damaged], [[1], 0], `${length} characters`);
  }
  writeFileSync(path, line(1) + line(2).slice(0, -1));
  t.same(await seqsOf(path), [2, 1]);
});

t.test("damaged lines are counted, and the first of them named; an older good line of that seq counts", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  const torn = line(2).slice(0, 50) + "\n";
  writeFileSync(path, `${line(1)}nonsense\n\n${line(2)}${torn}${line(3)}{}\n`);
  const { letters, ...damage } = await scanned(path);
  t.same(letters.map(({ seq }) => seq), [3, 2, 1]);
  t.same(damage, { damaged: 4, lines: [2, 3, 5, 7] });
  writeFileSync(path, "no\n".repeat(25) + line(1));
  t.same((await scanned(path)).lines, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

t.test("a line that is too long for a letter is one damaged line, wherever it stands", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  const long = "x".repeat(9 << 20);
  writeFileSync(path, `${line(1)}${line(2)}${long}\n${line(3)}\n${line(4)}`);
  const { letters, ...damage } = await scanned(path);
  t.same(letters.map(({ seq }) => seq), [4, 3, 2, 1]);
  t.same(damage, { damaged: 2, lines: [3, 5] });
  writeFileSync(path, `${long}\n${line(3)}`);
  t.same((await scanned(path)).lines, [1]);
});

t.test("it finds what a reader from the beginning finds, whatever the lines and however long", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  const part = fc.oneof(
    fc.tuple(fc.nat(9), fc.nat(70_000)).map(([seq, length]) => line(seq, "é".repeat(length))),
    fc.nat(9).map((seq) => line(2 ** 31 * seq + seq)),
    fc.nat(9).map((seq) => handledLine(seq, time)),
    fc.constantFrom("\n", "nonsense\n", line(4).slice(0, 40) + "\n", '{"seq":1}\n'),
  );
  const lists = fc.sample(fc.array(part, { maxLength: 30 }), { numRuns: 60, seed: 7 });
  for (const list of lists) {
    writeFileSync(path, list.join(""));
    const forward = await readDeadLetters(path);
    const { letters, damaged } = await scanned(path);
    t.same(letters.sort((a, b) => a.seq - b.seq), forward.letters);
    t.equal(damaged, forward.damagedLines);
  }
});

t.test("all of many letters come, each once", async (t) => {
  const path = join(folder(t), "x.dead.ndjson");
  const seqs = Array.from({ length: 20_000 }, (_, at) => at * 1_024 + 2 ** 40 * (at % 3));
  writeFileSync(path, seqs.map((seq) => line(seq)).join("") + line(seqs[5]!));
  t.ok(readFileSync(path).length > 4 << 20, "of many chunks");
  const found = await seqsOf(path);
  t.equal(found.length, seqs.length);
  t.same(found.sort((a, b) => a - b), seqs.toSorted((a, b) => a - b));
});
