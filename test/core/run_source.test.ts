import t from "tap";
import { headline } from "../../src/core/piece.ts";
import type { RunState } from "../../src/core/types.ts";
import { blockOf, brief, TestRun } from "./fixture.ts";
import { noticeInWords, sourceFaultInWords } from "../../src/observe/phrases.ts";

/** A state after so many jobs were handed out, and all or none of them done. */
function stateAfter(count: number, isDone: boolean): RunState {
  const run = new TestRun().yield(count).join(1, count);
  const [lease] = run.leases();
  if (isDone) run.done(lease!).say({ kind: "source ended" });
  return run.state;
}

t.test("a resume opens the source with the cursor of the furthest job handed out", async (t) => {
  const run = new TestRun(stateAfter(5, true));
  t.same(run.take("open source"), [{ kind: "open source", last: blockOf(4, 1).bytes }]);
});

t.test("jobs have their cursors where they are not their own", async (t) => {
  const block = { ...blockOf(0, 2), cursors: { bytes: Uint8Array.of(7, 8, 9), ends: Uint32Array.of(1, 3) } };
  const run = new TestRun().say({ kind: "yielded", block, moreAtHand: false }).join(1, 2);
  run.leases();
  t.same(run.state.last!.cursor, Uint8Array.of(8, 9));
});

t.test("a source that reads `last` as inclusive: its first job is dropped, uncounted", async (t) => {
  const run = new TestRun(stateAfter(5, true), {}, 4).yield(3).join(1, 10);
  t.same(brief(run.leases()), ["1:5-7 no"]);
  t.equal(run.status.handedOut, 7);
});

t.test("one that reads it as exclusive: nothing is dropped", async (t) => {
  const run = new TestRun(stateAfter(5, true)).yield(3).join(1, 10);
  t.same(brief(run.leases()), ["1:5-8 no"]);
});

t.test("an unfinished run whose source starts over warns, and runs it again", async (t) => {
  const run = new TestRun({ ...stateAfter(5, true), complete: false }, {}, 0).yield(3).join(1, 10);
  const effects = run.run.takeEffects();
  t.match(effects[1], { kind: "notice", notice: { code: "source started over" } });
  t.equal(run.status.inFlight, 3);
});

t.test("what a source that starts over yields again is counted as such, but what is new is not", async (t) => {
  const run = new TestRun({ ...stateAfter(5, true), complete: false }, {}, 0).yield(7).join(1, 3);
  run.done(run.leases()[0]!);
  t.match(run.status, { handedOut: 8, handedOutAgain: 3, repeated: 3, done: 8 });
  // Stopped here. The plugin is mended, and goes on at its `last`: two of the first five are still to come.
  const mended = new TestRun(run.state, { masterId: "m2" }, 3).yield(4).join(2, 10);
  mended.leases();
  t.match(mended.status, { handedOut: 12, handedOutAgain: 5, repeated: 5 }, "seven different jobs");
  // Or it is not, and starts over once more.
  const again = new TestRun(run.state, { masterId: "m2" }, 0).yield(7).join(2, 10);
  again.leases();
  t.match(again.status, { handedOut: 15, handedOutAgain: 8, repeated: 8 }, "seven different jobs, too");
});

t.test("a finished run whose source starts over hands out nothing", async (t) => {
  const state = stateAfter(5, true);
  t.equal(state.complete, true);
  const run = new TestRun(state, {}, 0).join(1, 10).yield(3);
  t.same(run.run.takeEffects().map(({ kind }) => kind), ["open source", "keep", "close source", "end"]);
  t.equal(run.state.complete, true);
  t.equal(run.status.handedOut, 5);
});

t.test("a finished run stays finished until something new is handed out", async (t) => {
  const run = new TestRun(stateAfter(5, true));
  t.equal(run.state.complete, true);
  run.yield(1).join(1, 1);
  t.equal(run.state.complete, true);
  const [lease] = run.leases();
  t.equal(run.state.complete, false);
  run.done(lease!).say({ kind: "source ended" });
  t.equal(run.state.complete, true);
});

t.test("an unfinished run is not complete, though nothing of it is stranded", async (t) => {
  t.equal(new TestRun({ ...stateAfter(5, true), complete: false }).state.complete, false);
});

t.test("a run of one job: its first job again is its last job again", async (t) => {
  const run = new TestRun(stateAfter(1, true), {}, 0).yield(2).join(1, 10);
  t.same(brief(run.leases()), ["1:1-2 no"]);
  t.same(run.warnings(), []);
});

t.test("the hash of the first job is not known before it is handed out", async (t) => {
  const run = new TestRun().yield(1);
  t.equal(run.state.firstJobHash, null);
  t.equal(run.state.last, null);
  run.join(1, 1).leases();
  t.equal(run.state.firstJobHash!.length, 32);
  t.same(run.state.last!.jobHash, run.state.firstJobHash);
});

t.test("a source that throws is opened again after 1, 2, 4, 8 and 16 s, at the last job yielded", async (t) => {
  const run = new TestRun().yield(5).join(1, 2);
  run.run.takeEffects();
  const pauses = [];
  for (let i = 0; i < 5; i++) {
    run.say({ kind: "source failed", message: "gone", fatal: false });
    t.same(run.run.demand(), { jobs: 0, bytes: 0 });
    const startMs = run.nowMs;
    let opened = run.take("open source");
    while (opened.length === 0) opened = run.pass(100).take("open source");
    pauses.push(run.nowMs - startMs);
    t.same(opened[0]!.last, blockOf(4, 1).bytes);
  }
  t.same(pauses, [1_000, 2_000, 4_000, 8_000, 16_000]);
  t.equal(run.reason, "stalled 31s: job 0 at s1");
  run.say({ kind: "source failed", message: "gone", fatal: false });
  t.same(run.take("end"), [], "what it yielded finishes first");
  t.equal(run.reason, "failing: gone");
});

t.test("a source that throws is warned about each time, with when it is called again", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  const [lease] = run.leases();
  const warnings = [];
  const message = "getJobs threw: gone \u001b[2J\nError: gone\n    at getJobs";
  for (let i = 0; i < 6; i++) {
    run.say({ kind: "source failed", message, fatal: false });
    t.equal(run.reason, "failing: getJobs threw: gone \u001b[2J", "whoever shows it makes it safe");
    warnings.push(...run.warnings());
    run.pass(20_000);
  }
  t.same(warnings, [
    ...[1, 2, 4, 8, 16].map((s) => `getJobs threw: gone \\e[2J; it is called again in ${s} s.`),
    "getJobs threw: gone \\e[2J; it threw 6 times without a new job, and is given up. " +
    "What it yielded is finished, then the run ends, resumable.",
  ]);
  run.done(lease!);
  t.same(
    run.take("end")[0]!.outcome,
    { kind: "source failed", message, startedOver: false },
    "with the stack",
  );
});

t.test("the place of an error is told at once, whatever the runtime writes around it", async (t) => {
  const places = {
    "    at getJobs (/srv/my jobs/a.ts:3:9)": "/srv/my jobs/a.ts:3:9",
    "    at async file:///srv/a.ts:3:9": "",
    "    at file:///srv/a.ts:3:9": "/srv/a.ts:3:9",
    "    at new Pages (C:\\jobs\\a.ts:3:9)": "C:\\jobs\\a.ts:3:9",
    "    at map (native:1:11)\n    at pages (/srv/b.ts:1:2)": "/srv/b.ts:1:2",
    "    at next (<anonymous>)": "",
  };
  for (const [stack, place] of Object.entries(places)) {
    const run = new TestRun();
    run.say({ kind: "source failed", message: `getJobs threw: gone\nError: gone\n${stack}`, fatal: false });
    const where = place === "" ? "" : ` It was thrown at ${place}.`;
    t.same(run.warnings()[0]!, `getJobs threw: gone; it is called again in 1 s.${where}`);
  }
});

t.test("a fatal fault is told whole, and no full stop is doubled", async (t) => {
  const run = new TestRun();
  const message = `getJobs called ctx.fatal: ${"x".repeat(500)}.`;
  run.say({ kind: "source failed", message, fatal: true });
  t.same(
    run.warnings()[0]!.startsWith(`${message.slice(0, -1)}; calling it again cannot help. `),
    true,
  );
});

/** The source throws, is opened again, and then yields the run's first jobs, whatever `last` it was given. */
function startOver(run: TestRun): TestRun {
  run.say({ kind: "source failed", message: "getJobs threw: gone\n    at getJobs", fatal: false }).pass(
    20_000,
  );
  return run.say({ kind: "yielded", block: blockOf(0, 2), moreAtHand: false });
}

t.test("a source that throws midway and then starts over is given up: it would never end", async (t) => {
  const run = startOver(new TestRun().yield(3).join(1, 1));
  t.same(run.run.demand(), { jobs: 0, bytes: 0 });
  t.equal(run.status.buffered, 3, "what it yields again is dropped");
  const effects = run.run.takeEffects();
  t.match(effects.map(({ kind }) => kind).join(), /keep,notice,open source,notice,close source,lease$/);
  const first = "getJobs ignores `last`: its first job is the run's first job again, after it threw";
  const advice = "Let getJobs(last) begin at `last`.";
  t.equal(
    effects.flatMap((effect) => effect.kind === "notice" ? [noticeInWords(effect.notice)] : [])[1],
    `${first}, and is given up: getJobs threw: gone. ${advice} ` +
      "What it yielded is finished, then the run ends, resumable.",
  );
  t.same(run.pass(60_000).take("open source"), []);
  run.answer(1, { masterId: "m1", number: 1 }, { done: [0, 1] });
  for (const seq of [1, 2]) run.done(run.leases()[0]!, [seq, seq + 1]);
  const { outcome } = run.take("end")[0]!;
  if (outcome.kind !== "source failed") throw new Error(`it ended otherwise: ${outcome.kind}`);
  t.equal(sourceFaultInWords(outcome), `${first}. ${advice}\ngetJobs threw: gone\n    at getJobs`);
  t.equal(run.state.complete, false);
});

t.test("a resumed run runs again what a source that ignores `last` yields, but once", async (t) => {
  const run = new TestRun({ ...stateAfter(5, true), complete: false });
  startOver(run);
  t.equal(run.status.buffered, 2, "nothing was yielded before it threw");
  startOver(run);
  t.equal(run.status.buffered, 2);
  t.match(run.warnings().at(-1)!, /given up/);
});

t.test("a finished run that has new jobs is not finished, though its source then starts over", async (t) => {
  const run = new TestRun(stateAfter(5, true)).yield(1).join(1, 1);
  run.done(run.leases()[0]!);
  startOver(run);
  t.match(run.take("end")[0]!.outcome, { kind: "source failed" });
  t.equal(run.state.complete, false);
});

t.test("a finished run whose source throws before it starts over is finished still", async (t) => {
  t.same(startOver(new TestRun(stateAfter(5, true))).take("end")[0]!.outcome, {
    kind: "complete",
    ignoredLast: true,
  });
});

t.test("jobs that are all alike are told apart by their cursors", async (t) => {
  const alike = (cursor: number) => ({
    kind: "yielded" as const,
    block: { ...blockOf(7, 1), cursors: { bytes: Uint8Array.of(cursor), ends: Uint32Array.of(1) } },
    moreAtHand: false,
  });
  const run = new TestRun().say(alike(1)).say(alike(2));
  run.say({ kind: "source failed", message: "gone", fatal: false }).pass(20_000).say(alike(3));
  t.equal(run.status.buffered, 3);
  run.say({ kind: "source failed", message: "gone", fatal: false }).pass(20_000).say(alike(1));
  t.equal(run.status.buffered, 3, "this one started over");
});

t.test("one that cannot be called again is warned about once", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  run.leases();
  run.say({ kind: "source failed", message: "job 1 cannot be sent", fatal: true });
  run.say({ kind: "source failed", message: "too late", fatal: true }).pass(60_000);
  t.match(run.warnings(), [/^job 1 cannot be sent; calling it again cannot help\. /]);
});

t.test("a stop ends the wait for a source, without a word", async (t) => {
  const run = new TestRun().say({ kind: "stop" }).say({
    kind: "source failed",
    message: "aborted",
    fatal: false,
  });
  t.same(run.warnings(), []);
});

t.test("headline() is what a message of many lines says", async (t) => {
  for (
    const [message, line] of [
      ["one", "one"],
      ["", ""],
      ["\n\n  one \ntwo", "one"],
      ["getJobs threw: QueryError: \n\nInvalid query\n    at x", "getJobs threw: QueryError: Invalid query"],
      ["getJobs threw:", "getJobs threw:"],
    ] as const
  ) t.equal(headline(message), line);
});

t.test("a new job after a failure starts the count anew; an inclusive first job is none", async (t) => {
  const run = new TestRun().yield(5);
  const failAndWait = () => run.say({ kind: "source failed", message: "gone", fatal: false }).pass(20_000);
  for (let i = 0; i < 4; i++) failAndWait();
  run.say({ kind: "yielded", block: blockOf(4, 1), moreAtHand: false });
  t.equal(run.status.buffered, 5, "it is dropped");
  failAndWait();
  t.ok(run.run.demand().jobs > 0, "the fifth time");
  run.yield(1);
  for (let i = 0; i < 5; i++) failAndWait();
  t.ok(run.run.demand().jobs > 0);
  failAndWait();
  t.same(run.run.demand(), { jobs: 0, bytes: 0 });
});

t.test("a given up source ends the run, resumable, once all it yielded is settled", async (t) => {
  const run = new TestRun().yield(1).join(1, 1);
  const [lease] = run.leases();
  run.say({ kind: "source failed", message: "a function cannot be sent", fatal: true });
  t.same(run.take("end"), []);
  run.done(lease!);
  t.same(run.take("end")[0]!.outcome, {
    kind: "source failed",
    message: "a function cannot be sent",
    startedOver: false,
  });
  t.equal(run.state.complete, false);
});
