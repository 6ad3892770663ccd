// The plugin of the fault table: every job does what the script says. Records as in probe.ts, with the attempt behind
// them, and `A id ms` when the job's signal fired; a source records `S 0 ms` when it is called.
//   dir=D      where the records go, and where files open gates
//   script=S   comma-separated: `200*ok,gate,throw`. Jobs are numbered from 0; words with @ are done by the source
// A job that is called `once-<act>` does it the first time it is ever begun, and is a plain job from then on.
import { appendFileSync, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Context, JobContext } from "../../src/plugin/types.ts";

type Job = { id: number; act: string };

let file: number | undefined;

function record(ctx: Context, what: string, id: number, more: string | number = ""): void {
  file ??= openSync(join(ctx.args.dir!, `${process.pid}.records`), "a");
  writeSync(file, `${what} ${id} ${Date.now()} ${more}\n`);
}

function scriptOf(ctx: Context): string[] {
  return (ctx.args.script ?? "").split(",").flatMap((word) => {
    const [, times = "1", act = word] = /^(\d+)\*(.*)$/.exec(word) ?? [];
    return new Array<string>(Number(times)).fill(act);
  });
}

export async function* getJobs(last: Job | undefined, ctx: Context): AsyncGenerator<Job> {
  record(ctx, "S", 0, JSON.stringify(last?.id ?? null));
  let id = 0;
  for (const act of scriptOf(ctx)) {
    const isPast = last !== undefined && id <= last.id;
    if (act.startsWith("@")) {
      if (!isPast) await pauseSource(act.slice(1), ctx);
      continue;
    }
    if (!isPast) {
      record(ctx, "Y", id);
      yield { id, act };
    }
    id++;
  }
}

async function pauseSource(act: string, ctx: Context): Promise<void> {
  const [what, text = ""] = act.split(":");
  if (what === "block") block(Number(text));
  if (what === "gate") await gate(ctx, text);
  if (what === "stuck") await new Promise(() => {});
  if (what === "throw") throw new Error(`the source broke at ${text}`);
  if (what === "throw-once" && isFirst(ctx, `source.${text}`)) throw new Error(`the source broke at ${text}`);
}

export async function handleJob(job: Job, ctx: JobContext): Promise<unknown> {
  const { id } = job;
  let { act } = job;
  if (act.startsWith("once-")) act = isFirst(ctx, String(id)) ? act.slice("once-".length) : "ok";
  // Tests kill a worker as soon as this record is there: by then it is known that the job has begun once.
  record(ctx, "B", id, ctx.attempt);
  const [what, text = ""] = act.split(":");
  const result = await perform(what!, text, job, ctx);
  record(ctx, "E", id, ctx.attempt);
  return result;
}

function perform(what: string, text: string, job: Job, ctx: JobContext): unknown {
  switch (what) {
    case "ok":
      return;
    case "wait":
      return sleep(Number(text));
    case "block":
      return block(Number(text));
    case "gate":
    case "stubborn":
      return gate(ctx, text, { id: job.id, endsAtAbort: what === "gate" });
    case "hang":
      ctx.signal.addEventListener("abort", () => record(ctx, "A", job.id, ctx.attempt));
      return new Promise(() => {});
    case "loop":
      return block(Infinity);
    case "effect-then-loop":
      record(ctx, "E", job.id, ctx.attempt);
      return block(Infinity);
    case "exit":
      return process.exit(3);
    case "down":
      if (existsSync(join(ctx.args.dir!, "down"))) throw new Error("the database is down");
      return;
    case "mutate":
      if (job.act !== "mutate") throw new Error("somebody else's change arrived");
      Object.assign(job, { id: -1, act: "mutated", more: new Uint8Array(1 << 20) });
      throw new Error("changed its job");
    case "huge":
      return "x".repeat(32 << 20);
    case "function":
      return () => process;
    case "throws":
      return throwThis(text);
  }
  throw new Error(`no such act: ${what}`);
}

function throwThis(what: string): never {
  const fail = () => {
    throw new Error("not even this");
  };
  switch (what) {
    case "text":
      throw "just a text";
    case "nothing":
      throw undefined;
    case "proxy":
      throw new Proxy({}, { get: fail, getPrototypeOf: fail, ownKeys: fail, has: fail });
    case "getter":
      throw Object.defineProperty(new Error("x"), "message", { get: fail });
    case "megabyte":
      throw new Error("m".repeat(1 << 20));
    case "deep":
      return deep(200);
    case "escapes":
      throw new Error("\u001b[2J\u001b]0;owned\u0007 red\nnext line \u202egnp.exe");
  }
  throw new Error("bad row");
}

function deep(levels: number): never {
  if (levels > 0) deep(levels - 1);
  throw Object.assign(new Error("deep"), {
    stack: `Error: deep\n${"    at somewhere (far/away.ts:1:1)\n".repeat(5_000)}`,
  });
}

/** Blocks the event loop. */
function block(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs;);
}

/** Waits until the scenario opens the gate, by a file; looks into the job's signal if it is to. */
async function gate(ctx: Context, name: string, job?: { id: number; endsAtAbort: boolean }): Promise<void> {
  const onAbort = () => job && record(ctx, "A", job.id);
  if (job) ctx.signal.addEventListener("abort", onAbort);
  for (;;) {
    // before the gate: it may be opened because of what the abort recorded
    if (job?.endsAtAbort && ctx.signal.aborted) throw new Error("aborted");
    if (existsSync(join(ctx.args.dir!, `open.${name}`))) break;
    await sleep(10);
  }
  if (job) ctx.signal.removeEventListener("abort", onAbort);
}

/** Whether this is the first time, in all processes and starts. */
function isFirst(ctx: Context, name: string): boolean {
  const path = join(ctx.args.dir!, "begun-once");
  if (existsSync(path) && readFileSync(path, "utf8").split("\n").includes(name)) return false;
  appendFileSync(path, `${name}\n`);
  return true;
}
