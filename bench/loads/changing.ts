import { median } from "../statistics.ts";
import { atMost, type Load } from "./load.ts";
import { Place, pluginPath, type Status, statusesOf } from "./place.ts";
import { readTimes, type Timed } from "./times.ts";
import { turnsPerMs } from "./work.ts";

const procs = 2;
const sampleMs = 100;

/** Work whose cost changes a hundredfold while it runs. */
export const changing: Load = {
  name: "changing",
  about: "Jobs of 0.1 ms, then of 10 ms, then of 0.1 ms again; two workers",
  async measure(isQuick) {
    const turns = Math.round(turnsPerMs() / 10);
    const from = isQuick ? 20_000 : 60_000;
    const to = from + (isQuick ? 400 : 3_000);
    using place = new Place();
    const work = `change:${turns}:${from}:${to}`;
    const words = [`dir=${place.folder}`, `jobs=${to + from}`, `work=${work}`, "--procs", procs];
    const run = place.taskmaster("run", pluginPath("timed"), [
      ...words,
      "--status-interval",
      `${sampleMs}ms`,
    ]);
    await run.endedWith(0);
    const jobs = readTimes(place.folder).flat().sort((a, b) => a.begunMs - b.begunMs);
    const slowedMs = jobs.find(({ id }) => id >= from)!.begunMs;
    // what is behind the slow jobs in a batch may begin before them, elsewhere
    const quickenedMs = jobs.findLast(({ id }) => id >= from && id < to)!.begunMs;
    const slow = jobs.filter(({ id }) => id >= from && id < to).map(({ begunMs, endedMs }) =>
      endedMs - begunMs
    );
    return {
      rows: [
        atMost(
          "slower: until less than 0.5 s of work is leased",
          settledAfterMs(statusesOf(run, slowedMs), slowedMs, median(slow)),
          1000,
          "ms",
        ),
        atMost("quicker: until 90 % of the first rate", rateAfterMs(jobs, slowedMs, quickenedMs), 1000, "ms"),
      ],
    };
  },
};

/** How long until what is leased is less than half a second of work for the workers, and stays so. */
function settledAfterMs(statuses: readonly Status[], sinceMs: number, jobMs: number): number {
  const during = statuses.filter(({ atMs }) => atMs < sinceMs + 2_000);
  const last = during.findLast(({ inFlight }) => inFlight * jobMs / procs > 500);
  return last === undefined ? 0 : last.atMs - sinceMs + sampleMs;
}

/**
 * How long after `sinceMs` jobs end at nine tenths of their median rate up to `untilMs`: over a tenth of a second and the
 * two behind it, so that one lucky tenth is not enough.
 */
function rateAfterMs(jobs: readonly Timed[], untilMs: number, sinceMs: number): number {
  const counts = new Map<number, number>();
  const slotOf = (ms: number) => Math.floor((ms - sinceMs) / sampleMs);
  for (const { endedMs } of jobs) counts.set(slotOf(endedMs), (counts.get(slotOf(endedMs)) ?? 0) + 1);
  const before = [...counts].filter(([slot]) => slot < slotOf(untilMs) - 1).map(([, count]) => count);
  const goal = median(before) * 0.9;
  const lastSlot = Math.max(...counts.keys()) - 1; // the very last is cut short by the end of the run
  const isFast = (slot: number) => slot > lastSlot || (counts.get(slot) ?? 0) >= goal;
  for (let slot = 0; slot <= lastSlot; slot++) {
    if (isFast(slot) && isFast(slot + 1) && isFast(slot + 2)) return (slot + 1) * sampleMs;
  }
  return Infinity;
}
