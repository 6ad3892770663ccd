import { timedOutMessage } from "../protocol/messages.ts";
import { intersect, type Ranges, rangesOfSpans } from "../lib/ranges.ts";
import type { CallResult, JobHandler, JobSignal, Result } from "../plugin/handler.ts";
import type { SliceRun } from "./slice_run.ts";

/**
 * A call of the handler whose promise is pending, for the jobs of seq `from` up to, not including, `to`. `startedMs` is
 * by the awake clock.
 */
export class RunningCall {
  readonly from: number;
  readonly to: number;
  readonly slice: SliceRun;
  readonly signal: JobSignal;
  readonly startedMs: number;
  /** Where the notes hold it. */
  readonly place: number;
  /** Its signal fired at the timeout. */
  isOverdue = false;
  /** The calls that began before and after it, of those that go on. */
  previous: RunningCall | null = null;
  next: RunningCall | null = null;

  constructor(
    from: number,
    to: number,
    slice: SliceRun,
    signal: JobSignal,
    startedMs: number,
    place: number,
  ) {
    this.from = from;
    this.to = to;
    this.slice = slice;
    this.signal = signal;
    this.startedMs = startedMs;
    this.place = place;
  }
}

/**
 * The running calls in the order they began, and which of them passed the timeout. A linked list: thousands may go on,
 * each begins at the end, and any may end.
 */
export class RunningCalls {
  /** 0 if there is none. */
  timeoutMs = 0;
  size = 0;
  #first: RunningCall | null = null;
  #last: RunningCall | null = null;
  #overdue = 0;

  get calls(): readonly RunningCall[] {
    const calls: RunningCall[] = [];
    for (let call = this.#first; call !== null; call = call.next) calls.push(call);
    return calls;
  }

  /** Jobs whose signal fired at the timeout and that still run. */
  get overdue(): Ranges {
    return rangesOfSpans(this.calls.filter(({ isOverdue }) => isOverdue));
  }

  get hasOverdue(): boolean {
    return this.#overdue > 0;
  }

  add(call: RunningCall): void {
    call.previous = this.#last;
    if (this.#last === null) this.#first = call;
    else this.#last.next = call;
    this.#last = call;
    this.size++;
  }

  /** It goes on no more. */
  remove(call: RunningCall): void {
    const { previous, next } = call;
    if (previous === null) this.#first = next;
    else previous.next = next;
    if (next === null) this.#last = previous;
    else next.previous = previous;
    this.size--;
    if (call.isOverdue) this.#overdue--;
  }

  /** Fires the signal of each call that has one of these jobs. */
  abort(jobs: Ranges, why: "lost" | "stop"): void {
    for (const { from, to, signal } of this.calls) {
      if (intersect(jobs, [from, to]).length > 0) signal.abort(why);
    }
  }

  /** Fires the signals of the calls that passed the timeout; returns whether there were any. */
  expire(nowMs: number): boolean {
    if (this.timeoutMs === 0) return false;
    let isAny = false;
    for (const call of this.calls) {
      if (nowMs < call.startedMs + this.timeoutMs) break;
      if (call.isOverdue) continue;
      call.isOverdue = true;
      this.#overdue++;
      call.signal.abort("timed out");
      isAny = true;
    }
    return isAny;
  }

  /** When `expire` is due; Infinity if it is not. */
  get nextExpiryMs(): number {
    if (this.timeoutMs === 0) return Infinity;
    let call = this.#first;
    while (call !== null && call.isOverdue) call = call.next;
    return call === null ? Infinity : call.startedMs + this.timeoutMs;
  }
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
  return { kind: "failed", how: "timed out", message: timedOutMessage, stack };
}
