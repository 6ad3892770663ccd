import t from "tap";
import { RateMeter } from "../../src/observe/rate_meter.ts";
import { Progress } from "../../src/terminal/terminal.ts";

/** A progress whose clock the test turns; its timer's turns are awaited, their number does not matter. */
function progress(t: Tap, terminal: { isLive: boolean; hasStatus: boolean }) {
  const shown: string[] = [];
  let at = 0;
  let count = 500;
  const meter = new RateMeter();
  const intervals: number[] = [];
  const made = new Progress({
    terminal: {
      ...terminal,
      isTerminal: terminal.isLive,
      status: (line) => shown.push(line(Infinity)),
      say: () => {},
    },
    intervalMs: 30_000,
    onLook: () => meter.sample(count, at),
    line: () => () => `rate ${meter.perSecond}`,
    onInterval: () => intervals.push(meter.perSecond),
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

t.test("Progress redraws on a terminal only while it has that for itself", async (t) => {
  let isLive = true;
  const shown: string[] = [];
  let at = 0;
  const made = new Progress({
    terminal: {
      isTerminal: true,
      hasStatus: true,
      get isLive() {
        return isLive;
      },
      status: (line) => shown.push(line(Infinity)),
      say: () => {},
    },
    intervalMs: 30_000,
    line: () => () => `at ${at}`,
    nowMs: () => at,
  });
  t.teardown(() => made.stop());
  const turn = async (is: boolean, atMs: number) => {
    [isLive, at] = [is, atMs];
    shown.length = 0;
    await new Promise((resolve) => setTimeout(resolve, 700));
    return [...new Set(shown)];
  };
  t.same(await turn(true, 1_000), ["at 1000"], "in the foreground it is redrawn");
  t.same(await turn(false, 2_000), [], "in the background it is not");
  t.same(await turn(false, 31_000), ["at 31000"], "until the interval is over");
  t.same(await turn(true, 32_000), ["at 32000"], "and it is fetched back");
});

t.test("Progress ends with the last status", async (t) => {
  const { made, shown, intervals, pass } = progress(t, { isLive: false, hasStatus: true });
  pass(1_000, 3);
  made.stop();
  t.same([shown, intervals], [["rate 3"], [3]]);
});
