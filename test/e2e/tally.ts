// A plugin that counts, in each worker and for each id, how often its handler was called: cheap enough for millions.
//   dir=D   where each worker leaves its counts, a byte an id
//   jobs=N  ids 0 .. N-1
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Context, JobContext } from "../../src/plugin/types.ts";

export function* getJobs(last: number | undefined, ctx: Context) {
  for (let id = last === undefined ? 0 : last + 1; id < Number(ctx.args.jobs); id++) yield id;
}

export function setup(ctx: Context): Uint8Array {
  return new Uint8Array(Number(ctx.args.jobs));
}

export function handleJob(id: number, ctx: JobContext<Uint8Array>): void {
  ctx.shared[id]!++;
}

export function teardown(ctx: Context & { shared: Uint8Array }): void {
  writeFileSync(join(ctx.args.dir!, `${process.pid}.tally`), ctx.shared);
}
