// Jobs that cost nothing: what is left is taskmaster's own cost.
//   jobs=N     how many
//   shape=S    small: `{ id }`; row: about 230 bytes
//   report=F   where to write { jobs, elapsedMs }: from the call of getJobs to the end of the run
import { writeFileSync } from "node:fs";
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

export function onFinish(summary: Summary, ctx: Context): void {
  const elapsedMs = performance.now() - startedAt;
  if (ctx.args.report !== undefined) {
    writeFileSync(ctx.args.report, JSON.stringify({ jobs: summary.done, elapsedMs }));
  }
}
