// The ideal: the same work in a loop, in processes that do nothing else.
//   bun bench/loads/bare.ts FOLDER FIRST STEP JOBS WORK CONCURRENCY
import { sum } from "../statistics.ts";
import { lastEndedMs, nowMs, readTimes, type Timed, Times } from "./times.ts";
import { Place } from "./place.ts";
import { workOf } from "./work.ts";

if (import.meta.main) await loop();

async function loop(): Promise<void> {
  const [folder = "", first, step, jobs, words = "", concurrency] = process.argv.slice(2);
  const work = workOf(words);
  const times = new Times();
  let next = Number(first);
  const one = async () => {
    while (next < Number(jobs)) {
      const id = next;
      next += Number(step);
      const begunMs = nowMs();
      const working = work(id);
      if (working !== undefined) await working;
      times.add(id, 0, begunMs, nowMs());
    }
  };
  await Promise.all(Array.from({ length: Number(concurrency) }, one));
  times.save(folder);
}

/** The jobs of bare loops, each in a process of its own. */
export async function bareTimes(
  jobs: number,
  work: string,
  procs: number,
  concurrency: number,
): Promise<Timed[][]> {
  using place = new Place();
  const loops = Array.from(
    { length: procs },
    (_, proc) => place.script("bare", [place.folder, proc, procs, jobs, work, concurrency]),
  );
  for (const loop of loops) await loop.endedWith(0);
  return readTimes(place.folder);
}

/** Jobs a second of bare loops in all; a process counts from its own first job on. */
export function bareRate(loops: readonly (readonly Timed[])[]): number {
  return sum(loops.map((jobs) => jobs.length / (lastEndedMs([jobs]) - jobs[0]!.begunMs) * 1000));
}
