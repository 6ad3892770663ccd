/** By so much later than was asked for, a tick was not late by chance: the process was stopped, or blocked. */
const lateMsMin = 1_000;
/** So long after a stall, what came meanwhile has been read. */
const settleMs = 250;
/** Whoever owns a deadline ticks at least so often, whatever wake-up was asked for. */
const tickMsMax = 1_000;

/**
 * Notices that this process itself was stalled. Then nobody may be called late yet: what came meanwhile is still in
 * the sockets, behind the overdue timer. All times are of one clock that only goes forward.
 */
export class StallWatch {
  #dueAtMs = Infinity;
  #judgeFromMs = -Infinity;

  /** It is `nowMs`, and the next tick was asked for at `wakeAtMs`. */
  expect(nowMs: number, wakeAtMs: number): void {
    this.#dueAtMs = Math.min(wakeAtMs, nowMs + tickMsMax);
  }

  /** From when on others may be called late: in the past, but for a moment after a stall. */
  judgeFrom(nowMs: number): number {
    if (nowMs > this.#dueAtMs + lateMsMin) this.#dueAtMs = this.#judgeFromMs = nowMs + settleMs;
    return this.#judgeFromMs;
  }
}
