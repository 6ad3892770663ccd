/**
 * A token bucket for messages of one peer: `free` at once, and `perSecond` in the long run. A peer that sends more is
 * faulty.
 */
export class RateBound {
  readonly #free: number;
  readonly #perSecond: number;
  /** Messages counted, minus those allowed by the time that passed; never negative. */
  #words = 0;
  #atMs: number;

  constructor(free: number, perSecond: number, nowMs: number) {
    this.#free = free;
    this.#perSecond = perSecond;
    this.#atMs = nowMs;
  }

  /** Counts a message, or one that costs as much as `words` messages. Returns whether the limit is exceeded. */
  isTooMuch(nowMs: number, words = 1): boolean {
    const allowed = Math.max(0, nowMs - this.#atMs) / 1_000 * this.#perSecond;
    this.#words = Math.max(0, this.#words - allowed) + words;
    this.#atMs = nowMs;
    return this.#words > this.#free;
  }
}
