/**
 * Words of one peer that there may be some of, and not more and more: as many as `free` at once, and `perSecond` for as long as
 * it likes. Whoever says more has gone wrong.
 */
export class RateBound {
  readonly #free: number;
  readonly #perSecond: number;
  /** What was said, less what may have been said meanwhile. */
  #words = 0;
  #atMs: number;

  constructor(free: number, perSecond: number, nowMs: number) {
    this.#free = free;
    this.#perSecond = perSecond;
    this.#atMs = nowMs;
  }

  /** Whether it is too much with one more, or with one that costs as much as several. */
  isTooMuch(nowMs: number, words = 1): boolean {
    const allowed = Math.max(0, nowMs - this.#atMs) / 1_000 * this.#perSecond;
    this.#words = Math.max(0, this.#words - allowed) + words;
    this.#atMs = nowMs;
    return this.#words > this.#free;
  }
}
