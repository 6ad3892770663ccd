import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readDeadLetters } from "../kit/dead_letters.ts";
import { jobsIn } from "../kit/fake_slave.ts";
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
  t.same([lease.seq, jobsIn(lease)[0]], [1, { id: 1 }]);
  slave.answer(lease, { done: [2, lease.seq + lease.count], failed: [threw(1)] });
  await slave.work();
  t.match((await master.finished).status, { done: 5, dead: 1 });
  t.same(await seqsOnRecord(stateDir), [1, 4]);
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
