import t from "tap";
import { HandleJob } from "../../src/plugin/handle_job.ts";
import {
  type AbortWhy,
  type CallResult,
  JobSignal,
  type Pending,
  PluginHost,
  type Result,
} from "../../src/plugin/handler.ts";
import type { JobContext, Plugin } from "../../src/plugin/types.ts";

type Handle = (job: unknown, ctx: JobContext) => unknown;

/** Job 7 of a slice, at its second attempt. */
const slice = { seq: 6, attempt: 2, jobs: ["another", "job"] };
const log = { debug() {}, info() {}, warn() {}, error() {} };

function call(handleJob: Handle): Result | Pending {
  return new HandleJob({ handleJob } as Plugin, { args: {}, log, shared: undefined }).run(slice, 7);
}

function run(handleJob: Handle): Result | Promise<CallResult> {
  const attempt = call(handleJob);
  return attempt.kind === "pending" ? new Promise((resolve) => void attempt.ended.then(resolve)) : attempt;
}

t.test("a handler that returns is done, whatever it returns", async (t) => {
  const huge = new Array(1_000_000);
  for (const returned of [undefined, 0, () => {}, Symbol("x"), huge, { then: 1 }]) {
    t.same(run(() => returned), { kind: "done" }, "without a promise");
    t.same(await run(async () => returned), { kind: "done" });
  }
});

t.test("a handler that throws or rejects has failed, with message and stack", async (t) => {
  const boom: Handle = () => {
    throw new RangeError("no such row");
  };
  const results = [run(boom), await run(async (job, ctx) => boom(job, ctx))] as const;
  for (const result of results) {
    t.match(result, { kind: "failed", how: "threw", message: "RangeError: no such row" });
    t.match((result as { stack: string }).stack, /^RangeError: no such row\n\s+at /);
  }
});

t.test("a thenable is awaited, and one that throws while it is asked costs only its job", async (t) => {
  t.same(await run(() => ({ then: (resolve: (value: unknown) => void) => resolve(1) })), { kind: "done" });
  const trap = new Proxy({}, {
    get() {
      throw new Error("trap");
    },
  });
  t.match(run(() => trap), { kind: "failed", message: "trap" });
});

t.test("of a promise of the language no method is called that a plugin put in its place", async (t) => {
  const promise = Object.defineProperty(new Promise((resolve) => setTimeout(resolve, 1)), "then", {
    value: () => "never asked",
  });
  t.same(await run(() => promise), { kind: "done" });
});

t.test("ctx.skip and ctx.fatal throw; the first call counts, even if caught", async (t) => {
  t.same(run((_job, ctx) => ctx.skip("no such post")), { kind: "skipped", reason: "no such post" });
  t.match(run((_job, ctx) => ctx.fatal("bad row")), { kind: "failed", how: "fatal", message: "bad row" });
  const caught: Handle = (_job, ctx) => {
    try {
      ctx.skip("first");
    } catch {
      ctx.fatal("second");
    }
  };
  t.same(run(caught), { kind: "skipped", reason: "first" });
  const swallowed: Handle = async (_job, ctx) => {
    try {
      ctx.fatal("first");
    } catch { /* as some plugins do */ }
  };
  t.match(await run(swallowed), { kind: "failed", how: "fatal", message: "first" });
  const other: Handle = (_job, ctx) => {
    try {
      ctx.skip("first");
    } finally {
      // deno-lint-ignore no-unsafe-finally
      throw new Error("unrelated");
    }
  };
  t.same(run(other), { kind: "skipped", reason: "first" }, "also if another error follows");
});

t.test("ctx has args, log, shared, seq, attempt; it may be taken apart", async (t) => {
  const shared = { pool: 1 };
  let seen: Record<string, unknown> = {};
  const plugin: Plugin = {
    setup: () => shared,
    handleJob: (job, ctx) => {
      const { skip, signal } = ctx;
      seen = { ...ctx, job, same: signal === ctx.signal };
      skip("taken apart");
    },
  };
  const parts = await new PluginHost(plugin, { table: "posts" }, () => {}).setup();
  t.same(new HandleJob(plugin, parts).run(slice, 7), { kind: "skipped", reason: "taken apart" });
  t.match(seen, { args: { table: "posts" }, job: "job", seq: 7, attempt: 2, shared, same: true });
  t.notOk("verdict" in seen, "what was decided is out of the plugin's reach");
});

t.test("ctx.log writes lines to the program's log", async (t) => {
  const lines: unknown[] = [];
  const plugin: Plugin = { handleJob: (_job, ctx) => ctx.log.warn("slow row", { id: 3 }) };
  const host = new PluginHost(plugin, {}, (...line) => void lines.push(line));
  new HandleJob(plugin, await host.setup()).run(slice, 7);
  t.same(lines, [["warn", "slow row", { id: 3 }]]);
});

t.test("setup, then teardown, with what setup returned; what they throw rejects", async (t) => {
  const steps: unknown[] = [];
  const plugin: Plugin = {
    setup: async ({ args, signal }) => [args.table, signal.aborted],
    teardown: ({ shared, args }) => void steps.push(shared, args),
  };
  const one = new PluginHost(plugin, { table: "posts" }, () => {});
  await one.setup();
  await one.teardown();
  t.same(steps, [["posts", false], { table: "posts" }]);
  const broken = new PluginHost({ setup: () => Promise.reject(new Error("no database")) }, {}, () => {});
  await t.rejects(broken.setup(), { message: "no database" });
  await t.resolves(new PluginHost({}, {}, () => {}).teardown());
});

/** Runs a handler that is aborted while it waits. */
async function aborted(
  why: AbortWhy,
  end: (ctx: JobContext, seen: AbortSignal) => unknown,
): Promise<CallResult> {
  const attempt = call(async (_job, ctx) => {
    await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    return end(ctx, ctx.signal);
  }) as Pending;
  attempt.signal.abort(why);
  return await attempt.ended;
}

const rethrow = (_ctx: JobContext, seen: AbortSignal) => seen.throwIfAborted();

t.test("what is thrown after an abort by stop or lost lease costs nothing", async (t) => {
  for (const why of ["stop", "lost"] as const) {
    t.same(await aborted(why, rethrow), { kind: "released" });
    t.same(await aborted(why, () => Promise.reject(new Error("socket closed"))), { kind: "released" });
    t.same(await aborted(why, () => "ended in spite of it"), { kind: "done" });
    t.same(await aborted(why, (ctx) => ctx.skip("gone")), { kind: "skipped", reason: "gone" });
  }
});

t.test("an attempt past its timeout is charged however it ends, but for a verdict", async (t) => {
  const charged = { kind: "failed", how: "timed out", message: "The attempt took longer than --timeout" };
  t.match(await aborted("timed out", rethrow), charged);
  t.match(await aborted("timed out", () => Promise.reject(new Error("other"))), charged);
  t.match(await aborted("timed out", () => "too late"), charged);
  t.match(await aborted("timed out", (ctx) => ctx.fatal("too big")), { how: "fatal", message: "too big" });
});

t.test("a signal first read after the abort is aborted; the first reason stays", (t) => {
  const signal = new JobSignal();
  signal.abort("lost");
  signal.abort("stop");
  t.equal(signal.why, "lost");
  t.ok(signal.signal.aborted);
  t.equal((signal.signal.reason as DOMException).name, "AbortError");
  t.equal(signal.signal, signal.signal);
  t.end();
});

t.test("this is the plugin in a handler", (t) => {
  const plugin = {
    prefix: "p",
    handleJob(_job: unknown, ctx: JobContext) {
      ctx.skip(this.prefix);
    },
  };
  const handler = new HandleJob(plugin, { args: {}, log, shared: undefined });
  t.same(handler.run(slice, 7), { kind: "skipped", reason: "p" });
  t.end();
});
