import { type Peaks, runForPeaks } from "../peaks.ts";
import { memoryMB } from "../proc.ts";
import type { Rig } from "../rig.ts";
import { measureOnce } from "../rounds.ts";
import type { Shape } from "../rows.ts";
import type { Load as Work } from "../system.ts";
import { runBareLoop } from "../taskmaster.ts";
import { atMost, type Curve, type Load } from "./load.ts";
import { Place, pluginPath } from "./place.ts";

const mebibyte = 1_048_576 / 1e6;

type Run = Peaks & Readonly<{ bareJobsPerSecond: number }>;

/** What the master needs, however long the run and however large the jobs, and what longer runs gain in rate. */
export const memory: Load = {
  name: "memory",
  about:
    "Peak of the master: small jobs that cost nothing, and jobs of 100 kB for handlers that wait 2 ms. Rates: `run` with one worker, and the bare loop, in turns, once each",
  async measure(isQuick, signal) {
    const counts = isQuick ? [200_000, 1_000_000] : [1_000_000, 10_000_000, 50_000_000];
    const reports = await runsOf("small", counts, signal);
    // a row is ten times the work
    const rows = await runsOf("row", counts.map((count) => count / 10), signal);
    const peaks = reports.map(({ jobs, peakMiB }) => [jobs / 1e6, peakMiB.master * mebibyte] as const);
    const [small, large] = [await largeJobs(16, isQuick), await largeJobs(64, isQuick)];
    return {
      rows: [
        atMost(`${reports.at(-1)!.jobs / 1e6} million small jobs`, peaks.at(-1)![1], 120, "MB"),
        atMost(
          `the same, against ${reports[0]!.jobs / 1e6} million`,
          peaks.at(-1)![1] / peaks[0]![1],
          1.15,
          "times",
        ),
        atMost("100 kB a job, --size-bytes 16MiB", small, 120 + 2 * 16 * mebibyte, "MB"),
        atMost("100 kB a job, --size-bytes 64MiB", large, 120 + 2 * 64 * mebibyte, "MB"),
      ],
      curves: isQuick ? [] : [
        { title: "Peak memory of the master", x: "million jobs", y: ["MB"], points: peaks },
        rates("Rate of small jobs", "million jobs", reports),
        rates("Rate of rows", "million rows", rows),
      ] satisfies Curve[],
    };
  },
};

/** One `taskmaster run`, and the bare loop right after it, of each length. */
async function runsOf(shape: Shape, counts: readonly number[], signal: AbortSignal): Promise<Run[]> {
  const bareLoop = { run: (load: Work, rig: Rig) => runBareLoop("binary", load, rig, true) };
  const runs: Run[] = [];
  for (const jobs of counts) {
    const peaks = await runForPeaks(shape, jobs, signal);
    const outcome = await measureOnce(bareLoop, shape, jobs, signal);
    if ("failure" in outcome) throw new Error(`The bare loop: ${outcome.failure}`);
    runs.push({ ...peaks, bareJobsPerSecond: outcome.jobsPerSecond });
  }
  return runs;
}

function rates(title: string, x: string, runs: readonly Run[]): Curve {
  return {
    title,
    x,
    y: ["taskmaster, a second", "bare loop, a second"],
    points: runs.map(({ jobs, jobsPerSecond, bareJobsPerSecond }) =>
      [jobs / 1e6, jobsPerSecond, bareJobsPerSecond] as const
    ),
  };
}

/** Peak of the master, in megabytes, while far more large jobs pass than its buffer may hold. */
async function largeJobs(sizeMiB: number, isQuick: boolean): Promise<number> {
  using place = new Place();
  const words = [`dir=${place.folder}`, `jobs=${isQuick ? 1_000 : 6_000}`, "bytes=100000", "work=wait:2"];
  const run = place.taskmaster("run", pluginPath("timed"), [
    ...words,
    "--size-bytes",
    `${sizeMiB}MiB`,
    "--procs",
    2,
  ]);
  let peak = NaN; // stays so, and no target is met, if it could not be read
  const timer = setInterval(() => {
    const now = memoryMB(run.pid, "peak");
    if (now > 0 && !(now <= peak)) peak = now;
  }, 20).unref();
  await run.endedWith(0);
  clearInterval(timer);
  return peak;
}
