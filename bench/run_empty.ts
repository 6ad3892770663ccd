import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname!, "..");
const binary = join(root, "dist", "taskmaster");

/** What a run of bench/plugins/empty.ts measured. */
export type Report = {
  jobs: number;
  repeated: number;
  elapsedMs: number;
  peakMiB: { master: number; supervisor: number; worker: number };
};

/** `taskmaster run` of the compiled binary, over jobs that cost nothing. */
export function runEmpty(shape: string, jobs: number, procs: number): Report {
  if (!existsSync(binary)) throw new Error("dist/taskmaster is missing: run `npm run compile` first.");
  const folder = mkdtempSync(join(tmpdir(), "taskmaster-bench-"));
  try {
    const path = join(folder, "report.json");
    const words = [
      join(root, "bench", "plugins", "empty.ts"),
      `jobs=${jobs}`,
      `shape=${shape}`,
      `report=${path}`,
    ];
    const options = ["--procs", String(procs), "--state-dir", folder, "--host", "127.0.0.1:0", "--quiet"];
    execute(binary, ["run", ...words, ...options], folder);
    const report: Report = JSON.parse(readFileSync(path, "utf8"));
    if (report.jobs !== jobs) throw new Error(`taskmaster handled ${report.jobs} jobs of ${jobs}.`);
    const worker = readdirSync(folder).find((name) => name.includes(".worker-"))!;
    Object.assign(report.peakMiB, JSON.parse(readFileSync(join(folder, worker), "utf8")));
    return report;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a program to its end, ten minutes at most, and returns what it printed on stdout. */
export function execute(command: string, args: readonly string[], cwd: string): string {
  return execFileSync(command, args, {
    cwd,
    encoding: "utf8",
    timeout: 600_000,
    stdio: ["ignore", "pipe", "pipe"],
  });
}
