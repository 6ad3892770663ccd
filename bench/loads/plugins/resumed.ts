// Jobs that cost nothing, and then none for as long as the run lasts; the next start yields one more.
//   dir=D   where a file says when a process handled its first job
//   jobs=N  how many the first start yields
//   rows=1  jobs of 230 bytes
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { once } from "node:events";
import type { Context } from "../../../src/plugin/types.ts";
import { row } from "../../rows.ts";
import { nowMs } from "../times.ts";

export async function* getJobs(last: { id: number } | undefined, ctx: Context) {
  const first = last === undefined ? 0 : last.id + 1;
  const end = last === undefined ? Number(ctx.args.jobs) : first + 1;
  const make = ctx.args.rows === undefined ? (id: number) => ({ id }) : row;
  for (let id = first; id < end; id++) yield make(id);
  if (!ctx.signal.aborted) await once(ctx.signal, "abort");
}

let isFirst = true;

export function handleJob(_: { id: number }, ctx: Context): void {
  if (!isFirst) return;
  isFirst = false;
  writeFileSync(join(ctx.args.dir!, "first"), String(nowMs()));
}
