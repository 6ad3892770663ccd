// The plugin of the end-to-end tests. Every process appends records to a file of its own with one write each, so
// that they survive any death of it: `Y id ms` yielded, `B id ms` begun, `E id ms` ended, with the wall clock.
//   dir=D        where the record files go
//   jobs=N       ids 0 .. N-1
//   reading=R    how `last` is read: exclusive (default) or inclusive
//   pause=MS     how long a job takes (0: synchronous)
//   hold=FILE    the source waits for this file before its second half
//   slow=MS      a pause of the source before each 100 ids
//   bad=ID:WHAT  what one id does: loop, exit, kill, throw, reject
import { appendFileSync, closeSync, existsSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, JobContext } from "../../src/plugin/types.ts";

let file: number | undefined;

function record(ctx: Context, what: string, id: number): void {
  file ??= openSync(join(ctx.args.dir!, `${process.pid}.records`), "a");
  writeSync(file, `${what} ${id} ${Date.now()}\n`);
}

export async function* getJobs(last: { id: number } | undefined, ctx: Context) {
  const first = last === undefined ? 0 : ctx.args.reading === "inclusive" ? last.id : last.id + 1;
  const pause = Number(ctx.args.slow ?? 0);
  for (let id = first; id < Number(ctx.args.jobs); id++) {
    if (pause > 0 && id % 100 === 0) await sleep(pause);
    while (ctx.args.hold && id * 2 >= Number(ctx.args.jobs) && !existsSync(ctx.args.hold)) await sleep(20);
    record(ctx, "Y", id);
    yield { id };
  }
}

export function handleJob(job: { id: number }, ctx: JobContext): unknown {
  record(ctx, "B", job.id);
  const [bad, what] = (ctx.args.bad ?? "").split(":");
  if (bad !== "" && Number(bad) === job.id) misbehave(what!);
  const pause = Number(ctx.args.pause ?? 0);
  if (pause === 0) return record(ctx, "E", job.id);
  return sleep(pause).then(() => record(ctx, "E", job.id));
}

export function setup(ctx: Context): void {
  // which runtime answered
  const runtime = "Deno" in globalThis
    ? "deno"
    : "Bun" in globalThis
    ? (process.argv[1]?.startsWith("/$bunfs") ? "binary" : "bun")
    : "node";
  appendFileSync(join(ctx.args.dir!, "runtimes"), `${runtime}\n`);
}

export function teardown(): void {
  if (file !== undefined) closeSync(file);
}

function misbehave(what: string): void {
  switch (what) {
    case "loop":
      for (;;);
    case "exit":
      return process.exit(3);
    case "kill":
      process.kill(process.pid, "SIGKILL");
      for (;;);
    case "throw":
      throw new Error("bad row");
  }
}
