// How handlers that return promises are answered in this runtime: a line of JSON. `isAtOnce`: without a promise.
import { HandleJob } from "../../src/plugin/handle_job.ts";
import type { Plugin } from "../../src/plugin/types.ts";

const log = { debug() {}, info() {}, warn() {}, error() {} };
const later = () => new Promise((resolve) => setTimeout(resolve, 1));

/** Looks like a promise to everybody but the runtime. */
const disguised = Object.create(Promise.prototype, {
  then: { value: (resolve: () => void) => void resolve() },
});

/** Begins its work when it is asked for the outcome, as some query builders do. */
class Lazy extends Promise<void> {
  override then<A, B>(...args: Parameters<Promise<void>["then"]>): Promise<A | B> {
    asked++;
    return super.then(...args) as Promise<A | B>;
  }
}
let asked = 0;

const handlers: Readonly<Record<string, Plugin["handleJob"]>> = {
  "awaits nothing": async () => {},
  "awaits": async () => void await later(),
  "awaits what is there": async () => void await null,
  "rejects at once": async () => {
    throw new Error("boom");
  },
  "skips at once": async (_job, ctx) => {
    try {
      ctx.skip("no such row");
    } catch { /* the first call counts */ }
  },
  "never read": () => Promise.resolve(),
  "disguised": () => disguised,
  "lazy": () => new Lazy((resolve) => resolve()),
};

const answers: Record<string, { isAtOnce: boolean; kind: string }> = {};
for (const [name, handleJob] of Object.entries(handlers)) {
  const handler = new HandleJob({ handleJob } as Plugin, { args: {}, log, shared: undefined });
  const attempt = handler.run({ seq: 1, attempt: 1, jobs: ["job"] }, 1);
  const isAtOnce = attempt.kind !== "pending";
  answers[name] = { isAtOnce, kind: (attempt.kind === "pending" ? await attempt.ended : attempt).kind };
}
console.log(JSON.stringify({ runtime: "Bun" in globalThis ? "bun" : "other", answers, asked }));
