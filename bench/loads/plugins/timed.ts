// Jobs of which is recorded when they were yielded, begun and ended.
//   dir=D     where each worker leaves its records
//   jobs=N    how many
//   work=W    what a handler does: see work.ts
//   bytes=B   bytes that each job carries along
//   every=MS  the source waits so long, on average, before each job (0.5 to 1.5 times)
//   burst=N   the source yields so many at once, then waits for `every`
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, JobContext } from "../../../src/plugin/types.ts";
import { nowMs, Times } from "../times.ts";
import { type Work, workOf } from "../work.ts";

type Job = { id: number; atMs?: number; data?: Uint8Array };
type Shared = { work: Work; times: Times };

export function getJobs(last: Job | undefined, ctx: Context): Iterable<Job> | AsyncIterable<Job> {
  const first = last === undefined ? 0 : last.id + 1;
  const jobs = Number(ctx.args.jobs);
  if (ctx.args.every !== undefined) {
    return slowly(first, jobs, Number(ctx.args.every), Number(ctx.args.burst ?? 1));
  }
  return quickly(first, jobs, Number(ctx.args.bytes ?? 0));
}

function* quickly(first: number, jobs: number, bytes: number): Generator<Job> {
  const data = new Uint8Array(bytes);
  for (let id = first; id < jobs; id++) yield bytes === 0 ? { id } : { id, data };
}

async function* slowly(first: number, jobs: number, everyMs: number, burst: number): AsyncGenerator<Job> {
  for (let id = first; id < jobs;) {
    await sleep(burst > 1 ? everyMs : everyMs * (0.5 + Math.random()));
    const atMs = nowMs();
    for (const end = Math.min(jobs, id + burst); id < end; id++) yield { id, atMs };
  }
}

export function setup(ctx: Context): Shared {
  return { work: workOf(ctx.args.work ?? "none"), times: new Times() };
}

export function handleJob({ id, atMs = 0 }: Job, { shared: { work, times } }: JobContext<Shared>): unknown {
  const begunMs = nowMs();
  const working = work(id);
  if (working === undefined) return times.add(id, atMs, begunMs, nowMs());
  return working.then(() => times.add(id, atMs, begunMs, nowMs()));
}

export function teardown(ctx: Context & { shared: Shared }): void {
  ctx.shared.times.save(ctx.args.dir!);
}
