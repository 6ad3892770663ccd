import { median } from "../statistics.ts";
import { bareTimes } from "./bare.ts";
import { atLeast, atMost, type Load } from "./load.ts";
import { Place, pluginPath } from "./place.ts";
import { lastEndedMs, readTimes, type Timed } from "./times.ts";
import { isDrawn, turnsPerMs } from "./work.ts";

/** How long the slow ones wait. */
const slowMs = 1_000;

/** Few jobs that are ten thousand times as slow as the others. */
export const uneven: Load = {
  name: "uneven",
  about: "Of 1,000 jobs one waits a second, the others take 0.1 ms; four workers; the median of three runs",
  async measure(isQuick) {
    const turns = Math.round(turnsPerMs() / 10);
    const percents: number[] = [];
    for (let round = 0; round < (isQuick ? 1 : 3); round++) {
      percents.push(await percentOfIdeal(isQuick ? 8_000 : 40_000, turns));
    }
    // a slow job behind which there is just a tenth of a second of work, for one worker
    const all = (await timesOf(10_000, `one:${turns}:2000:9000`, 4)).flat();
    const slow = all.find(({ id }) => id === 9_000)!;
    const others = all.filter(({ id }) => id !== 9_000);
    const lastMs = Math.max(...others.map(({ endedMs }) => endedMs)) - slow.begunMs;
    return {
      rows: [
        atLeast("time of the ideal schedule", median(percents), 90, "% of the time taken"),
        atMost(
          "the last 1,000 jobs, with a slow one (2 s) before them: all others done",
          lastMs,
          500,
          "ms after it began",
        ),
      ],
    };
  },
};

async function percentOfIdeal(jobs: number, turns: number): Promise<number> {
  const short = (await bareTimes(2_000, `burn:${turns}`, 1, 1)).flat();
  const shortMs = median(short.map(({ begunMs, endedMs }) => endedMs - begunMs));
  const workers = await timesOf(jobs, `uneven:${turns}:${slowMs}`, 4);
  const firstMs = Math.min(...workers.map((jobs) => jobs[0]!.begunMs));
  const msOf = (id: number) => isDrawn(id) ? slowMs : shortMs;
  return (idealEndMs(workers, msOf) - firstMs) / (lastEndedMs(workers) - firstMs) * 100;
}

/**
 * When the last job ends if each, in the order of the source, goes to the worker that is free first, and takes as long
 * as it does alone on the machine: workers that get in each other's way are not a part of the ideal.
 */
function idealEndMs(workers: readonly (readonly Timed[])[], msOf: (id: number) => number): number {
  const freeMs = workers.map((jobs) => jobs[0]!.begunMs);
  for (const { id } of workers.flat().sort((a, b) => a.id - b.id)) {
    const first = freeMs.indexOf(Math.min(...freeMs));
    freeMs[first]! += msOf(id);
  }
  return Math.max(...freeMs);
}

async function timesOf(jobs: number, work: string, procs: number): Promise<Timed[][]> {
  using place = new Place();
  const words = [`dir=${place.folder}`, `jobs=${jobs}`, `work=${work}`, "--procs", procs];
  await place.taskmaster("run", pluginPath("timed"), words).endedWith(0);
  return readTimes(place.folder);
}
