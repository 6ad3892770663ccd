import type { Result } from "../plugin/invoke.ts";
import type { JobSignal } from "../plugin/job_signal.ts";

/** Runs one job; never throws, and its promise never rejects. */
export interface JobHandler {
  run(job: unknown, seq: number, attempt: number, signal: JobSignal): Result | Promise<Result>;
}

/**
 * A handler that never lets the event loop turn is out of reach of its signal. If it returns after the timeout it
 * is charged all the same; if it does not return, its process is killed.
 */
export function withTimeout(handler: JobHandler, timeoutMs: number, nowMs: () => number): JobHandler {
  return {
    run(job, seq, attempt, signal) {
      const startedMs = nowMs();
      const result = handler.run(job, seq, attempt, signal);
      if (result instanceof Promise || nowMs() - startedMs < timeoutMs || isRuled(result)) return result;
      const stack = result.kind === "failed" ? result.stack : "";
      return { kind: "failed", how: "timed out", message: "The attempt took longer than --timeout", stack };
    },
  };
}

/** The handler decided by `ctx.skip` or `ctx.fatal`. */
function isRuled(result: Result): boolean {
  return result.kind === "skipped" || (result.kind === "failed" && result.how === "fatal");
}
