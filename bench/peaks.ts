import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Rig } from "./rig.ts";
import type { Shape } from "./rows.ts";
import { runTaskmaster } from "./taskmaster.ts";

export const roles = ["master", "supervisor", "worker"] as const;

/** Time of a run, and the most resident memory that each of its processes ever had. */
export type Peaks = Readonly<
  { jobs: number; elapsedMs: number; peakMiB: Readonly<Record<typeof roles[number], number>> }
>;

/** One `taskmaster run` with one worker, over jobs that cost nothing. Linux only. */
export async function runForPeaks(shape: Shape, jobs: number): Promise<Peaks> {
  const rig = new Rig();
  const peakOf = (role: string) => Number(readFileSync(join(rig.folder, `peak-${role}`), "utf8"));
  try {
    const { elapsedMs } = await runTaskmaster(
      { start: "binary", command: "run", procs: 1, member: "default" },
      { shape, jobs },
      rig,
    );
    const peakMiB = { master: peakOf("master"), supervisor: peakOf("supervisor"), worker: peakOf("worker") };
    return { jobs, elapsedMs, peakMiB };
  } finally {
    await rig.end();
  }
}
