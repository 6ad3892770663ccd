import { type Peaks, runForPeaks } from "../peaks.ts";
import { memoryMB } from "../proc.ts";
import { atMost, type Curve, type Load } from "./load.ts";
import { Place, pluginPath } from "./place.ts";

const mebibyte = 1_048_576 / 1e6;

/** What the master needs, however long the run and however large the jobs. */
export const memory: Load = {
  name: "memory",
  about: "Peak of the master: small jobs that cost nothing, and jobs of 100 kB for handlers that wait 2 ms",
  async measure(isQuick, signal) {
    const reports: Peaks[] = [];
    for (const jobs of isQuick ? [200_000, 1_000_000] : [1_000_000, 10_000_000, 50_000_000]) {
      reports.push(await runForPeaks("small", jobs, signal));
    }
    const peaks = reports.map(({ jobs, peakMiB }) => [jobs / 1e6, peakMiB.master * mebibyte] as const);
    const rates = reports.map(({ jobs, jobsPerSecond }) => [jobs / 1e6, jobsPerSecond] as const);
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
        { title: "Peak memory of the master", x: "million jobs", y: "MB", points: peaks },
        { title: "Rate", x: "million jobs", y: "jobs/s", points: rates },
      ] satisfies Curve[],
    };
  },
};

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
