import { lateMs, settleMs } from "../base/run_limits.ts";

/**
 * A clock that stands still while the master does. When a tick or an event comes later than the wake-up that was
 * asked for, the master itself was stalled (stopped, in a synchronous `getJobs`, in garbage collection): that time
 * is nobody's silence. And the bytes that came meanwhile are still in the sockets, behind the overdue timer, so
 * nobody is judged until they can have been read.
 */
export class Patience {
  #wakeMs = Infinity;
  #lagMs = 0;
  #judgeFromMs = 0;

  /** The core asked to be woken then. */
  asked(wakeMs: number): void {
    this.#wakeMs = wakeMs;
  }

  /** It is `nowMs`: was anybody waiting for us? */
  note(nowMs: number): void {
    const late = nowMs - this.#wakeMs;
    if (late <= lateMs) return;
    this.#lagMs += late;
    this.#wakeMs = nowMs;
    this.#judgeFromMs = nowMs + Math.min(late, settleMs);
  }

  /** The patient clock's time. */
  time(nowMs: number): number {
    return nowMs - this.#lagMs;
  }

  /** When the patient clock will show `time`, and judging is allowed: in real time. */
  realMs(time: number): number {
    const realMs = time + this.#lagMs;
    // sums of fractions are rounded: woken a hair too early, the master would turn until the clock moves
    return Math.max(this.time(realMs) < time ? realMs + 1 : realMs, this.#judgeFromMs);
  }

  mayJudge(nowMs: number): boolean {
    return nowMs >= this.#judgeFromMs;
  }
}
