import t from "tap";
import {
  headOffset,
  noteFileBytes,
  placesOffset,
  readNote,
  recordOffset,
  type StartNote,
} from "../../src/lib/worker_start.ts";
import type { SlaveMessage } from "../../src/protocol/messages.ts";
import { LeaseLedger } from "../../src/slave/ledger.ts";
import { ResultReporter } from "../../src/slave/result_reporter.ts";
import { startSlave } from "../../src/slave/slave.ts";
import { SliceScheduler } from "../../src/slave/slice_scheduler.ts";
import { takeGeneration, workerCommand } from "../../src/slave/spawn_self.ts";
import {
  isWorthSlice,
  LinkWindow,
  slaveCredit,
  sliceJobs,
  Speed,
  workerRoom,
} from "../../src/slave/speed.ts";
import { Stopping } from "../../src/slave/stopping.ts";
import { ReconnectBackoff } from "../../src/slave/uplink.ts";
import {
  deathReason,
  endedOf,
  suspectsOf,
  UnexplainedDeaths,
  WorkerHandle,
} from "../../src/slave/worker_handle.ts";

t.test("pauses between attempts grow from 0.5 s to two heartbeats, never below 0.25 s", async (t) => {
  const longest = new ReconnectBackoff(() => 1);
  t.same(Array.from({ length: 7 }, () => longest.next(5_000)), [
    500,
    1_000,
    2_000,
    4_000,
    8_000,
    10_000,
    10_000,
  ]);
  const shortest = new ReconnectBackoff(() => 0);
  t.same(Array.from({ length: 3 }, () => shortest.next(5_000)), [250, 250, 250]);
  longest.ended(59_999);
  t.equal(longest.next(5_000), 10_000, "a short connection starts nothing over");
  longest.ended(60_000);
  t.equal(longest.next(5_000), 500, "a minute does");
});

t.test("a worker's speed follows a change by a hundred within a second", async (t) => {
  const speed = new Speed();
  t.equal(speed.perMs(0), 0, "unknown");
  speed.observe(1, 0.01);
  t.ok(speed.perMs(0) > 50, "known at once");
  for (let at = 0; at < 20; at++) speed.observe(10_000, 20);
  t.ok(Math.abs(speed.perMs(0) - 500) < 20);
  for (let at = 0; at < 50; at++) speed.observe(100, 20);
  t.ok(speed.perMs(0) < 7, `slower: ${speed.perMs(0)}`);
  for (let at = 0; at < 50; at++) speed.observe(10_000, 20);
  t.ok(speed.perMs(0) > 480, `faster: ${speed.perMs(0)}`);
  t.ok(speed.perMs(1_000) < 1, "a worker that ends nothing for a second is slow");
});

t.test("what is on its way to a slave is what its link brings in a second or a few", async (t) => {
  const kept = (bytesPerMs: number, jobBytes: number, seconds: number): number => {
    const window = new LinkWindow();
    t.equal(window.jobsMax(2), Infinity, "nothing is known");
    for (let ms = 0; ms < seconds * 1_000; ms += jobBytes / bytesPerMs) window.arrived(1, jobBytes, ms);
    return window.jobsMax(2) * jobBytes / bytesPerMs;
  };
  for (const [bytesPerMs, jobBytes] of [[10, 200], [50, 5_000], [1_000, 20_000]] as const) {
    const ms = kept(bytesPerMs, jobBytes, 60);
    t.ok(ms > 480 && ms < 4_100, `${bytesPerMs} KB/s: ${ms} ms`);
  }
  t.equal(kept(10, 100_000, 60) / 10_000, 2, "at least what its workers run");
  t.ok(kept(100_000, 20, 0.1) > 64, "a quick link fills it in no time");
});

t.test("work that became slow is known after two measurements; one slow job among quick ones changes little", async (t) => {
  const speed = new Speed();
  const quick = () => speed.observe(800, 80);
  for (let at = 0; at < 10; at++) quick();
  speed.observe(8, 80);
  t.ok(speed.perMs(0) > 4, `one slow measurement: ${speed.perMs(0)}`);
  speed.observe(1, 1);
  quick();
  speed.observe(8, 80);
  t.ok(speed.perMs(0) > 4, `another, quick ones between them: ${speed.perMs(0)}`);
  speed.observe(1, 0);
  speed.observe(8, 80);
  t.ok(speed.perMs(0) < 0.11, `two in a row, whatever was too short to tell: ${speed.perMs(0)}`);
});

t.test("credit is what runs and 160 ms ahead, at least one", async (t) => {
  t.equal(slaveCredit(1, [0], 1_000), 1);
  t.equal(slaveCredit(1, [0.001], 1_000), 1, "a job a second: none waits behind it");
  t.equal(
    slaveCredit(1, [0.003125, 0.003125], 1_000),
    3,
    "0.5 ahead in each: one waits for whichever is free",
  );
  t.equal(slaveCredit(100, [2], 1_000), 420);
  t.equal(slaveCredit(1, [3_000], 1_000), 1_000, "never more than the wire carries");
});

t.test("slices are a worker's room at most, and its share of what is queued", async (t) => {
  t.equal(workerRoom(1, 0), 1);
  t.equal(workerRoom(10, 0.5), 60);
  t.equal(sliceJobs(20, 1_000, 2), 20);
  t.equal(sliceJobs(10_000, 100_000, 2), 4_096);
  t.equal(sliceJobs(1_000, 9, 2), 5);
});

t.test("a slice is sent once it is worth a message", async (t) => {
  t.notOk(isWorthSlice(0, 0), "no room");
  t.ok(isWorthSlice(1, 0), "nothing may wait in the worker: each job counts");
  t.notOk(isWorthSlice(9, 20));
  t.ok(isWorthSlice(10, 20), "half of what may wait there has begun");
  t.ok(isWorthSlice(256, 10_000), "so many jobs are worth it in any case");
});

t.test("suspects are what a note says may have run", async (t) => {
  const note = (running: number[], ahead: [number, number], onStack: number | null) =>
    ({ number: 1, running, ahead, onStack }) as const;
  t.same(suspectsOf(null, 1), [], "nothing was noted, so nothing began");
  t.same(suspectsOf(note([3, 5], [9, 12], null), 4), [3, 5, 9, 12]);
  t.same(suspectsOf(note([], [12, 12], null), 4), []);
  t.same(suspectsOf(note([], [9, 12], 10), 1), [10, 11], "one at a time: the one on the stack");
  t.same(suspectsOf(note([3, 4], [9, 12], 10), 4), [3, 4, 9, 11], "those behind it have not begun");
});

t.test("who had ended in a worker that died: what it had begun before what its note names", async (t) => {
  const note = (running: number[], ahead: [number, number], onStack: number | null) =>
    ({ number: 1, running, ahead, onStack }) as const;
  const ended = (n: ReturnType<typeof note> | null, concurrency: number, unanswered: number[][]) =>
    endedOf(n, concurrency, suspectsOf(n, concurrency), unanswered);
  t.same(ended(null, 1, [[0, 9]]), []);
  t.same(ended(note([], [5, 6], null), 1, [[2, 20]]), [2, 5], "those after it have not begun");
  t.same(ended(note([], [5, 9], 7), 1, [[2, 20]]), [2, 7], "the one on the stack");
  t.same(ended(note([3, 4], [7, 9], null), 4, [[2, 20]]), [2, 3, 4, 7], "one still runs");
  t.same(ended(note([], [5, 6], null), 1, [[90, 99], [2, 20], [40, 50]]), [2, 5, 90, 99], "slice by slice");
  t.same(ended(note([8, 9], [10, 10], null), 4, [[2, 10], [40, 50]]), [2, 8, 9, 10], "nothing was to begin");
  t.same(ended(note([], [30, 31], null), 1, [[40, 50]]), [], "all that it names was answered");
});

function noteIn(file: Uint8Array): StartNote | null {
  return readNote((offset, length) => {
    const bytes = new Uint8Array(length);
    bytes.set(file.subarray(offset, offset + length));
    return bytes;
  });
}

function writeNumbers(file: Uint8Array, offset: number, numbers: readonly number[]): void {
  file.set(new Uint8Array(new Float64Array(numbers).buffer), offset);
}

t.test("notes are read as they were written; a record of another note is old", async (t) => {
  const file = new Uint8Array(noteFileBytes);
  t.equal(noteIn(file), null, "an empty file");
  writeNumbers(file, headOffset(0), [7, 20, 30, 0, 0, 0, 3]);
  writeNumbers(file, placesOffset, [5]);
  writeNumbers(file, placesOffset + 16, [8]);
  writeNumbers(file, placesOffset + 32, [1]);
  const counts = new Int32Array(file.buffer, placesOffset);
  [counts[2], counts[10]] = [4, 1];
  t.same(
    noteIn(file),
    { number: 7, running: [1, 2, 5, 9], ahead: [20, 30], onStack: null },
    "the second is free",
  );
  writeNumbers(file, recordOffset, [7, 21]);
  t.equal(noteIn(file)!.onStack, 21);
  writeNumbers(file, headOffset(1), [8, 20, 30, 12, 14, 1, 3]);
  t.equal(noteIn(file)!.number, 7, "not the one that counts");
  new Int32Array(file.buffer)[0] = 1;
  t.same(noteIn(file), { number: 8, running: [1, 2, 12, 14], ahead: [20, 30], onStack: null });
});

t.test("a death is told in words", async (t) => {
  t.equal(deathReason(3, null), "handler exited (3)");
  t.match(deathReason(70, null), /^handler exited \(70\), or changed built-in objects/);
  t.equal(deathReason(null, "SIGSEGV"), "killed by SIGSEGV");
});

t.test("a worker is started with this program's own entry, whoever imports it", async (t) => {
  t.match(workerCommand().args.slice(-2), [/[/\\]mod\.ts$/, "worker"]);
  startedAs("worker", process.ppid);
  process.argv.push("worker");
  t.teardown(() => {
    process.argv.pop();
    takeGeneration();
  });
  const options = { pluginPath: "", exportName: undefined, host: "", port: 1, token: null, log: () => {} };
  const rest = { procs: 1, concurrency: 1, graceMs: undefined };
  t.throws(() => startSlave({ ...options, ...rest }), /started as a worker/);
});

/** The environment that a child of that process begins with. */
function startedAs(generation: string, parentPid: number): void {
  process.env.TASKMASTER_GENERATION = generation;
  process.env.TASKMASTER_PARENT = String(parentPid);
}

t.test("what a worker's handler starts with its environment is no worker", (t) => {
  const cases: [generation: string, parentPid: number, argv: string[], is: string][] = [
    ["worker", process.ppid, ["bun", "mod.ts", "worker"], "worker"],
    ["worker", process.pid, ["bun", "mod.ts", "worker"], "first"],
    ["worker", process.ppid, ["bun", "mod.ts", "run", "plugin.ts"], "first"],
    ["worker", process.pid, ["bun", "mod.ts", "run", "plugin.ts"], "first"],
    // Its parent may have died: it must end then, and not go on as if a person had started it.
    ["slave", process.pid, ["bun", "mod.ts", "slave", "plugin.ts"], "slave"],
    ["master", process.ppid, ["bun", "mod.ts", "worker"], "first"],
  ];
  for (const [generation, parentPid, argv, is] of cases) {
    startedAs(generation, parentPid);
    t.equal(takeGeneration(argv).generation, is, `${generation} of ${parentPid}: ${argv}`);
    t.equal(process.env.TASKMASTER_GENERATION ?? process.env.TASKMASTER_PARENT, undefined, "both are gone");
  }
  t.end();
});

t.test("while an overdue job has the slave for itself, no other worker is given one", async (t) => {
  const ledger = new LeaseLedger();
  ledger.welcome("run");
  ledger.applyKeep([]);
  const lease = (number: number, alone: "no" | "in slave") =>
    ledger.receive({
      name: { masterId: "master", number },
      seq: number,
      count: 1,
      attempt: 1,
      alone,
      jobs: new Uint8Array(1),
      ends: new Uint32Array([1]),
    });
  const handles = [1, 2].map((id) => {
    const process = {
      pid: id,
      isCongested: false,
      hasNotes: true,
      send() {},
      kill() {},
      readNote: () => null,
    };
    const handle = new WorkerHandle(id, process, 0);
    handle.loaded(0);
    handle.setUp({ kind: "setup", args: {}, runId: "run", concurrency: 1, timeoutMs: 0 }, 0);
    handle.prepared(0);
    return handle;
  });
  const scheduler = new SliceScheduler(ledger, new Map());
  lease(1, "in slave");
  lease(2, "no");
  scheduler.feed(handles, 0);
  t.same(handles.map(({ held }) => held), [1, 0]);
  handles[0]!.setOverdue([1, 2], 10);
  scheduler.feed(handles, 20);
  t.same(handles.map(({ held }) => held), [1, 0], "also once it is overdue");
});

t.test("a worker that was told to quit gets no jobs, though it says afterwards that it is prepared", async (t) => {
  const said: string[] = [];
  const process = {
    pid: 1,
    isCongested: false,
    hasNotes: true,
    send: ({ kind }: { kind: string }) => said.push(kind),
    kill: () => said.push("killed"),
    readNote: () => null,
  };
  const setup = { kind: "setup", args: {}, runId: "run", concurrency: 3, timeoutMs: 0 } as const;
  const handle = new WorkerHandle(1, process, 0);
  handle.setUp(setup, 1);
  t.same(said, [], "a worker that has not loaded the plugin is not set up");
  t.ok(handle.loaded(2));
  handle.setUp(setup, 3);
  t.match(handle, { state: "preparing", sinceMs: 3, concurrency: 3, takesJobs: false });
  t.throws(() => handle.give(1, "no", 4), /it takes none/);
  handle.quit(100, 5);
  t.notOk(handle.prepared(6), "too late");
  t.match(handle, { state: "leaving", sinceMs: 5, takesJobs: false, mayRest: false });
  handle.setUp(setup, 7);
  t.same(said, ["setup", "quit"]);
  const verdict = { timedOut: [], suspects: [], reason: "first" };
  handle.condemn(verdict);
  t.throws(() => handle.condemn({ ...verdict, reason: "second" }), /condemned already/);
  t.equal(handle.verdict?.reason, "first");
  t.same(said, ["setup", "quit", "killed"]);
});

t.test("a stop aborts after the grace, kills a second later, and each is said once", async (t) => {
  const busy = { isIdle: false, isSaid: false }, idle = { isIdle: true, isSaid: false };
  const stopping = new Stopping();
  t.equal(stopping.tick(0, idle), null, "no stop");
  stopping.begin("signal", 100, 0);
  t.equal(stopping.tick(99, idle), null, "answers wait for a master within the grace");
  t.same([100, 101, 1_100, 1_101].map((ms) => stopping.tick(ms, busy)), ["abort", null, "kill", null]);
  t.equal(stopping.tick(1_102, idle), "leave", "past the grace answers wait no longer");
  t.equal(stopping.tick(1_103, idle), null);
  stopping.end();
  stopping.begin("master", 100, 2_000);
  stopping.begin("master", 50, 2_000);
  t.equal(stopping.graceLeftMs(2_010), 40, "the grace that ends first holds");
  t.equal(stopping.tick(2_020, idle), null, "a master that drains gets every answer");
  t.equal(stopping.tick(9_000, { isIdle: true, isSaid: true }), "leave");
});

t.test("answers go out while the connection takes them, the rest once it has drained", async (t) => {
  const failure = { seq: 1, how: "threw", message: "", stack: "x".repeat(700_000), durationMs: 1 } as const;
  const answerOf = (number: number) => ({
    number,
    answer: {
      lease: { masterId: "master", number },
      done: [],
      skipped: [],
      failed: [failure],
      crash: null,
      released: [],
    },
  });
  const given = [Array.from({ length: 20 }, (_, index) => answerOf(index + 1)), [answerOf(21)], [], []];
  const sent: SlaveMessage[] = [];
  let room = 3;
  const answers = new ResultReporter({
    ledger: { jobs: 0, takeAnswers: () => given.shift()! } as unknown as LeaseLedger,
    canSend: () => sent.length < room,
    knowsAgain: () => true,
    credit: () => 5,
    isHungry: () => false,
    nowMs: () => 0,
    send: (message) => sent.push(message),
  });
  answers.flush();
  t.equal(sent.length, 3, "no more than it takes");
  t.notOk(answers.isAllSent);
  room = 100;
  answers.flush();
  const said = sent.flatMap((message) => message.kind === "answer" ? [message] : []);
  t.same(said.map(({ number }) => number), Array.from({ length: 21 }, (_, index) => index + 1), "in order");
  t.same(said.map(({ credit }) => credit), [...Array(20).fill(0), 5], "credit with the last");
  t.ok(answers.isAllSent);
});

t.test("what is late is said a few times a second, however often workers say it", async (t) => {
  const sent: SlaveMessage[] = [];
  let nowMs = 0;
  const answers = new ResultReporter({
    ledger: { jobs: 0, takeAnswers: () => [] } as unknown as LeaseLedger,
    canSend: () => true,
    knowsAgain: () => true,
    credit: () => 5,
    isHungry: () => false,
    nowMs: () => nowMs,
    send: (message) => sent.push(message),
  });
  const error = { seq: 1, message: "late" };
  for (; nowMs < 50; nowMs++) answers.late([error], 1);
  t.same(sent, [{ kind: "late", errors: [error], count: 1 }], "the first at once");
  answers.sayLate();
  t.match(sent[1], { count: 49 }, "the rest at the end at the latest");
  answers.late([error], 1);
  answers.stop();
  t.equal(sent.length, 2);
});

t.test("credit is said without an answer where it matters: a worker has nothing to do, or it is another altogether", async (t) => {
  const sent: SlaveMessage[] = [];
  let credit = 7, isHungry = false;
  const answers = new ResultReporter({
    ledger: { jobs: 0, takeAnswers: () => [] } as unknown as LeaseLedger,
    canSend: () => true,
    knowsAgain: () => true,
    credit: () => credit,
    isHungry: () => isHungry,
    nowMs: () => 0,
    send: (message) => sent.push(message),
  });
  answers.readyCredit();
  const says = (now: number, hungry: boolean) => {
    [credit, isHungry] = [now, hungry];
    answers.sayCredit();
    return sent.splice(0).map((message) => message.kind === "credit" ? message.credit : message.kind);
  };
  t.same(says(8, false), [], "a little more, and all are busy");
  t.same(says(8, true), [8], "an eighth worker is ready");
  t.same(says(8, true), [], "once");
  t.same(says(7, true), [], "less is no help to it");
  t.same(says(15, false), []);
  t.same(says(16, false), [16], "twice as much");
  t.same(says(9, false), []);
  t.same(says(8, false), [8], "half as much");
  t.same(says(0, false), [0], "none");
  t.same(says(1, false), [1]);
});

t.test("a note file that a handler wrote into is no note", async (t) => {
  const read = (numbers: readonly number[], which = 0, count = 2) => {
    const bytes = new Uint8Array(noteFileBytes);
    new Int32Array(bytes.buffer, 0, 1)[0] = which;
    writeNumbers(bytes, headOffset(0), numbers);
    writeNumbers(bytes, placesOffset, [2]);
    new Int32Array(bytes.buffer, placesOffset)[2] = count;
    return noteIn(bytes);
  };
  t.same(read([1, 5, 7, 0, 0, 0, 1]), { number: 1, running: [2, 4], ahead: [5, 7], onStack: null });
  t.equal(read([1, 5, 7, 0, 0, 0, 1], 0x78787878), null, "which of the two counts");
  t.equal(read([1, 5, 7, 0, 0, 0, 1.5]), null, "how many places");
  t.equal(read([1, 5, 7, 0, 0, 0, 1e9]), null, "more than there are");
  t.equal(read([1, 5, 7, 0, 0, 2, 1]), null);
  t.equal(read([1, 5, 7, 4, 2, 0, 1]), null, "a range that ends before it begins");
  t.equal(read([1, NaN, 7, 0, 0, 0, 0]), null);
  t.equal(read([1, 5, 7, 0, 0, 0, 1], 0, -2), null, "fewer than no jobs");
  t.equal(noteIn(new Uint8Array(noteFileBytes).fill(0x78)), null);
  t.equal(noteIn(new Uint8Array(3)), null, "cut off");
});

t.test("deaths that nobody is suspected of are explained by who was there twice", async (t) => {
  const deaths = new UnexplainedDeaths();
  t.same(deaths.explain([], []), [], "nothing waited there");
  t.same(deaths.explain([3, 4], [[3, 6]]), [3, 4], "the note names one of those that have not ended");
  t.same(deaths.explain([], [[3, 6], [8, 9]]), [], "the first death says nothing of them");
  t.same(deaths.explain([1, 2], [[4, 7]]), [4, 6], "its note names only what was answered");
  t.same(deaths.explain([], [[6, 7]]), [6, 7]);
  t.same(deaths.explain([], [[8, 9]]), [], "a slice behind the first had not begun");
});

t.test("sessions that do not last slow a slave down, whatever the heartbeat; one that lasts ends that", (t) => {
  const pauses = new ReconnectBackoff(() => 0.5);
  let atMs = 0, sessions = 0;
  while (atMs < 9_000) {
    sessions++;
    pauses.ended(300);
    atMs += 300 + pauses.nextBeside(300, 100);
  }
  t.ok(sessions <= 12, `${sessions} sessions in 9 s`);
  t.ok(pauses.isFlapping);
  t.equal(pauses.next(100), 5_125, "half of 0.25 to 10 s");
  pauses.ended(5_000);
  t.notOk(pauses.isFlapping);
  t.equal(pauses.next(100), 250);
  t.equal(pauses.nextBeside(60_000, 100), 0, "one that lasted is dialed anew at once");
  t.ok(pauses.next(86_400_000) <= 60_000, "a rare heartbeat makes no pause of days");
  t.end();
});
