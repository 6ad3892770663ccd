// Whether memory stays flat however many jobs there are: `npm run bench:memory` runs a million and ten million
// jobs that cost nothing, rows and small ones, and prints the peaks of all three processes.
//   npm run bench:memory -- 1000000 10000000
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Rig } from "./rig.ts";
import { type Shape, shapes } from "./rows.ts";
import { runTaskmaster } from "./taskmaster.ts";

const roles = ["master", "supervisor", "worker"] as const;
const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1_000_000, 10_000_000];
for (const shape of shapes.toReversed()) {
  const runs: Record<typeof roles[number], number>[] = [];
  for (const jobs of counts) runs.push(await peaksMiB(shape, jobs));
  for (const role of roles) {
    const peaks = runs.map((run) => run[role]);
    const ratio = (peaks.at(-1)! / peaks[0]!).toFixed(2);
    console.log(`${shape}, ${role}: ${peaks.join(" MiB, ")} MiB; last to first ${ratio}`);
  }
}

async function peaksMiB(shape: Shape, jobs: number): Promise<Record<typeof roles[number], number>> {
  const rig = new Rig();
  try {
    await runTaskmaster(
      { start: "binary", command: "run", procs: 1, member: "default" },
      { shape, jobs },
      rig,
    );
    const peakOf = (role: string) =>
      Math.round(Number(readFileSync(join(rig.folder, `peak-${role}`), "utf8")));
    return { master: peakOf("master"), supervisor: peakOf("supervisor"), worker: peakOf("worker") };
  } finally {
    await rig.end();
  }
}
