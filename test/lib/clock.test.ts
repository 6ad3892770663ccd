import t from "tap";
import * as clock from "../../src/lib/clock.ts";

t.test("clocks, timers and chance go on, whatever a plugin puts in their place", async (t) => {
  const names = ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"] as const;
  const before = clock.monotonicMs();
  t.intercept(performance, "now", { value: () => NaN });
  t.intercept(Date, "now", { value: () => -1 });
  t.intercept(Math, "random", { value: () => 7 });
  for (const name of names) t.intercept(globalThis, name, { value: () => 0 });
  await new Promise<void>((resolve) => clock.queueMicrotask(resolve));
  await new Promise<void>((resolve) => clock.setImmediate(resolve));
  await new Promise<void>((resolve) => clock.setTimeout(resolve, 1));
  await new Promise<void>((resolve) => {
    const timer = clock.setInterval(() => (clock.clearInterval(timer), resolve()), 1);
  });
  t.ok(clock.monotonicMs() > before);
  t.ok(clock.wallMs() > Date.UTC(2024, 1));
  t.match(clock.isoTime(), /^20\d\d-\d\d-\d\dT/);
  t.ok(clock.random() < 1);
});

t.test("holdNextTick() keeps what the runtime calls by name, until it is let go", async (t) => {
  const { nextTick } = process;
  const letGo = clock.holdNextTick();
  t.teardown(letGo);
  process.nextTick = () => t.fail("the fake one is called");
  t.equal(process.nextTick, nextTick);
  await new Promise<void>((resolve) => process.nextTick(resolve));
  letGo();
  const fake = () => {};
  process.nextTick = fake;
  t.equal(process.nextTick, fake);
  process.nextTick = nextTick;
});

t.test("elapsed() makes of any difference of times a duration that others accept", async (t) => {
  t.same([1.5, 0, -1, NaN, Infinity, -Infinity].map(clock.elapsed), [1.5, 0, 0, 0, 0, 0]);
});
