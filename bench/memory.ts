// Whether memory stays flat however many jobs there are: `npm run bench:memory` runs a million and ten million
// jobs that cost nothing, rows and small ones, and prints the peaks of all three processes.
//   npm run bench:memory -- 1000000 10000000
import { runEmpty } from "./run_empty.ts";

const counts = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [1_000_000, 10_000_000];
for (const shape of ["row", "small"]) {
  const reports = counts.map((jobs) => runEmpty(shape, jobs, 1));
  for (const process of ["master", "supervisor", "worker"] as const) {
    const peaks = reports.map((report) => Math.round(report.peakMiB[process]));
    const ratio = (peaks.at(-1)! / peaks[0]!).toFixed(2);
    console.log(`${shape}, ${process}: ${peaks.join(" MiB, ")} MiB; last to first ${ratio}`);
  }
}
