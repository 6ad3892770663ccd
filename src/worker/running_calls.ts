import { intersect, type Ranges } from "../lib/ranges.ts";
import type { CallResult, JobHandler, JobSignal, Result } from "../plugin/handler.ts";
import type { SliceRun } from "./slice_run.ts";

/**
 * A call of the handler whose promise is pending, for the jobs of seq `from` up to, not including, `to`. `startedMs` is
 * by the awake clock.
 */
export type RunningCall = Readonly<{
  from: number;
  to: number;
  slice: SliceRun;
  signal: JobSignal;
  startedMs: number;
}>;

/** The running calls in the order they began, and which of them passed the timeout. */
export class RunningCalls {
  /** 0 if there is none. */
  timeoutMs = 0;
  readonly #calls = new Set<RunningCall>();
  readonly #overdue = new Set<RunningCall>();

  get size(): number {
    return this.#calls.size;
  }

  /** The jobs of all calls. */
  get ranges(): Ranges {
    return this.#calls.size === 0 ? [] : jobsOf(this.#calls);
  }

  get calls(): readonly RunningCall[] {
    return [...this.#calls];
  }

  has(call: RunningCall): boolean {
    return this.#calls.has(call);
  }

  /** Jobs whose signal fired at the timeout and that still run. */
  get overdue(): Ranges {
    return jobsOf(this.#overdue);
  }

  get hasOverdue(): boolean {
    return this.#overdue.size > 0;
  }

  add(call: RunningCall): void {
    this.#calls.add(call);
  }

  /** Returns whether the call was overdue. */
  remove(call: RunningCall): boolean {
    this.#calls.delete(call);
    return this.#overdue.delete(call);
  }

  /** Fires the signal of each call that has one of these jobs. */
  abort(jobs: Ranges, why: "lost" | "stop"): void {
    for (const { from, to, signal } of this.#calls) {
      if (intersect(jobs, [from, to]).length > 0) signal.abort(why);
    }
  }

  /** Fires the signals of the calls that passed the timeout; returns whether there were any. */
  expire(nowMs: number): boolean {
    if (this.timeoutMs === 0) return false;
    let isAny = false;
    for (const call of this.#calls) {
      if (nowMs < call.startedMs + this.timeoutMs) break;
      if (this.#overdue.has(call)) continue;
      this.#overdue.add(call);
      call.signal.abort("timed out");
      isAny = true;
    }
    return isAny;
  }

  /** When `expire` is due; Infinity if it is not. */
  get nextExpiryMs(): number {
    if (this.timeoutMs === 0) return Infinity;
    for (const call of this.#calls) {
      if (!this.#overdue.has(call)) return call.startedMs + this.timeoutMs;
    }
    return Infinity;
  }
}

/** The jobs of these calls, no two of which have one in common. */
export function jobsOf(calls: Iterable<RunningCall>): Ranges {
  const ranges: number[] = [];
  for (const { from, to } of [...calls].sort((a, b) => a.from - b.from)) {
    if (ranges.length > 0 && ranges[ranges.length - 1] === from) ranges[ranges.length - 1] = to;
    else ranges.push(from, to);
  }
  return ranges;
}

/**
 * Charges a call that blocked the event loop past the timeout, in which time no signal could reach it. One that never
 * returns is ended with its process, by the supervisor.
 */
export function withTimeout(handler: JobHandler, timeoutMs: number, nowMs: () => number): JobHandler {
  return {
    jobsPerCall: handler.jobsPerCall,
    run(slice, from, to) {
      const startedMs = nowMs();
      const result = handler.run(slice, from, to);
      const isLate = nowMs() - startedMs >= timeoutMs;
      if (result.kind === "pending") {
        // it may end before a timer can fire the signal
        if (isLate) result.signal.abort("timed out");
        result.startedMs = startedMs;
        return result;
      }
      return isLate ? late(result) : result;
    },
  };
}

/** What the plugin decided by `ctx.skip` or `ctx.fatal` stands, however late. */
function late(result: CallResult): CallResult {
  if (result.kind === "each") {
    return {
      kind: "each",
      results: result.results.map((one) => late(one) as Result),
    };
  }
  if (result.kind === "skipped" || (result.kind === "failed" && result.how === "fatal")) return result;
  const stack = result.kind === "failed" ? result.stack : "";
  return { kind: "failed", how: "timed out", message: "The attempt took longer than --timeout", stack };
}
