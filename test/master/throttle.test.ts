import t from "tap";
import { setImmediate as turn } from "node:timers/promises";
import { Throttle } from "../../src/master/throttle.ts";
import type { Context, Throttled } from "../../src/plugin/types.ts";
import { ids, start } from "./harness.ts";

/** A throttle whose clock and answers the test sets; what it told, in order. */
function asked(answers: readonly (() => Throttled | Promise<Throttled>)[]) {
  const told: (string | null)[] = [];
  const askedAtMs: number[] = [];
  let nowMs = 0;
  const signals: AbortSignal[] = [];
  const throttle = new Throttle({
    throttle: ({ signal }: Context) => {
      signals.push(signal);
      const answer = answers[askedAtMs.length] ?? answers.at(-1)!;
      askedAtMs.push(nowMs);
      return answer();
    },
    context: { args: {}, log: { debug() {}, info() {}, warn() {}, error() {} } },
    tell: (reason) => told.push(reason),
    wakeBy: () => {},
    nowMs: () => nowMs,
  });
  const pass = async (ms: number) => {
    for (const endMs = nowMs + ms; nowMs < endMs; nowMs += 100) {
      throttle.tick(nowMs);
      for (let i = 0; i < 3; i++) await turn();
    }
  };
  return { throttle, told, askedAtMs, signals, pass };
}

t.test("nothing is handed out before the first answer; it is asked about once a second", async (t) => {
  const { told, askedAtMs, pass } = asked([() => undefined]);
  t.same(told, ["throttle() has not answered yet"]);
  await pass(5_000);
  t.same(told, ["throttle() has not answered yet", null]);
  t.same(askedAtMs, [0, 1_000, 2_000, 3_000, 4_000]);
});

const closed: readonly [string, () => unknown, RegExp][] = [
  ["true", () => true, /^throttle\(\) says so$/],
  ["a pause", () => ({ pauseMs: 2_000, reason: "replica lag 40 s" }), /^replica lag 40 s$/],
  ["a pause without a reason", () => ({ pauseMs: 2_000 }), /^throttle\(\) asks for 2s$/],
  ["a throw", () => {
    throw new Error("no route\nto host");
  }, /^throttle\(\) threw: .*no route/],
  ["a rejection", () => Promise.reject(new Error("down")), /^throttle\(\) threw: .*down/],
  ["a number", () => 5, /answered neither/],
  ["null", () => null, /answered neither/],
  ["a pause of a week", () => ({ pauseMs: 7 * 86_400_000 }), /answered neither/],
  ["a pause that is none", () => ({ pauseMs: NaN, reason: "x" }), /answered neither/],
  ["a reason that is none", () => ({ pauseMs: 1, reason: {} }), /answered neither/],
];
for (const [what, answer, reason] of closed) {
  t.test(`it fails closed: ${what} holds the fleet, until it says otherwise`, async (t) => {
    const { told, pass } = asked([() => false, answer as () => Throttled, () => undefined]);
    await pass(1_000);
    t.equal(told.at(-1), null);
    await pass(1_000);
    t.match(told.at(-1), reason);
    await pass(3_000);
    t.equal(told.at(-1), null);
  });
}

t.test("a pause is waited for before it is asked again", async (t) => {
  const { askedAtMs, pass } = asked([() => ({ pauseMs: 3_000 }), () => false]);
  await pass(4_500);
  t.same(askedAtMs, [0, 3_000, 4_000]);
});

t.test("no answer for 15 s holds the fleet; a late one counts, and no second question is asked", async (t) => {
  let answer = (_: Throttled) => {};
  const late = new Promise<Throttled>((resolve) => answer = resolve);
  const { throttle, told, askedAtMs, signals, pass } = asked([() => false, () => late, () => false]);
  await pass(15_900);
  t.equal(told.at(-1), null, "not yet");
  await pass(300);
  t.equal(told.at(-1), "throttle() has not answered for 15 s");
  await pass(30_000);
  t.equal(askedAtMs.length, 2);
  answer(false);
  await pass(100);
  t.equal(told.at(-1), null);
  throttle.close();
  t.ok(signals.every(({ aborted }) => aborted), "a stop aborts the signal");
  await pass(5_000);
  t.equal(askedAtMs.length, 2, "and nothing is asked any more");
});

t.test("a master holds its fleet while the plugin says so, and the reason is shown", async (t) => {
  let isHeld = true;
  const { master, join } = await start(t, {
    getJobs: () => ids(20),
    throttle: () => isHeld ? { pauseMs: 50, reason: "the replica lags" } : undefined,
  });
  const slave = await join({ credit: 5 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.match(master.status(), { reason: { code: "throttled", message: "the replica lags" }, handedOut: 0 });
  isHeld = false;
  await slave.work();
  t.match((await master.finished).status, { done: 20 });
});
