import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Rig } from "./rig.ts";
import { measureOnce } from "./rounds.ts";
import type { Shape } from "./rows.ts";
import type { Load } from "./system.ts";
import { runTaskmaster } from "./taskmaster.ts";

export const roles = ["master", "supervisor", "worker"] as const;
type PeakMiB = Readonly<Record<typeof roles[number], number>>;

/** Rate of a run, and the most resident memory that each of its processes ever had. */
export type Peaks = Readonly<{ jobs: number; jobsPerSecond: number; peakMiB: PeakMiB }>;

/** One `taskmaster run` with one worker, over jobs that cost nothing. Linux only. */
export async function runForPeaks(shape: Shape, jobs: number, signal: AbortSignal): Promise<Peaks> {
  const found: PeakMiB[] = [];
  const run = async (load: Load, rig: Rig) => {
    const setup = { start: "binary", command: "run", procs: 1, member: "default" } as const;
    const measured = await runTaskmaster(setup, load, rig);
    const peakOf = (role: string) => Number(readFileSync(join(rig.folder, `peak-${role}`), "utf8"));
    found.push({ master: peakOf("master"), supervisor: peakOf("supervisor"), worker: peakOf("worker") });
    return measured;
  };
  const outcome = await measureOnce({ run }, shape, jobs, signal);
  if ("failure" in outcome) throw new Error(outcome.failure);
  return { jobs, jobsPerSecond: outcome.jobsPerSecond, peakMiB: found[0]! };
}
