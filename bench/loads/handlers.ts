import { median, sum } from "../statistics.ts";
import { bareRate } from "./bare.ts";
import { atLeast, type Curve, type Load } from "./load.ts";
import { Place, pluginPath } from "./place.ts";
import { allBegunMs, lastEndedMs, readTimes } from "./times.ts";
import { turnsPerMs } from "./work.ts";

const procs = 2;

/** Handlers that wait, and handlers that keep a CPU busy, against bare loops that do the same. */
export const handlers: Load = {
  name: "handlers",
  about: "Slow handlers in two workers, against two bare loops with the same work, in turns",
  async measure(isQuick) {
    const rounds = isQuick ? 1 : 3;
    const seconds = isQuick ? 1 : 4;
    const burn = `burn:${turnsPerMs()}`;
    const busy = await percentOfIdeal(burn, 1, 1000 * procs * seconds, rounds);
    const points: [number, number][] = [];
    for (const concurrency of isQuick ? [100] : [10, 100, 1000]) {
      const jobs = concurrency * procs * 100 * seconds;
      points.push([
        concurrency,
        await percentOfIdeal("wait:10", concurrency, jobs, concurrency === 100 ? rounds : 1),
      ]);
    }
    const waiting = points.find(([concurrency]) => concurrency === 100)![1];
    const curve: Curve = {
      title: "Handlers that wait 10 ms",
      x: "concurrency",
      y: "% of the bare loops",
      points,
    };
    return {
      rows: [
        atLeast("wait 10 ms, concurrency 100", waiting, 97, "% of the bare loops"),
        atLeast("1 ms of CPU, concurrency 1", busy, 95, "% of the bare loops"),
      ],
      curves: isQuick ? [] : [curve],
    };
  },
};

async function percentOfIdeal(
  work: string,
  concurrency: number,
  jobs: number,
  rounds: number,
): Promise<number> {
  const bare: number[] = [], ours: number[] = [];
  for (let round = 0; round < rounds; round++) {
    bare.push(await bareRate(jobs, work, procs, concurrency));
    ours.push(await runRate(jobs, work, concurrency));
  }
  return median(ours) / median(bare) * 100;
}

/** Jobs a second of `taskmaster run`, from when the last worker has begun its first job to when all is done. */
async function runRate(jobs: number, work: string, concurrency: number): Promise<number> {
  using place = new Place();
  const words = [
    `dir=${place.folder}`,
    `jobs=${jobs}`,
    `work=${work}`,
    "--procs",
    procs,
    "--concurrency",
    concurrency,
  ];
  await place.taskmaster("run", pluginPath("timed"), words).endedWith(0);
  const workers = readTimes(place.folder);
  const fromMs = allBegunMs(workers);
  const counted = sum(workers.map((jobs) => jobs.filter(({ begunMs }) => begunMs >= fromMs).length));
  return counted / (lastEndedMs(workers) - fromMs) * 1000;
}
