import type { Pending, Result } from "../plugin/invoke.ts";

/** An attempt that goes on. `startedMs`: when it began, where the clock was looked at. */
export type Begun = Pending & Readonly<{ startedMs?: number }>;

/** Runs one job; never throws. */
export interface JobHandler {
  run(job: unknown, seq: number, attempt: number): Result | Begun;
}

/**
 * A handler that never lets the event loop turn is out of reach of its signal. If it returns after the timeout it
 * is charged all the same; if it does not return, its process is killed.
 */
export function withTimeout(handler: JobHandler, timeoutMs: number, nowMs: () => number): JobHandler {
  return {
    run(job, seq, attempt) {
      const startedMs = nowMs();
      const result = handler.run(job, seq, attempt);
      const isLate = nowMs() - startedMs >= timeoutMs;
      if (result.kind === "pending") {
        // it may be over before any timer can fire the signal
        if (isLate) result.signal.abort("timed out");
        return { ...result, startedMs };
      }
      if (!isLate || isRuled(result)) return result;
      const stack = result.kind === "failed" ? result.stack : "";
      return { kind: "failed", how: "timed out", message: "The attempt took longer than --timeout", stack };
    },
  };
}

/** The handler decided by `ctx.skip` or `ctx.fatal`. */
function isRuled(result: Result): boolean {
  return result.kind === "skipped" || (result.kind === "failed" && result.how === "fatal");
}
