// How near the binary comes to the bare loop, in one go: `npm run bench`. Rounds are interleaved, for a shared
// machine changes its speed from minute to minute; the ratio of the medians is what counts.
//   npm run bench -- --rounds 5 --procs 1
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = resolve(import.meta.dirname, "..");
const binary = join(root, "dist", "taskmaster");
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    procs: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});
const loads = [{ shape: "small", jobs: 3_000_000 }, { shape: "row", jobs: 500_000 }];

if (!existsSync(binary)) throw new Error("dist/taskmaster is missing: run `npm run compile` first.");
const results = loads.map(({ shape, jobs }) => {
  const bare: number[] = [], ours: number[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    bare.push(bareLoop(shape, jobs));
    ours.push(taskmasterRun(shape, jobs));
  }
  return {
    shape,
    jobs,
    bare: median(bare),
    ours: median(ours),
    ratio: median(ours) / median(bare),
    spread: [spread(bare), spread(ours)],
  };
});
if (values.json) console.log(JSON.stringify(results));
else for (const result of results) print(result);

/** Jobs per second of the bare loop. */
function bareLoop(shape: string, jobs: number): number {
  return Number(execute(process.execPath, [join(root, "bench", "bare_loop.ts"), shape, String(jobs)], root));
}

/** Jobs per second of `taskmaster run`, from the call of `getJobs` to the end of the run. */
function taskmasterRun(shape: string, jobs: number): number {
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-bench-"));
  try {
    const report = join(folder, "report.json");
    const plugin = join(root, "bench", "plugins", "empty.ts");
    execute(binary, [
      "run",
      plugin,
      `jobs=${jobs}`,
      `shape=${shape}`,
      `report=${report}`,
      "--procs",
      values.procs,
      "--state-dir",
      folder,
      "--host",
      "127.0.0.1:0",
      "--quiet",
    ], folder);
    const { jobs: done, elapsedMs } = JSON.parse(readFileSync(report, "utf8"));
    if (done !== jobs) throw new Error(`taskmaster handled ${done} jobs of ${jobs}.`);
    return jobs / elapsedMs * 1000;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function execute(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    timeout: 300_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** Least and most, as parts of the median. */
function spread(values: readonly number[]): string {
  const part = (value: number) => (value / median(values)).toFixed(2);
  return `${part(Math.min(...values))}..${part(Math.max(...values))}`;
}

function print(result: typeof results[number]): void {
  const rate = (value: number) => `${Math.round(value / 1000).toLocaleString("en")} k/s`;
  console.log(
    `${result.shape}: bare loop ${rate(result.bare)} (${
      result.spread[0]
    }), taskmaster run --procs ${values.procs} ` +
      `${rate(result.ours)} (${result.spread[1]}), ratio ${result.ratio.toFixed(2)}`,
  );
}
