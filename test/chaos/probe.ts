// The plugin of chaos. Every process appends records to a file of its own, `<pid>.records`, with one
// write each, so that they survive any death of it. A record is a line `WHAT id ms`, on the wall clock:
//   Y yielded     O yielded again, by a source that goes back   S a worker of the supervisor of that pid began
//   B begun       E ended       X begun and about to misbehave   K skipped
// Arguments:
//   dir=D        where the record files go
//   jobs=N       ids 0 .. N-1; without it, ids without end until the file `D/jobs` says how many
//   reading=R    how `last` is read: exclusive (default), inclusive, or back: some jobs before it are yielded again
//   pause=MS     how long a job takes (0: synchronous)
//   long=K:MS    how long each K-th job takes
//   slow=MS      a pause of the source before each 100 ids
//   bad=IDS:WHAT what these ids do, separated by `+`: loop, exit, kill, throw, skip; more groups behind commas
//   worse=K      each K-th id is bad too: throw, exit, skip, kill, throw, loop in turn
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, JobContext } from "../../src/plugin/types.ts";
import { misbehave, recordRuntime } from "../e2e/probe_parts.ts";

let file: number | undefined;

function record(ctx: Context, what: string, id: number): void {
  file ??= openSync(join(ctx.args.dir!, `${process.pid}.records`), "a");
  writeSync(file, `${what} ${id} ${Date.now()}\n`);
}

/** How far a source that goes back goes. */
const backJobs = 7;

export async function* getJobs(last: { id: number } | undefined, ctx: Context) {
  const { reading } = ctx.args;
  const next = last === undefined ? 0 : reading === "inclusive" ? last.id : last.id + 1;
  const first = reading === "back" ? Math.max(0, next - backJobs) : next;
  const pause = Number(ctx.args.slow ?? 0);
  let jobs = Number(ctx.args.jobs ?? Infinity);
  for (let id = first; id < jobs; id++) {
    if (id % 100 === 0 && pause > 0) await sleep(pause);
    if (ctx.args.jobs === undefined && (id === first || id % 20 === 0)) jobs = jobsToldIn(ctx.args.dir!);
    if (id >= jobs) return;
    record(ctx, id < next ? "O" : "Y", id);
    yield { id };
  }
}

function jobsToldIn(dir: string): number {
  try {
    return Number(readFileSync(join(dir, "jobs"), "utf8"));
  } catch {
    return Infinity;
  }
}

export function handleJob(job: { id: number }, ctx: JobContext): unknown {
  record(ctx, "B", job.id);
  const what = badness(job.id, ctx.args);
  if (what === "skip") {
    record(ctx, "K", job.id);
    ctx.skip("not wanted");
  }
  if (what !== undefined) {
    record(ctx, "X", job.id);
    misbehave(what);
  }
  const [each, longPause] = (ctx.args.long ?? "").split(":").map(Number);
  const pause = each! > 0 && job.id % each! === 0 ? longPause! : Number(ctx.args.pause ?? 0);
  if (pause === 0) return record(ctx, "E", job.id);
  return sleep(pause).then(() => record(ctx, "E", job.id));
}

/** What a job is told to do, if it is a bad one. */
export function badness(
  id: number,
  { bad = "", worse }: Readonly<Record<string, string>>,
): string | undefined {
  if (worse !== undefined && id % Number(worse) === Number(worse) - 1) {
    return ["throw", "exit", "skip", "kill", "throw", "loop"][Math.floor(id / Number(worse)) % 6];
  }
  if (bad === "") return undefined;
  const group = bad.split(",").find((group) => group.split(":")[0]!.split("+").includes(String(id)));
  return group?.split(":")[1];
}

export function setup(ctx: Context): void {
  record(ctx, "S", process.ppid);
  recordRuntime(ctx);
}

export function teardown(): void {
  if (file !== undefined) closeSync(file);
}
