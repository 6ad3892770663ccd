// Whether memory stays flat however many jobs there are: `npm run bench:memory` runs a million and ten million
// jobs that cost nothing, rows and small ones, and prints the peaks of all three processes.
//   npm run bench:memory -- 1000000 10000000
import process from "node:process";
import { type Peaks, roles, runForPeaks } from "./peaks.ts";
import { shapes } from "./rows.ts";
import { stopSignal } from "./stop.ts";

const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1_000_000, 10_000_000];

if (counts.every((count) => Number.isInteger(count) && count >= 1)) await main(stopSignal());
else {
  console.error(`Cannot run "${process.argv.slice(2).join(" ")}" jobs: these must be whole numbers from 1.`);
  process.exitCode = 2;
}

async function main(signal: AbortSignal): Promise<void> {
  for (const shape of shapes.toReversed()) {
    const runs: Peaks[] = [];
    for (const jobs of counts) runs.push(await runForPeaks(shape, jobs, signal));
    for (const role of roles) {
      const peaks = runs.map(({ peakMiB }) => Math.round(peakMiB[role]));
      const ratio = (peaks.at(-1)! / peaks[0]!).toFixed(2);
      console.log(`${shape}, ${role}: ${peaks.join(" MiB, ")} MiB; last to first ${ratio}`);
    }
  }
}
