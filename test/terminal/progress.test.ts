import t from "tap";
import { Progress } from "../../src/terminal/progress.ts";

/** A progress whose clock the test turns; its timer's turns are awaited, their number does not matter. */
function progress(t: Tap, terminal: { isLive: boolean; hasStatus: boolean }) {
  const shown: string[] = [];
  let at = 0;
  let count = 500;
  const intervals: number[] = [];
  const made = new Progress({
    terminal: { ...terminal, status: (text) => shown.push(text), say: () => {} },
    intervalMs: 30_000,
    count: () => count,
    line: (rate) => `rate ${rate}`,
    onInterval: (rate) => intervals.push(rate),
    nowMs: () => at,
  });
  t.teardown(() => made.stop());
  return { made, shown, intervals, pass: (ms: number, jobs: number) => (at += ms, count += jobs) };
}

type Tap = { teardown: (end: () => void) => void };

t.test("Progress shows a line when asked, with the rate since it began", async (t) => {
  const { made, shown, pass } = progress(t, { isLive: false, hasStatus: true });
  pass(2_000, 100);
  made.show();
  t.same(shown, ["rate 50"], "what was settled before is left out");
});

t.test("Progress shows a line when asked even if it shows none by itself", async (t) => {
  const { made, shown, pass } = progress(t, { isLive: true, hasStatus: false });
  pass(1_000, 7);
  made.show();
  t.same(shown, ["rate 7"]);
  made.stop();
  t.same(shown, ["rate 7"]);
});

t.test("Progress ends with the last status", async (t) => {
  const { made, shown, intervals, pass } = progress(t, { isLive: false, hasStatus: true });
  pass(1_000, 3);
  made.stop();
  t.same([shown, intervals], [["rate 3"], [3]]);
});
