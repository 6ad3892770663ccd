import t from "tap";
import { noCounts, type RunState } from "../../src/core/types.ts";
import { type Block, JobSpan } from "../../src/lib/bytes.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { LateLetters, loadLateLetters } from "../../src/state/late_letters.ts";
import { FakeDisk, systemError } from "./fake_disk.ts";
import { openFake, spanOf, stateOf as saved } from "./fixtures.ts";

const block: Block = { bytes: Uint8Array.of(1, 2, 3), ends: Uint32Array.of(1, 2, 3), cursors: null };
const history = { failures: 0, crashes: 0, crashesInCompany: 0, lostSessions: 0, attempts: [] };

/** So many jobs were handed out, of which these are not settled. */
function stateOf(handedOut: number, ...spans: JobSpan[]): RunState {
  const stranded = spans.map((span) => ({ span, history, lease: null }));
  const done = handedOut - spans.reduce((sum, { count }) => sum + count, 0);
  const counts = { ...noCounts, handedOut, done, againToCome: 0 };
  const rest = { last: null, firstJobHash: null, complete: false, final: false, settings: new Map() };
  return { ...counts, ...rest, stranded };
}

t.test("of the letters on record those count whose job is open, and the very same", async (t) => {
  const onRecord = new Map([0, 5, 6, 7, 9].map((seq) => [seq, Uint8Array.of(seq === 6 ? 99 : seq - 4)]));
  const loaded = stateOf(8, new JobSpan(block, 0, 3, 5));
  const letters = await loadLateLetters(
    loaded,
    async (isWanted) => new Map([...onRecord].filter(([seq]) => isWanted(seq))),
  );
  t.same(letters.toTakeBack(stateOf(20)), [5, 7, 9], "0 was settled before, 6 is another job");
  letters.compare([new JobSpan(block, 0, 3, 8)]);
  t.same(letters.toTakeBack(stateOf(20)), [5, 7], "9 turned out to be another one");
  t.same(letters.toTakeBack(stateOf(20, new JobSpan(block, 1, 2, 6))), [5], "7 is still stranded");
  letters.forget([5]);
  t.same(letters.toTakeBack(stateOf(20)), [7], "5 died again");
  letters.forget([7]);
  t.same(letters.toTakeBack(stateOf(20)), []);
});

t.test("that of a row that could not be sent is taken back once its seq is settled by a job", async (t) => {
  const letters = new LateLetters(new Map([[5, null], [6, null], [7, null]]));
  letters.compare([new JobSpan(block, 0, 3, 5)]);
  letters.forget([6]);
  t.same(letters.toTakeBack(stateOf(5)), []);
  t.same(
    letters.toTakeBack(stateOf(20)),
    [5, 7],
    "6 is such a row again; the others were mended, or moved on",
  );
});

t.test("of a fresh start no letter is looked at", async (t) => {
  const letters = await loadLateLetters(null, () => t.fail("it reads a file of another run") as never);
  t.same(letters.toTakeBack(stateOf(9)), []);
  t.same(new LateLetters().toTakeBack(stateOf(9)), []);
});

t.test("a letter is taken back before the state is saved, and not saved without", async (t) => {
  const late = { span: spanOf(0, ["late"]), history, lease: null };
  const fake = new FakeDisk();
  const first = await openFake(fake);
  await first.save(saved(2, [late]));
  await first.bury([{ seq: 0, job: encode("late"), history }]);
  await first.close();
  const steps: string[] = [];
  let isFull = false;
  fake.onStep = (step, path) => {
    if (isFull && path.endsWith(".dead.ndjson")) throw systemError("ENOSPC");
    steps.push(`${step} ${path}`);
  };
  const store = await openFake(fake);
  await store.save(saved(2, [late]));
  const handled = () => new TextDecoder().decode(fake.get("/d/posts.dead.ndjson")).includes("handled");
  t.notOk(handled(), "it is not done");
  isFull = true;
  const before = fake.get("/d/posts.state");
  await t.rejects(store.save(saved(3)), { name: "SaveError" });
  t.same(fake.get("/d/posts.state"), before, "the state still has its job");
  isFull = false;
  steps.length = 0;
  const both = [store.save(saved(3)), store.save(saved(4))];
  await Promise.all(both);
  t.ok(handled());
  const written = steps.findIndex((step) => /^(?:file )?sync .*dead\.ndjson/.test(step));
  const renamed = steps.findIndex((step) => /^rename .*\.state$/.test(step));
  t.ok(written >= 0 && written < renamed, `durable first: ${written}, ${renamed}`);
  t.equal(new TextDecoder().decode(fake.get("/d/posts.dead.ndjson")).split("handled").length, 2, "once");
  await store.close();
  t.equal((await openFake(fake)).loaded?.handedOut, 4, "saved in order");
});
