import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { median } from "../statistics.ts";
import { atMost, type Curve, type Load, shown } from "./load.ts";
import type { Program } from "../../test/kit/program.ts";
import { Place, pluginPath } from "./place.ts";

/** From the start of the binary to the first job handled, of a fresh run and of one that goes on. */
export const starts: Load = {
  name: "starts",
  about:
    "`taskmaster run` with one worker, from its start to its first handled job; runs are killed in between",
  async measure(isQuick) {
    const samples = isQuick ? 3 : 12;
    const fresh: number[] = [];
    for (let sample = 0; sample < samples; sample++) {
      using place = new Place();
      fresh.push(await firstJobMs(place, await started(place, 1)));
    }
    const points: [number, number][] = [];
    for (const jobs of isQuick ? [1_000, 100_000] : [1_000, 100_000, 10_000_000]) {
      points.push([jobs, await resumeMs(jobs, isQuick ? 3 : 5)]);
    }
    const [first, last] = [points[0]!, points.at(-1)!];
    const curve: Curve = {
      title: "Starting again",
      x: "jobs done before",
      y: ["ms to the first job"],
      points,
    };
    return {
      rows: [
        atMost(
          "first start, median",
          median(fresh),
          400,
          "ms",
          ` (${shown(Math.min(...fresh))} to ${shown(Math.max(...fresh))})`,
        ),
        atMost(
          `again after ${shown(last[0])} jobs, against after 1,000`,
          last[1] / first[1],
          1.1,
          "times",
          ` (${shown(last[1])} ms)`,
        ),
      ],
      curves: isQuick ? [] : [curve],
    };
  },
};

async function started(place: Place, jobs: number): Promise<Program> {
  rmSync(join(place.folder, "first"), { force: true });
  const words = [`dir=${place.folder}`, `jobs=${jobs}`, "--procs", 1, "--status-interval", "100ms"];
  return await Promise.resolve(place.taskmaster("run", pluginPath("resumed"), words));
}

async function firstJobMs(place: Place, run: Program): Promise<number> {
  const path = join(place.folder, "first");
  while (!existsSync(path) || readFileSync(path, "utf8") === "") {
    if (run.hasEnded) {
      throw new Error(`It ended and handled no job: ${run.stderr}`);
    }
    await pause(10);
  }
  return Number(readFileSync(path, "utf8")) - run.startedMs;
}

/** Median of starts that follow a killed run which had done so many jobs, and whose state said so. */
async function resumeMs(jobs: number, samples: number): Promise<number> {
  using place = new Place();
  const found: number[] = [];
  for (let sample = 0; sample <= samples; sample++) {
    const run = await started(place, jobs);
    const ms = await firstJobMs(place, run);
    if (sample > 0) found.push(ms);
    await run.event(({ event, done }) => event === "status" && done === jobs + sample);
    await pause(1_500); // until that is saved
    run.signal("SIGKILL");
    await run.ended;
  }
  return median(found);
}
