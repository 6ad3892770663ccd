import { median } from "../statistics.ts";
import { bareRate, bareTimes } from "./bare.ts";
import { atLeast, type Curve, figure, type Load } from "./load.ts";
import { Place, pluginPath } from "./place.ts";
import { allBegunMs, lastEndedMs, rateOver, readTimes, type Stretch, type Timed } from "./times.ts";
import { turnsPerMs } from "./work.ts";

const procs = 2;
const unit = "% of the bare loops";
/** So much longer than what is measured is a run whose jobs may take less time than they did when they were chosen. */
const spare = 1.25;

/** Handlers that wait, and handlers that keep a CPU busy, against bare loops that do the same. */
export const handlers: Load = {
  name: "handlers",
  about:
    "Slow handlers in two workers, against two bare loops with the same work, in turns; of CPU, over the same stretch of their run: its first 4 s, and 8 s after 12 s",
  async measure(isQuick) {
    const rounds = isQuick ? 1 : 3;
    const first: Stretch = isQuick ? [0, 500] : [0, 4_000];
    const later: Stretch = isQuick ? [1_000, 2_000] : [12_000, 20_000];
    const jobs = procs * later[1] * spare;
    const ways = [during(first), during(later)];
    const [atFirst, atLast] = await percentsOfIdeal(`burn:${turnsPerMs()}`, 1, jobs, isQuick ? 1 : 5, ways);
    const waits: [number, number][] = [];
    for (const concurrency of isQuick ? [100] : [100, 1000]) {
      const jobs = concurrency * procs * 100 * (isQuick ? 1 : 8);
      const turns = concurrency === 100 ? rounds : 1;
      const [percent] = await percentsOfIdeal("wait:10", concurrency, jobs, turns, [whole]);
      waits.push([concurrency, percent!]);
    }
    const waiting = waits.find(([concurrency]) => concurrency === 100)![1];
    const curve: Curve = { title: "Handlers that wait 10 ms", x: "concurrency", y: [unit], points: waits };
    return {
      rows: [
        atLeast("wait 10 ms, concurrency 100", waiting, 97, unit),
        figure(`1 ms of CPU, concurrency 1, first ${first[1] / 1000} s`, atFirst!, unit),
        atLeast(`1 ms of CPU, concurrency 1, after ${later[0] / 1000} s`, atLast!, 95, unit),
      ],
      curves: isQuick ? [] : [curve],
    };
  },
};

type Workers = readonly (readonly Timed[])[];
/** Jobs a second: one way to count them in a run of bare loops, and in one of taskmaster. */
type Rates = Readonly<{ ofBare: (loops: Workers) => number; ofOurs: (workers: Workers) => number }>;

const whole: Rates = { ofBare: bareRate, ofOurs: wholeRate };

function during(stretch: Stretch): Rates {
  const rate = (workers: Workers) => rateOver(workers, stretch);
  return { ofBare: rate, ofOurs: rate };
}

/** For each way to count: what part of the bare loops' rate `taskmaster run` has right after them, the median of the rounds. */
async function percentsOfIdeal(
  work: string,
  concurrency: number,
  jobs: number,
  rounds: number,
  ways: readonly Rates[],
): Promise<number[]> {
  const percents = ways.map(() => [] as number[]);
  for (let round = 0; round < rounds; round++) {
    const loops = await bareTimes(jobs, work, procs, concurrency);
    const workers = await runTimes(jobs, work, concurrency);
    ways.forEach(({ ofBare, ofOurs }, at) => percents[at]!.push(ofOurs(workers) / ofBare(loops) * 100));
  }
  return percents.map(median);
}

async function runTimes(jobs: number, work: string, concurrency: number): Promise<Timed[][]> {
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
  return readTimes(place.folder);
}

/** From when the last worker has begun its first job to when all is done. */
function wholeRate(workers: Workers): number {
  const fromMs = allBegunMs(workers), toMs = lastEndedMs(workers);
  const counted = workers.flat().filter(({ begunMs }) => begunMs >= fromMs).length;
  return counted / (toMs - fromMs) * 1000;
}
