// Jobs that hang in the first process that gets them, and are done in the second.
//   dir=D   holds `go-N` once job N may be yielded; `begun-N` and `again-N` are written by handlers
//   jobs=N  how many
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "../../../src/plugin/types.ts";
import { nowMs } from "../times.ts";

export async function* getJobs(_: unknown, ctx: Context) {
  for (let id = 0; id < Number(ctx.args.jobs); id++) {
    while (!existsSync(join(ctx.args.dir!, `go-${id}`))) await sleep(20, undefined, { signal: ctx.signal });
    yield id;
  }
}

export function handleJob(id: number, ctx: Context): Promise<void> | void {
  const begunMs = nowMs();
  if (existsSync(join(ctx.args.dir!, `begun-${id}`))) {
    return writeFileSync(join(ctx.args.dir!, `again-${id}`), String(begunMs));
  }
  writeFileSync(join(ctx.args.dir!, `begun-${id}`), String(process.ppid));
  return new Promise(() => {});
}
