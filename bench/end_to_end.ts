// How near the binary comes to the bare loop, in one go: `npm run bench`. Rounds are interleaved, for a shared
// machine changes its speed from minute to minute; the ratio of the medians is what counts.
//   npm run bench -- --rounds 5 --procs 1
import { join } from "node:path";
import { parseArgs } from "node:util";
import { execute, root, runEmpty } from "./run_empty.ts";

const { values: { rounds, procs, json } } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    procs: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
// long enough that the start and the first second, in which the code is compiled, count for little
const loads = [{ shape: "small", jobs: 8_000_000 }, { shape: "row", jobs: 1_000_000 }];

const results = loads.map(({ shape, jobs }) => {
  const bare: number[] = [], ours: number[] = [];
  for (let round = 0; round < Number(rounds); round++) {
    bare.push(bareLoop(shape, jobs));
    ours.push(jobs / runEmpty(shape, jobs, Number(procs)).elapsedMs * 1000);
  }
  return { shape, jobs, bare: summary(bare), ours: summary(ours), ratio: median(ours) / median(bare) };
});
if (json) console.log(JSON.stringify(results));
else for (const result of results) print(result);

/** Jobs per second of the bare loop. */
function bareLoop(shape: string, jobs: number): number {
  return Number(execute(process.execPath, [join(root, "bench", "bare_loop.ts"), shape, String(jobs)], root));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function summary(rates: readonly number[]): { median: number; least: number; most: number } {
  return { median: median(rates), least: Math.min(...rates), most: Math.max(...rates) };
}

function print({ shape, bare, ours, ratio }: typeof results[number]): void {
  const rate = ({ median, least, most }: typeof bare) =>
    `${thousands(median)} k/s (${thousands(least)} to ${thousands(most)})`;
  console.log(
    `${shape}: bare loop ${rate(bare)}; run --procs ${procs} ${rate(ours)}; ratio ${ratio.toFixed(2)}`,
  );
}

function thousands(rate: number): string {
  return String(Math.round(rate / 1000));
}
