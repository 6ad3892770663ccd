import { setTimeout as pause } from "node:timers/promises";
import { descendantsOf, proc } from "../proc.ts";
import { median, quantile, sum } from "../statistics.ts";
import { atMost, type Curve, type Load, type Row, shown } from "./load.ts";
import { Place, pluginPath } from "./place.ts";
import { allBegunMs, readTimes, type Timed } from "./times.ts";

/** How long the first jobs of a worker are left out. */
const startMs = 300;

/** Sources that have a job now and then, and sources that have many at once. */
export const sources: Load = {
  name: "sources",
  about:
    "Sources that are idle, or yield in bursts, and handlers that do nothing; two workers; of an idle source, the median of three runs",
  async measure(isQuick) {
    const idle: { p50: number; p99: number }[] = [];
    for (let round = 0; round < (isQuick ? 1 : 3); round++) {
      const waitsMs = (await timesOf([`jobs=${isQuick ? 150 : 1_500}`, "every=15"]))
        .map(({ begunMs, yieldedMs }) => begunMs - yieldedMs);
      idle.push({ p50: median(waitsMs), p99: quantile(waitsMs, 0.99) });
    }
    const points: [number, number][] = [];
    for (const burst of isQuick ? [1000] : [100, 1000, 10_000]) {
      points.push([burst, await burstMs(burst, isQuick)]);
    }
    const thousand = points.find(([burst]) => burst === 1000)![1];
    const curve: Curve = {
      title: "Bursts of a source",
      x: "jobs at once",
      y: ["ms until the last begins"],
      points,
    };
    return {
      rows: [
        atMost(
          "idle source, job to handler, p99",
          median(idle.map(({ p99 }) => p99)),
          5,
          "ms",
          ` (p50 ${shown(median(idle.map(({ p50 }) => p50)))})`,
        ),
        await wakeUps(isQuick),
        atMost("1,000 jobs each second: the last begins after", thousand, 50, "ms"),
      ],
      curves: isQuick ? [] : [curve],
    };
  },
};

/** From the yield of a burst to the beginning of its last job: the median of bursts but the first. */
async function burstMs(burst: number, isQuick: boolean): Promise<number> {
  const jobs = await timesOf([`jobs=${burst * (isQuick ? 3 : 6)}`, "every=1000", `burst=${burst}`]);
  const last = new Map<number, number>();
  for (const { yieldedMs, begunMs } of jobs) {
    last.set(yieldedMs, Math.max(last.get(yieldedMs) ?? 0, begunMs - yieldedMs));
  }
  return median([...last].sort(([a], [b]) => a - b).slice(1).map(([, ms]) => ms));
}

async function timesOf(args: readonly string[]): Promise<Timed[]> {
  using place = new Place();
  await place.taskmaster("run", pluginPath("timed"), [`dir=${place.folder}`, ...args, "--procs", 2])
    .endedWith(0);
  const workers = readTimes(place.folder);
  // what was yielded while the workers were still to start says nothing
  const fromMs = allBegunMs(workers) + startMs;
  return workers.flat().filter(({ yieldedMs }) => yieldedMs > fromMs);
}

/** How often the processes of a run wake that has nothing to do: who polls wakes hundreds of times a second. */
async function wakeUps(isQuick: boolean): Promise<Row> {
  using place = new Place();
  const words = [`dir=${place.folder}`, "jobs=1", "every=60000", "--procs", 1];
  const run = place.taskmaster("run", pluginPath("timed"), words);
  await run.event(({ event }) => event === "joined");
  await pause(2_000); // until its start has passed
  const pids = [run.pid, ...descendantsOf(run.pid).map(({ pid }) => pid)];
  const before = pids.map(wakesOf);
  const seconds = isQuick ? 1 : 4;
  await pause(seconds * 1000);
  const rates = pids.map((pid, at) => (wakesOf(pid) - before[at]!) / seconds);
  const each = ` (master, slave, worker: ${rates.map(shown).join(" + ")})`;
  return atMost("wake-ups of an idle run, main threads", sum(rates), 60, "a second", each);
}

function wakesOf(pid: number): number {
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(proc(pid, "status"))?.[1] ?? NaN);
}
