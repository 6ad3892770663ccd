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

/** Whoever looks at an awake clock every 0.1 s, and comes later than this, was not late by chance. */
export const awakeLateMs = 250;

/**
 * A clock that stands still while its process does: it was stopped, or the machine slept. What was to take so long has
 * not taken it then. It is right from the moment on in which the process goes on, whatever runs first: ahead of the
 * latest look it only goes by what a look may be late.
 */
export class AwakeClock {
  #sleptMs = 0;
  #mostMs = Infinity;

  /** To be called every 0.1 s, by somebody who is never blocked otherwise. Returns the time. */
  look(nowMs: number): number {
    const awakeMs = this.at(nowMs);
    this.#sleptMs = nowMs - awakeMs;
    this.#mostMs = awakeMs + awakeLateMs;
    return awakeMs;
  }

  /** The time at `nowMs` of a clock that goes on. */
  at(nowMs: number): number {
    return Math.min(nowMs - this.#sleptMs, this.#mostMs);
  }
}
