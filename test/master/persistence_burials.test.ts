import t from "tap";
import { StateError } from "../../src/lib/errors.ts";
import type { DeadLetter } from "../../src/core/types.ts";
import { DeadLetterWriter } from "../../src/master/persistence.ts";

const history = { failures: 1, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] };
const letter = (seq: number): DeadLetter => ({ seq, job: new Uint8Array([seq]), history });

const takenOver = new StateError("taken over");

/** Burials over a disk whose writes end when the test says so. */
function bench() {
  const writes: { seqs: number[]; resolve: () => void; reject: (error: unknown) => void }[] = [];
  const buried: (readonly number[])[] = [];
  const warnings: string[] = [];
  const wakes: number[] = [];
  const finals: unknown[] = [];
  const clock = { nowMs: 0 };
  const writer = new DeadLetterWriter({
    write: (letters) =>
      new Promise((resolve, reject) => writes.push({ seqs: letters.map(({ seq }) => seq), resolve, reject })),
    onBuried: (_letters, seqs) => buried.push(seqs),
    onFinal: (error) => finals.push(error),
    wakeBy: (atMs) => wakes.push(atMs),
    nowMs: () => clock.nowMs,
    log: (_level, message) => warnings.push(message),
  });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { writer, settled, writes, buried, warnings, wakes, finals, clock };
}

t.test("what comes while one write is under way is the next group", async (t) => {
  const { writer, settled, writes, buried, clock } = bench();
  writer.bury([letter(5)]);
  writer.bury([letter(8), letter(6)]);
  writer.bury([letter(7), letter(2)]);
  t.same(writes.map(({ seqs }) => seqs), [[5]]);
  writes[0]!.resolve();
  await settled();
  t.same(buried, [[5, 6]]);
  writer.tick(clock.nowMs);
  t.same(writes[1]!.seqs, [8, 6, 7, 2]);
  writes[1]!.resolve();
  await settled();
  t.same(buried[1], [2, 3, 6, 9], "as ranges");
  t.equal(writer.tick(clock.nowMs), Infinity);
});

t.test("a full disk is tried again, later each time, and nothing counts as buried meanwhile", async (t) => {
  const { writer, settled, writes, buried, warnings, wakes, clock } = bench();
  writer.bury([letter(1)]);
  writes[0]!.reject(new Error("no space left"));
  await settled();
  t.same(buried, []);
  t.match(warnings, [/no space left/]);
  t.same(wakes, [1_000]);
  writer.bury([letter(2)]);
  t.equal(writes.length, 1, "not before the pause is over");
  t.equal(writer.tick(999), 1_000);
  clock.nowMs = 1_000;
  writer.tick(1_000);
  t.same(writes[1]!.seqs, [1, 2], "in the old order");
  writes[1]!.reject(new Error("no space left"));
  await settled();
  t.same(wakes, [1_000, 3_000], "the pause doubles");
  writer.tick(3_000);
  writes[2]!.resolve();
  await settled();
  t.same(buried, [[1, 3]]);
});

t.test("a dead-letter file of another master is no case for trying again", async (t) => {
  const { writer, settled, writes, finals, warnings } = bench();
  writer.bury([letter(1)]);
  writes[0]!.reject(takenOver);
  await settled();
  t.same(finals, [takenOver]);
  t.same(warnings, []);
});
