import t from "tap";
import { watchSlots } from "../../src/lib/watchdog.ts";
import type { JobSignal, Result } from "../../src/plugin/handler.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { bench, done, slice } from "./bench.ts";

t.test("no job begins that is not noted, whether it waits or not", async (t) => {
  const unnoted: number[] = [];
  const b = bench((seq) => {
    if (!b.notes.names(seq)) unnoted.push(seq);
    return seq % 3 === 0 ? Promise.resolve(done) : done;
  }, { concurrency: 4 });
  b.runner.slice(slice(1, 0, 100));
  b.runner.slice(slice(2, 500, 100));
  await b.until(() => b.ended() === 200);
  t.same(unnoted, []);
  t.ok(b.notes.written < 200, `${b.notes.written} notes for 200 jobs`);
});

t.test("a job whose bytes break a rule is buried without being run, and its neighbours run", async (t) => {
  for (
    const [bad, concurrency] of [[[0], 1], [[4], 1], [[9], 3], [[0, 1, 4, 5, 9], 2], [
      [...Array(10).keys()],
      1,
    ]] as const
  ) {
    const ran: number[] = [], unnoted: number[] = [];
    const b = bench((seq) => {
      ran.push(seq);
      if (!b.notes.names(seq)) unnoted.push(seq);
      return seq % 3 === 0 ? Promise.resolve(done) : done;
    }, { concurrency });
    const jobs = Array.from(
      { length: 10 },
      (_, at) => bad.includes(at as never) ? Uint8Array.of(0x61, 0xff) : encode({}),
    );
    b.runner.slice({
      kind: "slice",
      slice: 1,
      seq: 20,
      count: 10,
      attempt: 1,
      jobs: new Uint8Array(Buffer.concat(jobs)),
    });
    b.runner.slice(slice(2, 50, 3));
    await b.until(() => b.ended() === 13);
    const seqs = Array.from({ length: 10 }, (_, at) => 20 + at);
    t.same([ran, unnoted], [[...seqs.filter((seq) => !bad.includes(seq - 20 as never)), 50, 51, 52], []]);
    const failed = b.answers().flatMap((answer) => answer.failed);
    t.same(failed.map(({ seq, how, stack }) => [seq - 20, how, stack]), bad.map((at) => [at, "fatal", ""]));
    t.match(
      failed[0]!.message,
      /^It was not run: its bytes break a rule .*: at 1 there is a text that is not in UTF-8$/,
    );
  }
});

t.test("at most so many run at once, in order", async (t) => {
  let running = 0;
  let most = 0;
  const order: number[] = [];
  const b = bench(async (seq) => {
    order.push(seq);
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    return done;
  }, { concurrency: 3 });
  b.runner.slice(slice(1, 0, 50));
  await b.until(() => b.ended() === 50);
  t.equal(most, 3);
  t.same(order, [...Array(50).keys()]);
  t.same(b.answers().at(-1)!.slice, 1);
});

t.test("a slice of jobs that wait for nothing is one answer of one range", async (t) => {
  const b = bench(() => done);
  b.runner.slice(slice(1, 10, 500));
  await b.until(() => b.ended() === 500);
  t.match(b.answers(), [{ slice: 1, done: [10, 510], skipped: [], failed: [], released: [] }]);
  t.equal(b.answers().length, 1);
});

t.test("what failed or was skipped is told apart", async (t) => {
  const failed: Result = { kind: "failed", how: "threw", message: "no", stack: "x".repeat(20_000) };
  const results: Result[] = [done, failed, { kind: "skipped", reason: "old" }, { kind: "released" }, done];
  const b = bench((seq) => results[seq]!);
  b.runner.slice(slice(1, 0, 5));
  await b.until(() => b.answers().length === 1);
  const [answer] = b.answers();
  t.match(answer, {
    done: [0, 1, 4, 5],
    skipped: [2, 3],
    released: [3, 4],
    failed: [{ seq: 1, how: "threw" }],
  });
  t.ok(answer!.failed[0]!.stack.length < 10_000, "a stack is cut");
});

t.test("a burst of failures is told in parts, and what has not left is among the last words", async (t) => {
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => end = resolve);
  const failed: Result = { kind: "failed", how: "threw", message: "no", stack: "x".repeat(4_000) };
  let isUnsent = true as boolean;
  const b = bench(() => ended.then(() => failed), { concurrency: 1_500, hasUnsent: () => isUnsent });
  b.runner.slice(slice(1, 0, 1_500));
  end();
  await b.until(() => b.ended() === 1_500);
  const sizes = b.answers().map(({ failed }) => failed.reduce((sum, { stack }) => sum + stack.length, 0));
  t.ok(sizes.length > 10 && Math.max(...sizes) <= 256 << 10, `parts of ${sizes}`);
  t.same(new Set(b.answers().flatMap(({ failed }) => failed.map(({ seq }) => seq))).size, 1_500, "each once");
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(b.runner.lastWords().length, sizes.length, "the socket took nothing yet");
  isUnsent = false;
  b.runner.slice(slice(2, 2_000, 1));
  await b.until(() => b.ended() === 1_501);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.same(b.runner.lastWords(), [], "it took all");
});

t.test("withdraw hands back what has not begun", async (t) => {
  let end: (result: Result) => void = () => {};
  const b = bench(() => new Promise<Result>((resolve) => end = resolve));
  b.runner.slice(slice(1, 0, 5));
  b.runner.slice(slice(2, 5, 5));
  b.runner.withdraw();
  t.same(b.answers().map(({ slice, released }) => ({ slice, released })), [
    { slice: 1, released: [1, 5] },
    { slice: 2, released: [5, 10] },
  ]);
  end(done);
  await b.until(() => b.ended() === 1);
  await b.runner.whenIdle();
});

t.test("abort fires the signals of what runs, and hands back what waits", async (t) => {
  const signals: JobSignal[] = [];
  const b = bench((_seq, signal) => {
    signals.push(signal);
    return new Promise<Result>(() => {});
  }, { concurrency: 2 });
  b.runner.slice(slice(1, 0, 4));
  b.runner.abort([1, 3], "lost");
  t.same(signals.map(({ why }) => why), [undefined, "lost"]);
  t.match(b.answers(), [{ released: [2, 4] }]);
});

t.test("past the timeout the signal fires and nothing begins until the handler ended", async (t) => {
  const b = bench(
    (seq, signal) =>
      seq > 0 ? done : new Promise<Result>((resolve) => {
        signal.signal.addEventListener("abort", () => setTimeout(() => resolve(done), 50));
      }),
    { timeoutMs: 30 },
  );
  b.runner.slice(slice(1, 0, 3));
  await b.until(() => b.said.some(({ kind }) => kind === "overdue"));
  t.match(b.answers(), [{ released: [1, 3] }], "what waited is handed back at once");
  b.runner.slice(slice(2, 10, 2));
  t.match(b.answers().at(-1), { slice: 2, released: [10, 12] }, "and what comes meanwhile");
  await b.until(() => b.said.filter(({ kind }) => kind === "overdue").length === 2);
  t.same(b.said.filter(({ kind }) => kind === "overdue").at(-1), { kind: "overdue", jobs: [] });
  b.runner.slice(slice(3, 20, 2));
  await b.until(() => b.answers().some(({ slice }) => slice === 3));
  t.match(b.answers().at(-1), { slice: 3, done: [20, 22] });
});

t.test("the time of a job begins when it does, whatever those before it blocked", async (t) => {
  let clockMs = 0;
  const signals: JobSignal[] = [];
  const b = bench((seq, signal) => {
    clockMs += seq < 3 ? 90 : 50;
    if (seq < 3) return done;
    signals.push(signal);
    return new Promise<Result>(() => {});
  }, { concurrency: 2, timeoutMs: 100, nowMs: () => clockMs });
  b.runner.slice(slice(1, 0, 5));
  t.equal(signals.length, 2, "they began at 270 and 320 ms, and have until 370 and 420");
  clockMs = 369;
  await new Promise((resolve) => setTimeout(resolve, 60)); // an alarm that is due goes off before
  t.same(signals.map(({ why }) => why), [undefined, undefined], "neither has had 100 ms");
  clockMs = 370;
  await b.until(() => signals[0]!.why !== undefined);
  t.equal(signals[1]!.why, undefined);
  clockMs = 420;
  await b.until(() => signals[1]!.why !== undefined);
});

t.test("a handler that waits is overdue in time, however long it blocked first", async (t) => {
  let clockMs = 0;
  const signals: JobSignal[] = [];
  const b = bench((_seq, signal) => {
    signals.push(signal);
    clockMs += 9_950;
    return new Promise<Result>(() => {});
  }, { timeoutMs: 10_000, nowMs: () => clockMs });
  const beganMs = performance.now();
  b.runner.slice(slice(1, 0, 1));
  clockMs = 10_000;
  await b.until(() => signals[0]!.why !== undefined);
  t.ok(performance.now() - beganMs < 9_000, "50 ms were left to it, and not 10 s");
});

t.test("how long a failed job took does not count what others blocked before it", async (t) => {
  let clockMs = 0;
  const failed = { kind: "failed", how: "threw", message: "boom", stack: "" } as const;
  const b = bench((seq) => {
    if (seq === 1) return Promise.resolve(failed);
    clockMs += 300;
    return new Promise<Result>(() => {});
  }, { concurrency: 2, nowMs: () => clockMs });
  b.runner.slice(slice(1, 0, 2));
  clockMs += 200;
  await new Promise((resolve) => setImmediate(resolve));
  b.runner.withdraw(); // forces the answer
  t.match(b.answers().flatMap(({ failed }) => failed), [{ seq: 1, durationMs: 200 }]);
});

t.test("a handler that blocks past the timeout and returns is charged", async (t) => {
  const b = bench((seq) => {
    const untilMs = performance.now() + (seq === 1 ? 40 : 0);
    while (performance.now() < untilMs);
    return done;
  }, { timeoutMs: 20 });
  b.runner.slice(slice(1, 0, 3));
  await b.until(() => b.ended() === 3);
  t.match(b.answers().flatMap(({ failed }) => failed), [{ seq: 1, how: "timed out" }]);
});

t.test("the last words name what runs, and what may not have been heard", async (t) => {
  const b = bench((seq) => {
    if (seq === 3) {
      const words = b.runner.lastWords();
      t.match(words, [{ kind: "answer", slice: 1 }], "what ended in this turn");
      t.same(b.notes.running, [3, 4], "the one on the stack");
      t.equal(b.watch[watchSlots.onStack], 3);
    }
    return done;
  }, { ahead: 1 });
  b.runner.slice(slice(1, 0, 5));
  await b.until(() => b.ended() > 0);
});

t.test("long synchronous work lets timers and sockets have their turn", async (t) => {
  const b = bench(() => {
    const untilMs = performance.now() + 1;
    while (performance.now() < untilMs);
    return done;
  }, { ahead: 1 });
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  b.runner.slice(slice(1, 0, 60));
  await b.until(() => b.ended() === 60);
  clearInterval(timer);
  t.ok(turns >= 4, `${turns} turns in 60 ms of work`);
});

t.test("what a slice did leaves before the next slice begins", async (t) => {
  let hasLeft = false;
  const hadLeft: boolean[] = [];
  const b = bench((seq) => {
    if (seq === 1) hadLeft.push(hasLeft);
    const untilMs = performance.now() + 1;
    while (performance.now() < untilMs);
    return done;
  });
  // as the socket writes: in a microtask after the message
  b.said.push = (message) => {
    queueMicrotask(() => hasLeft = true);
    return Array.prototype.push.call(b.said, message);
  };
  b.runner.slice(slice(1, 0, 1));
  b.runner.slice(slice(2, 1, 1));
  await b.until(() => b.ended() === 2);
  t.same(hadLeft, [true]);
});

t.test("while enough is left to begin, slices that ended are answered together", async (t) => {
  const held: (() => void)[] = [];
  const { runner, answers, ended, until } = bench(
    () => new Promise((resolve) => held.push(() => resolve(done))),
    { concurrency: 2 },
  );
  for (let number = 1; number <= 5; number++) runner.slice(slice(number, 2 * number, 2));
  const end = async (count: number) => {
    for (let i = 0; i < count; i++) {
      await until(() => held.length > 0);
      held.shift()!();
    }
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  await end(4);
  t.equal(answers().length, 0, "4 are left to begin: the first two slices wait");
  await end(2);
  t.equal(ended(), 6, "2 are left and 6 ended: more is to come before they are begun");
  await end(4);
  await until(() => ended() === 10);
});

t.test("answers of one moment share the time by their jobs", async (t) => {
  const held: (() => void)[] = [];
  const { runner, answers, ended, until } = bench(
    () => new Promise((resolve) => held.push(() => resolve(done))),
    { concurrency: 8 },
  );
  runner.slice(slice(1, 1, 2));
  runner.slice(slice(2, 3, 6));
  await until(() => held.length === 8);
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (const end of held) end();
  await until(() => ended() === 8);
  const [first, second] = answers();
  t.ok(first!.busyMs >= 4, `a quarter of 20 ms or more: ${first!.busyMs}`);
  t.ok(Math.abs(second!.busyMs - 3 * first!.busyMs) < 1e-6, `three times as many jobs: ${second!.busyMs}`);
});

t.test("an answer waits its own time, whatever the one before waited for", async (t) => {
  const held: (() => void)[] = [];
  const { runner, ended, until } = bench(() => new Promise((resolve) => held.push(() => resolve(done))));
  const end = async () => {
    await until(() => held.length > 0);
    held.shift()!();
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  };
  runner.slice(slice(1, 1, 6));
  for (let job = 1; job <= 3; job++) await end();
  await until(() => ended() === 3); // a quarter is left to begin
  runner.slice(slice(2, 7, 100));
  await new Promise((resolve) => setTimeout(resolve, 40));
  const beganMs = performance.now();
  await end();
  await until(() => ended() === 4);
  const tookMs = performance.now() - beganMs;
  t.ok(tookMs >= 75, `80 ms, not the rest of those that the first job would have waited: ${tookMs}`);
});

t.test("a slice that ended is answered in time, however much is left to begin", async (t) => {
  const held: (() => void)[] = [];
  const { runner, ended, until } = bench(() => new Promise((resolve) => held.push(() => resolve(done))));
  runner.slice(slice(1, 1, 1));
  runner.slice(slice(2, 2, 100));
  const beganMs = performance.now();
  held[0]!();
  await until(() => ended() === 1);
  const tookMs = performance.now() - beganMs;
  t.ok(tookMs >= 75 && tookMs < 500, `after some 80 ms: ${tookMs}`);
});

t.test("a timeout does not count the time in which the process stood still", async (t) => {
  const clock = { ms: 1_000 };
  let end: (result: Result) => void = () => {};
  const signals: JobSignal[] = [];
  const b = bench((_seq, signal) => {
    signals.push(signal);
    return new Promise((resolve) => end = resolve);
  }, { timeoutMs: 50, nowMs: () => clock.ms });
  b.runner.slice(slice(1, 0, 1));
  clock.ms = 1_030;
  // what the watchdog noted last: nothing was lost, and the next look is due
  b.watch[watchSlots.mostMs] = 1_040;
  clock.ms = 61_030;
  await new Promise((resolve) => setTimeout(resolve, 80)); // the alarm rings: by the clock of the wall it is long overdue
  t.equal(signals[0]!.why, undefined, "it has had 40 ms");
  b.watch[watchSlots.sleptMs] = 59_990;
  b.watch[watchSlots.mostMs] = 1_240;
  clock.ms = 61_045;
  await b.until(() => signals[0]!.why !== undefined);
  t.equal(signals[0]!.why, "timed out", "55 ms are too long");
  end(done);
  await b.until(() => b.ended() === 1);
});

t.test("what fails outside of handlers is told at once, wherever it does", async (t) => {
  const stops = ["said", "ended later", "noted"] as const;
  for (const [at, what] of stops.entries()) {
    const { runner, notes, faults, until } = bench(
      () =>
        at === 1
          ? new Promise((resolve) => setTimeout(() => resolve({ kind: "done" }), 5))
          : { kind: "done" },
    );
    const fault = new Error(what);
    const fail = () => {
      throw fault;
    };
    if (at === 2) {
      notes.cover = fail;
      t.throws(() => runner.slice(slice(1, 0, 3)), fault, "who called hears it");
      continue;
    }
    runner.slice(slice(1, 0, 3));
    notes.rest = fail;
    notes.settle = fail;
    if (at === 1) notes.cover = fail;
    await until(() => faults.length > 0);
    t.equal(faults[0], fault, what);
  }
});
