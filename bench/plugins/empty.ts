// Jobs that cost nothing: what is left is taskmaster's own cost.
//   jobs=N     how many
//   shape=S    small: `{ id }`; row: about 230 bytes
//   report=F   where to write { jobs, elapsedMs, peakMiB }: the time from the call of getJobs to the end of the run,
//              and the most memory that master, supervisor and worker ever had (Linux)
import { readFileSync, writeFileSync } from "node:fs";
import type { Context, Summary } from "../../src/plugin/types.ts";
import { row } from "../rows.ts";

let startedAt = 0;

export function* getJobs(last: { id: number } | undefined, ctx: Context) {
  startedAt = performance.now();
  const count = Number(ctx.args.jobs ?? 1_000_000);
  const make = ctx.args.shape === "row" ? row : (id: number) => ({ id });
  for (let id = (last?.id ?? -1) + 1; id < count; id++) yield make(id);
}

export function handleJob(): void {}

export function teardown(ctx: Context): void {
  if (ctx.args.report === undefined) return;
  const peakMiB = { supervisor: peakOf(process.ppid), worker: peakOf(process.pid) };
  writeFileSync(`${ctx.args.report}.worker-${process.pid}`, JSON.stringify(peakMiB));
}

export function onFinish(summary: Summary, ctx: Context): void {
  const elapsedMs = performance.now() - startedAt;
  if (ctx.args.report === undefined) return;
  const report = {
    jobs: summary.done,
    repeated: summary.repeated,
    elapsedMs,
    peakMiB: { master: peakOf(process.pid) },
  };
  writeFileSync(ctx.args.report, JSON.stringify(report));
}

/** Most resident memory a process ever had, in MiB. */
function peakOf(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? NaN) / 1024;
}
