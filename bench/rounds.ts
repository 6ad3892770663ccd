import { setTimeout as sleep } from "node:timers/promises";
import { Rig } from "./rig.ts";
import { type Shape, shapes } from "./rows.ts";
import { median, spreadOf } from "./statistics.ts";
import type { System } from "./system.ts";

/** Longest that one measurement may take, with all that is started for it. */
const measureMsMax = 180_000;

/** What all rounds of one system with one shape of job came to. */
export type Result = Readonly<{
  system: System;
  shape: Shape;
  /** One of each round; NaN where it failed. */
  jobsPerSecond: readonly number[];
  /** User and system time of all its processes. */
  cpuSecondsPerMillion: readonly number[];
  /** What went wrong in rounds that are not counted. */
  failures: readonly string[];
}>;

/** Median of all rounds; NaN where none succeeded. */
export function medianRate(result: Result | undefined): number {
  return spreadOf(result?.jobsPerSecond ?? []).median;
}

/**
 * How many times as fast one is as another: the ratio of each round, in which they were measured minutes apart, and of
 * these the median. NaN where there is none.
 */
export function medianRatio(one: Result | undefined, other: Result | undefined): number {
  return median((one?.jobsPerSecond ?? []).map((rate, round) => rate / (other?.jobsPerSecond[round] ?? NaN)));
}

/**
 * Measures every system once a round, one after the other, so that a machine that is slower for a minute is so for
 * all of them. Whatever a measurement started is gone before the next one; after `abort`, nothing more is started.
 */
export async function measureRounds(
  systems: readonly System[],
  rounds: number,
  scale: number,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<Result[]> {
  const cases = systems.flatMap((system) =>
    shapes.map((shape) => ({
      system,
      shape,
      jobsPerSecond: [] as number[],
      cpuSecondsPerMillion: [] as number[],
      failures: [] as string[],
    }))
  );
  for (let round = 1; round <= rounds; round++) {
    for (const { system, shape, jobsPerSecond, cpuSecondsPerMillion, failures } of cases) {
      const jobs = Math.ceil(system.jobs[shape] * scale);
      const outcome = await measureOnce(system, shape, jobs, signal);
      if ("failure" in outcome) failures.push(outcome.failure);
      const rates = "failure" in outcome ? { jobsPerSecond: NaN, cpuSecondsPerMillion: NaN } : outcome;
      jobsPerSecond.push(rates.jobsPerSecond);
      cpuSecondsPerMillion.push(rates.cpuSecondsPerMillion);
      const said = "failure" in outcome ? outcome.failure : `${Math.round(outcome.jobsPerSecond)} jobs/s`;
      progress(`round ${round} of ${rounds}, ${system.id}, ${shape}: ${said}`);
    }
  }
  return cases;
}

type Outcome = { jobsPerSecond: number; cpuSecondsPerMillion: number } | { failure: string };

export async function measureOnce(
  system: Pick<System, "run">,
  shape: Shape,
  jobs: number,
  signal: AbortSignal,
): Promise<Outcome> {
  signal.throwIfAborted();
  const rig = new Rig();
  const end = () => rig.end();
  const limit = sleep(measureMsMax, undefined, { ref: false }).then(() => {
    throw new Error(`It took longer than ${measureMsMax / 1000} s.`);
  });
  signal.addEventListener("abort", end, { once: true });
  try {
    const { elapsedMs, cpuMs } = await Promise.race([system.run({ shape, jobs }, rig), limit]);
    return { jobsPerSecond: jobs / elapsedMs * 1000, cpuSecondsPerMillion: cpuMs / 1000 / jobs * 1e6 };
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) };
  } finally {
    signal.removeEventListener("abort", end);
    await rig.end();
    signal.throwIfAborted();
  }
}
