import t from "tap";
import { setTimeout as sleep } from "node:timers/promises";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Master } from "../../src/master/master.ts";
import type { ControlReply } from "../../src/protocol/messages.ts";
import type { Summary } from "../../src/plugin/types.ts";
import { readState } from "../../src/state/store.ts";
import { dialAs, dialControlAs, jobsIn } from "../kit/fake_slave.ts";
import { ids, start, token } from "./harness.ts";

const threw = (seq: number, message = "boom") => (
  { seq, how: "threw", message, stack: "", durationMs: 1 } as const
);

/** A connection that says nothing more. */
function connect(master: Master, by: typeof dialAs | typeof dialControlAs) {
  return by(master.address, { token, name: "ctl", procs: 0 });
}

t.test("a slave joins, does everything, and is dismissed when the run is complete", async (t) => {
  const { master, join, events } = await start(t, { getJobs: () => ids(25) });
  const slave = await join({ credit: 4 });
  t.same(slave.welcome.runId, master.runId);
  const jobs = await slave.work();
  t.same(jobs, [...ids(25)], "in the order of the source");
  t.same((await slave.take("dismiss").catch(() => null))?.kind, "dismiss");
  const result = await master.finished;
  t.match(result, {
    outcome: { kind: "complete", ignoredLast: false },
    savedFinally: true,
    error: undefined,
  });
  t.match(result.status, { handedOut: 25, done: 25, dead: 0, stranded: 0 });
  t.match(events.map(({ kind }) => kind), ["started", "saved", "joined"], "saved once before anything else");
  t.match(events.slice(-2), [{ kind: "left", session: 1, reason: "the run is complete" }, { kind: "ended" }]);
});

t.test("of each slave that joined it is said once that it left, and of no other", async (t) => {
  const { master, join, event, events } = await start(t, { getJobs: () => ids(9) }, { heartbeatMs: 60_000 });
  const [first] = [
    await join({ name: "first" }),
    await join({ name: "second" }),
    await connect(master, dialAs),
  ];
  await first.lease();
  first.link.close("gone");
  await event("left");
  master.stop();
  master.stop();
  await master.finished;
  const said = events.filter((event) => event.kind === "left");
  t.match(said, [{ slave: "first" }, { slave: "second", reason: "the master leaves" }]);
  t.equal(said.length, 2);
});

t.test("answers are told to be covered once a checkpoint has them", async (t) => {
  const { join } = await start(t, { getJobs: () => ids(25) });
  const slave = await join({ credit: 3 });
  const lease = await slave.lease();
  slave.answer(lease);
  t.ok((await slave.take("saved")).through >= 1);
});

t.test("a failed job is retried alone", async (t) => {
  const { master, join } = await start(t, { getJobs: () => ids(3) });
  const slave = await join({ credit: 3 });
  const lease = await slave.lease();
  t.same([lease.count, lease.attempt], [3, 1]);
  slave.answer(lease, { done: [0, 1, 2, 3], failed: [threw(1)] });
  const again = await slave.lease();
  t.same(jobsIn(again), [{ id: 1 }]);
  t.equal(again.attempt, 2);
  slave.answer(again);
  t.match((await master.finished).status, { done: 3, dead: 0 });
});

t.test("a job without attempts left is a dead letter on disk", async (t) => {
  const { master, join, event } = await start(t, { getJobs: () => ids(3) }, { failuresMax: 1 });
  const slave = await join({ credit: 3 });
  slave.answer(await slave.lease(), { done: [0, 1, 2, 3], failed: [threw(1, "no such row")] });
  t.match(await event("dead letters"), { letters: [{ seq: 1 }] });
  const { outcome, status, deadPath } = await master.finished;
  t.match([outcome.kind, status.done, status.dead], ["complete", 2, 1]);
  const lines = readFileSync(deadPath, "utf8").trimEnd().split("\n");
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0]!), { seq: 1 });
  t.match(lines[0], /no such row/);
});

t.test("a closed connection gives its jobs to another slave", async (t) => {
  const { master, join, event } = await start(t, { getJobs: () => ids(6) });
  const first = await join({ credit: 3 });
  const lease = await first.lease();
  first.link.close("gone");
  t.match(await event("left"), { slave: "fake" });
  const second = await join({ credit: 6 });
  t.same((await second.work()).length, 6);
  t.match((await master.finished).status, { done: 6, handedOut: 6, repeated: lease.count });
});

t.test("a silent slave is given up after three heartbeats", async (t) => {
  const { master, join, event } = await start(t, { getJobs: () => ids(3) }, { heartbeatMs: 40 });
  const silent = await join({ credit: 3 });
  await silent.lease();
  const second = await join({ credit: 3 });
  const beats = setInterval(() => second.link.tick(performance.now()), 10);
  t.teardown(() => clearInterval(beats));
  t.match(await event("left"), { reason: "it was silent for too long" });
  t.equal((await second.work()).length, 3);
  t.match((await master.finished).outcome, { kind: "complete" });
});

t.test("a master that was stalled itself gives nobody up", async (t) => {
  const { join, events } = await start(t, { getJobs: () => ids(3) }, { heartbeatMs: 100 });
  const slave = await join({ credit: 3 });
  const beats = setInterval(() => slave.link.tick(performance.now()), 20);
  t.teardown(() => clearInterval(beats));
  await slave.lease();
  for (let stalls = 0; stalls < 3; stalls++) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.notOk(events.some(({ kind }) => kind === "left"));
});

t.test("a stop waits for what runs, saves, and does not dismiss", async (t) => {
  const { master, join, event } = await start(t, { getJobs: () => ids(1_000) });
  const slave = await join({ credit: 3 });
  const lease = await slave.lease();
  master.stop();
  await event("stopping");
  await slave.take("drain");
  slave.answer(lease, { credit: 0 });
  const result = await master.finished;
  t.match(result, { outcome: { kind: "stopped" }, savedFinally: true });
  t.match(result.status, { done: 3, handedOut: 3, stranded: 0 });
  await slave.closed;
  t.notOk(slave.messages.some(({ kind }) => kind === "dismiss"));
  const { state } = await readState(result.statePath);
  t.match(state, { done: 3, handedOut: 3, stranded: [] }, "the state on disk says the same");
});

t.test("a second stop ends at once, and what ran is stranded", async (t) => {
  const { master, join } = await start(t, { getJobs: () => ids(1_000) }, { graceMs: 60_000 });
  const slave = await join({ credit: 3 });
  await slave.lease();
  master.stop();
  master.stop();
  const result = await master.finished;
  t.match(result, { outcome: { kind: "stopped" }, savedFinally: true });
  t.match(result.status, { done: 0, handedOut: 3, stranded: 3 });
});

t.test("the next start goes on where the last one ended", async (t) => {
  const stateDir = t.testdir();
  const plugin = { getJobs: (last?: unknown) => ids(9, last as { id: number } | undefined) };
  const first = await start(t, plugin, { stateDir });
  t.equal(first.master.resumed, null);
  const slave = await first.join({ credit: 3 });
  slave.answer(await slave.lease(), { done: [0, 2], credit: 3 });
  const done = await slave.take("saved");
  t.ok(done.through >= 1);
  first.master.stop();
  first.master.stop();
  await first.master.finished;

  const second = await start(t, plugin, { stateDir });
  t.equal(second.master.runId, first.master.runId);
  t.match(second.master.resumed, { done: 2, complete: false });
  const jobs = await (await second.join({ credit: 9 })).work();
  const seen = new Set(jobs.map((job) => (job as { id: number }).id));
  t.same([...seen].sort(), [2, 3, 4, 5, 6, 7, 8]);
  t.match((await second.master.finished).status, { done: 9, handedOut: 9, stranded: 0 });
});

t.test("a slave that comes back keeps what it names, and its older session ends", async (t) => {
  const { master, join } = await start(t, { getJobs: () => ids(6) });
  const first = await join({ credit: 3, slaveId: "same" });
  const lease = await first.lease();
  const name = { masterId: first.welcome.masterId, number: lease.number };
  const second = await join({ credit: 6, slaveId: "same", held: [{ lease: name, jobs: [0, 2] }] });
  t.same((await second.take("keep")).leases, [{ lease: name, jobs: [0, 2] }]);
  await first.closed;
  second.answer(lease, { done: [0, 2] });
  await second.work();
  t.match((await master.finished).status, { done: 6, handedOut: 6 });
});

t.test("a slave that outlived its master answers to the next one for what it still has", async (t) => {
  const stateDir = t.testdir();
  const plugin = { getJobs: (last?: unknown) => ids(4, last as { id: number } | undefined) };
  const first = await start(t, plugin, { stateDir });
  const before = await first.join({ credit: 4, slaveId: "same" });
  const lease = await before.lease();
  first.master.stop();
  first.master.stop();
  await first.master.finished;

  const second = await start(t, plugin, { stateDir, reclaimMs: 60_000 });
  t.match(second.master.resumed, { handedOut: 4, stranded: 4 });
  const name = { masterId: before.welcome.masterId, number: lease.number };
  const after = await second.join({ credit: 4, slaveId: "same", held: [{ lease: name, jobs: [0, 3] }] });
  t.same((await after.take("keep")).leases, [{ lease: name, jobs: [0, 3] }]);
  after.answer(lease, { lease: name, done: [0, 3] });
  t.same(await after.work(), [{ id: 3 }], "only what it did not name runs again");
  t.match((await second.master.finished).status, { done: 4, handedOut: 4 });
});

t.test("a job that cannot be sent ends the run, resumable, with what was yielded before it done", async (t) => {
  const { master, join } = await start(t, { getJobs: () => [{ id: 0 }, { id: () => 1 }] });
  const slave = await join({ credit: 5 });
  t.same(await slave.work(), [{ id: 0 }]);
  const { outcome, savedFinally } = await master.finished;
  t.match(outcome, { kind: "source failed", message: /\$\.id/ });
  t.ok(savedFinally);
});

t.test("jobs are numbered over all starts, in warnings and errors too; one that is dropped has no number", async (t) => {
  const stateDir = t.testdir();
  const first = await start(t, { getJobs: () => ids(3) }, { stateDir });
  await (await first.join()).work();
  await first.master.finished;

  const getJobs = (last: unknown) => [last, { id: 3 }, { id: 3 }, { id: () => 1 }];
  const { master, join, logged } = await start(t, { getJobs }, { stateDir });
  t.same(await (await join()).work(), [{ id: 3 }, { id: 3 }], "it reads `last` as inclusive");
  t.match((await master.finished).outcome, { message: /^getJobs yielded job 5,/ });
  t.match(logged.filter((line) => /same cursor/.test(line)), [/Jobs 3 and 4 /]);
});

t.test("both sides name their plugin, and a difference is warned about", async (t) => {
  const { join, event } = await start(t, { getJobs: () => ids(9) });
  await join({ plugin: { name: "other.ts", export: "default", hash: new Uint8Array(32) } });
  t.match(await event("warning"), { message: /other\.ts/ });
});

t.test("a control connection learns the run id, asks, and is no slave", async (t) => {
  const { master, events } = await start(t, { getJobs: () => ids(9) });
  const { link, welcome } = await dialControlAs(master.address, { token, name: "anna@web1:7", procs: 0 });
  t.equal(welcome.runId, master.runId);
  t.ok(welcome.features.includes("control"));
  const answers: ControlReply[] = [];
  let came = () => {};
  link.onMessage = (message) => {
    answers.push(message);
    came();
  };
  const ask = async (id: number, command: string, value: string | null = null) => {
    const answered = new Promise<void>((resolve) => came = resolve);
    link.send({ kind: "ask", id, command, value });
    await answered;
    return answers.at(-1);
  };
  t.match(await ask(1, "status"), {
    kind: "answer",
    id: 1,
    result: { key: "test", reason: { code: "waiting_for_slaves" }, sessions: [] },
  });
  t.match(await ask(2, "pause"), { kind: "answer", id: 2, result: { saveError: null } });
  t.match(events.find(({ kind }) => kind === "control"), { command: "pause", by: "anna@web1:7" });
  t.match(master.snapshot(), { reason: { code: "paused" }, slaves: 0 });
  t.match(await ask(3, "explode"), { kind: "refused", id: 3, message: /knows no command "explode"/ });
  t.match(await ask(4, "pause", "1h"), { kind: "refused", id: 4, message: /takes no value/ });
  t.notOk(events.some(({ kind }) => kind === "joined"));
  master.stop();
  await new Promise<void>((resolve) => link.onClose = () => resolve());
});

t.test("a client that asks without end is ended, and no other", async (t) => {
  const { master } = await start(t, { getJobs: () => ids(9) });
  const { link } = await dialControlAs(master.address, { token, name: "loop", procs: 0 });
  const closed = new Promise<string>((resolve) => link.onClose = resolve);
  for (let id = 1; id < 1_000; id++) link.send({ kind: "ask", id, command: "status", value: null });
  t.match(await closed, /this client asks too much/);
  const other = await dialControlAs(master.address, { token, name: "other", procs: 0 });
  const answered = new Promise((resolve) => other.link.onMessage = resolve);
  other.link.send({ kind: "ask", id: 1, command: "status", value: null });
  t.match(await answered, { kind: "answer" });
  await other.link.close("done");
});

t.test("a setting that cannot be saved counts all the same, and its answer says so", async (t) => {
  const stateDir = t.testdir();
  const { master, event } = await start(t, { getJobs: () => ids(9) }, { stateDir, checkpointMs: 60_000 });
  const { link } = await dialControlAs(master.address, { token, name: "anna", procs: 0 });
  const answer = () => new Promise((resolve) => link.onMessage = resolve);
  // where the temporary file is to be is a folder that is not empty
  rmSync(stateDir, { recursive: true });
  writeFileSync(stateDir, "");
  link.send({ kind: "ask", id: 1, command: "pause", value: null });
  t.match(await answer(), { kind: "answer", result: { saveError: String } });
  link.send({ kind: "ask", id: 2, command: "checkpoint", value: null });
  t.match(await answer(), { kind: "answer", result: { tookMs: null, saveError: String } });
  t.match(master.status(), { reason: { code: "paused" } });
  t.match(await event("warning"), { message: /^Cannot save the state/ }, "whoever listens hears of it");
  rmSync(stateDir);
  mkdirSync(stateDir);
  await link.close("done");
});

t.test("run takes a free port if its own is in use; a master does not", async (t) => {
  const { master } = await start(t, { getJobs: () => ids(9) });
  const { port } = master.address;
  const second = await start(t, { getJobs: () => ids(9) }, { port, portFallback: true, key: "second" });
  t.not(second.master.address.port, port);
  await t.rejects(start(t, { getJobs: () => ids(9) }, { port, key: "third" }), { name: "ConnectError" });
});

t.test("onFinish is told once; what it throws is told, and the run is as complete as it is", async (t) => {
  const told: unknown[] = [];
  const { master, join, logged } = await start(t, {
    getJobs: () => ids(2),
    onFinish(summary) {
      told.push(summary);
      throw new Error("report failed");
    },
  });
  await (await join()).work();
  t.match(await master.finished, {
    outcome: { kind: "complete" },
    savedFinally: true,
    finishFault: { kind: "threw", message: "report failed" },
    error: undefined,
  });
  t.match(told, [{ complete: true, done: 2, handedOut: 2, stranded: 0 }]);
  t.equal(told.length, 1);
  t.ok(logged.some((line) => /report failed/.test(line)));
});

t.test("errors after the end of jobs are counted until the slaves have said goodbye", async (t) => {
  const told: Summary[] = [];
  const { master, join, event } = await start(t, {
    getJobs: () => ids(9),
    onFinish: (summary) => void told.push(summary),
  });
  const slave = await join({ credit: 9, features: ["goodbye"], name: "web1" });
  const other = await join({ credit: 0, name: "stranger" });
  const lease = await slave.lease();
  slave.link.send({ kind: "late", errors: [{ seq: 3, message: "first" }], count: 1 });
  t.match(await event("late"), { slave: "web1", errors: [{ seq: 3, message: "first" }], count: 1 });
  slave.answer(lease);
  await slave.take("dismiss");
  t.match(await other.closed, /./, "who does not say goodbye is not waited for");
  t.equal(told.length, 0, "onFinish waits");
  slave.link.send({ kind: "late", errors: [{ seq: null, message: "second" }], count: 120 });
  void slave.link.close("its workers have ended");
  const { late, outcome } = await master.finished;
  t.match(outcome, { kind: "complete" });
  t.same(late, {
    count: 121,
    errors: [{ seq: 3, message: "first", slave: "web1" }, { seq: null, message: "second", slave: "web1" }],
  });
  t.match(told, [{ complete: true, lateErrors: 121 }]);
});

t.test("what is late without end is counted, and told of now and then", async (t) => {
  const { join, events } = await start(t, { getJobs: () => ids(9) });
  const slave = await join({ credit: 9 });
  const errors = Array.from({ length: 100 }, (_, seq) => ({ seq, message: "late" }));
  for (let said = 0; said < 200; said++) slave.link.send({ kind: "late", errors, count: 150 });
  const late = () => events.flatMap((event) => event.kind === "late" ? [event] : []);
  const counted = () => late().reduce((sum, { count }) => sum + count, 0);
  for (const endMs = Date.now() + 10_000; counted() < 30_000 && Date.now() < endMs;) await sleep(50);
  t.equal(counted(), 30_000, "all of them");
  t.ok(late().length < 10, `in ${late().length} events`);
  t.equal(late().flatMap(({ errors }) => errors).length, 100, "of which as many are named as at the end");
});

t.test("a slave that never says goodbye does not hold up a second stop", async (t) => {
  const { master, join } = await start(t, { getJobs: () => ids(1) });
  const slave = await join({ features: ["goodbye"] });
  slave.answer(await slave.lease());
  await slave.take("dismiss");
  master.stop();
  master.stop();
  t.match(await master.finished, { outcome: { kind: "complete" }, savedFinally: true });
});
