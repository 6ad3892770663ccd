import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { noCounts, type RunState } from "../../src/core/types.ts";
import { type Block, JobSpan } from "../../src/lib/bytes.ts";
import { LateDeadLetters, loadLateLetters, Persistence } from "../../src/master/persistence.ts";
import { readDeadLetters, SaveError } from "../../src/state/store.ts";
import { jobsOf } from "./fake_slave.ts";
import { ids, start } from "./harness.ts";

const threw = (seq: number) => ({ seq, how: "threw", message: "boom", stack: "", durationMs: 1 } as const);
const files = ["test.state", "test.dead.ndjson"] as const;

type Getter = (last?: unknown) => Iterable<unknown>;
const six: Getter = (last) => ids(6, last as { id: number } | undefined);

/**
 * What a master of `six` leaves that is killed right after the dead letters of the jobs 1 and 4: its state has 1 and 2
 * as stranded, and the jobs from 3 on as not handed out.
 */
async function killedAfterLetters(t: Parameters<typeof start>[0]): Promise<string> {
  const before = t.testdir();
  const after = join(before, "after");
  mkdirSync(after);
  const { master, join: joinSlave } = await start(t, { getJobs: six }, {
    stateDir: before,
    failuresMax: 1,
  });
  const slave = await joinSlave({ credit: 3 });
  const first = await slave.lease();
  slave.answer(first, { done: [0, 1], credit: 0 });
  await slave.take("saved");
  copyFileSync(join(before, files[0]), join(after, files[0]));
  slave.link.send({ kind: "credit", credit: 5 });
  slave.answer(await slave.lease(), { done: [], failed: [{ ...threw(4), how: "fatal" }], credit: 0 });
  slave.answer(first, { done: [], failed: [{ ...threw(1), how: "fatal" }], credit: 0 });
  while (master.status().dead < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  copyFileSync(join(before, files[1]), join(after, files[1]));
  // or it would still save into a folder that is being removed
  master.stop();
  master.stop();
  await master.finished;
  return after;
}

async function seqsOnRecord(stateDir: string): Promise<number[]> {
  return (await readDeadLetters(join(stateDir, files[1]))).letters.map(({ seq }) => seq);
}

t.test("letters that the state knows nothing of are taken back once their jobs are done", async (t) => {
  const stateDir = await killedAfterLetters(t);
  t.same(await seqsOnRecord(stateDir), [1, 4]);
  const { master, join: joinSlave } = await start(t, { getJobs: six }, { stateDir });
  t.match(master.resumed, { handedOut: 3, stranded: 2, dead: 0 });
  t.equal((await (await joinSlave()).work()).length, 5);
  t.match((await master.finished).status, { done: 6, dead: 0 });
  t.same(await seqsOnRecord(stateDir), []);
  const lines = readFileSync(join(stateDir, files[1]), "utf8").trimEnd().split("\n");
  t.match(JSON.parse(lines.at(-1)!), { handled: /^\d{4}-\d\d-\d\dT.*Z$/ });
  t.equal(lines.length, 4);
});

t.test("letters stay of a job that dies again, and of a seq that is another job now", async (t) => {
  const stateDir = await killedAfterLetters(t);
  const changed: Getter = () => [{ id: 3 }, { id: 40 }, { id: 5 }];
  const { master, join: joinSlave } = await start(t, { getJobs: changed }, { stateDir, failuresMax: 1 });
  const slave = await joinSlave({ credit: 9 });
  const lease = await slave.lease();
  t.same([lease.seq, jobsOf(lease)[0]], [1, { id: 1 }]);
  slave.answer(lease, { done: [2, lease.seq + lease.count], failed: [threw(1)] });
  await slave.work();
  t.match((await master.finished).status, { done: 5, dead: 1 });
  t.same(await seqsOnRecord(stateDir), [1, 4]);
});

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
  const letters = await loadLateLetters({
    loaded,
    lastLetters: async (isWanted) => new Map([...onRecord].filter(([seq]) => isWanted(seq))),
  });
  t.same(letters.settledIn(stateOf(20)), [5, 7, 9], "0 was settled before, 6 is another job");
  letters.compare([new JobSpan(block, 0, 3, 8)]);
  t.same(letters.settledIn(stateOf(20)), [5, 7], "9 turned out to be another one");
  t.same(letters.settledIn(stateOf(20, new JobSpan(block, 1, 2, 6))), [5], "7 is still stranded");
  letters.buried([5, 6]);
  t.same(letters.settledIn(stateOf(20)), [7], "5 died again");
  letters.takenBack([7]);
  t.same(letters.settledIn(stateOf(20)), []);
});

t.test("that of a row that could not be sent is taken back once its seq is settled by a job", async (t) => {
  const letters = new LateDeadLetters(new Map([[5, null], [6, null], [7, null]]));
  letters.compare([new JobSpan(block, 0, 3, 5)]);
  letters.buried([6, 7]);
  t.same(letters.settledIn(stateOf(5)), []);
  t.same(
    letters.settledIn(stateOf(20)),
    [5, 7],
    "6 is such a row again; the others were mended, or moved on",
  );
});

const isMended = { now: false };
const oddRow: Getter = function* (last) {
  for (let id = (last as number | undefined ?? -1) + 1; id < 4; id++) {
    yield id === 1 && !isMended.now ? { id, name: "\ud800" } : { id };
  }
};

t.test("a master killed between a row's letter and the next state: the row is counted once, or runs once mended", async (t) => {
  for (const mended of [false, true]) {
    isMended.now = false;
    const before = t.testdir();
    const after = join(before, "after");
    mkdirSync(after);
    const plugin = { getJobs: oddRow, cursor: (job: unknown) => (job as { id: number }).id };
    const first = await start(t, plugin, { stateDir: before });
    copyFileSync(join(before, files[0]), join(after, files[0]));
    const slave = await first.join({ credit: 1 });
    await slave.lease();
    while (first.master.status().dead < 1) await new Promise((resolve) => setTimeout(resolve, 5));
    copyFileSync(join(before, files[1]), join(after, files[1]));
    first.master.stop();
    first.master.stop();
    await first.master.finished;
    t.same(await seqsOnRecord(after), [1]);

    isMended.now = mended;
    const second = await start(t, plugin, { stateDir: after });
    t.match(second.master.resumed, { handedOut: 0, dead: 0 }, "the state of before the letter");
    await (await second.join()).work();
    const { status } = await second.master.finished;
    t.match(status, mended ? { handedOut: 4, done: 4, dead: 0 } : { handedOut: 4, done: 3, dead: 1 });
    t.same(await seqsOnRecord(after), mended ? [] : [1]);
  }
});

t.test("of a fresh start no letter is looked at", async (t) => {
  const lastLetters = () => t.fail("it reads a file of another run");
  const letters = await loadLateLetters({ loaded: null, lastLetters: lastLetters as never });
  t.same(letters.settledIn(stateOf(9)), []);
  t.same(new LateDeadLetters().settledIn(stateOf(9)), []);
});

t.test("a letter is taken back before the state is saved, and not saved without", async (t) => {
  const calls: string[] = [];
  let isFull = false;
  let state = stateOf(3, new JobSpan(block, 0, 1, 0));
  const saving = new Persistence({
    store: {
      loaded: state,
      save: async () => calls.push("save"),
      bury: async () => {},
      lastLetters: async () => new Map([[0, Uint8Array.of(1)]]),
      handled: async (seqs) => {
        if (isFull) throw new SaveError("full");
        calls.push(`handled ${seqs}`);
      },
    },
    checkpointMs: 1,
    capture: () => ({ version: 1, state }),
    isDirty: () => false,
    onSaved: () => 0,
    onBuried: () => {},
    onNoRoom: () => {},
    onLost: () => {},
    wakeBy: () => {},
    log: () => {},
  });
  await saving.saveFirst();
  t.same(calls, ["save"]);
  [state, isFull] = [stateOf(3), true];
  const hurry = new AbortController();
  hurry.abort();
  t.match(await saving.saveLast(hurry.signal), { message: "full" });
  t.same(calls, ["save"]);
  isFull = false;
  t.equal(await saving.saveLast(hurry.signal), null);
  t.equal(await saving.saveLast(hurry.signal), null);
  t.same(calls, ["save", "handled 0", "save", "save"]);
});
