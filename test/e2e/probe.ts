// The plugin of the end-to-end tests. Every process appends records to a file of its own with one write each, so
// that they survive any death of it, with the wall clock and `ctx.attempt`: `Y id ms` yielded, `B id ms attempt`
// begun, `E id ms attempt` ended.
//   dir=D        where the record files go
//   jobs=N       ids 0 .. N-1
//   reading=R    how `last` is read: exclusive (default) or inclusive
//   pause=MS     how long a job takes (0: synchronous)
//   hold=FILE    the source goes as far as the number in this file says and waits for a larger one (absent: 0)
//   slow=MS      a pause of the source before each 100 ids
//   bytes=N      how much a job weighs, about
//   bad=ID:WHAT,...  what some ids do, after half the pause: loop, exit, kill, throw, outside (a fault that nobody
//                waits for), memory (take all there is)
import { closeSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, JobContext } from "../../src/plugin/types.ts";
import { misbehave, recordRuntime } from "./probe_parts.ts";

let file: number | undefined;

function record(ctx: Context | JobContext, what: string, id: number): void {
  file ??= openSync(join(ctx.args.dir!, `${process.pid}.records`), "a");
  writeSync(file, `${what} ${id} ${Date.now()}${"attempt" in ctx ? ` ${ctx.attempt}` : ""}\n`);
}

let bads: Map<number, string> | undefined;

function badsOf(ctx: Context): Map<number, string> {
  const pairs = (ctx.args.bad ?? "").split(",").filter((pair) => pair !== "").map((pair) => pair.split(":"));
  return new Map(pairs.map(([id, what]) => [Number(id), what!]));
}

export async function* getJobs(last: { id: number } | undefined, ctx: Context) {
  const first = last === undefined ? 0 : ctx.args.reading === "inclusive" ? last.id : last.id + 1;
  const pause = Number(ctx.args.slow ?? 0);
  const weight = ctx.args.bytes === undefined ? {} : { weight: "x".repeat(Number(ctx.args.bytes)) };
  let end = 0;
  for (let id = first; id < Number(ctx.args.jobs); id++) {
    if (pause > 0 && id % 100 === 0) await sleep(pause);
    while (ctx.args.hold !== undefined && id >= end) {
      end = existsSync(ctx.args.hold) ? Number(readFileSync(ctx.args.hold, "utf8")) : 0;
      if (id >= end) await sleep(20);
    }
    record(ctx, "Y", id);
    yield { id, ...weight };
  }
}

export function handleJob(job: { id: number }, ctx: JobContext): unknown {
  record(ctx, "B", job.id);
  const bad = (bads ??= badsOf(ctx)).get(job.id);
  const pause = Number(ctx.args.pause ?? 0);
  if (bad !== undefined) return pause === 0 ? misbehave(bad) : sleep(pause / 2).then(() => misbehave(bad));
  if (pause === 0) return record(ctx, "E", job.id);
  return sleep(pause).then(() => record(ctx, "E", job.id));
}

export { recordRuntime as setup };

export function teardown(): void {
  if (file !== undefined) closeSync(file);
}
