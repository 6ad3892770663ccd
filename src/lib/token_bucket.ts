/**
 * A token bucket: what a peer may say, or how many jobs may begin, at once and in the long run. It gains `perSecond`
 * tokens and holds `capacity` of them. It is told the time; an earlier one than before adds nothing.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #capacity: number;
  #tokens: number;
  #atMs: number;

  /** @param tokens What it holds at first. @default full */
  constructor(capacity: number, perSecond: number, nowMs: number, tokens = capacity) {
    this.#capacity = capacity;
    this.#perMs = perSecond / 1_000;
    this.#tokens = tokens;
    this.#atMs = nowMs;
  }

  /** The tokens that it holds; negative while more were taken than there were. */
  level(nowMs: number): number {
    const gained = Math.max(0, nowMs - this.#atMs) * this.#perMs;
    this.#tokens = Math.min(this.#capacity, this.#tokens + gained);
    this.#atMs = Math.max(this.#atMs, nowMs);
    return this.#tokens;
  }

  /** Takes tokens, also more than there are. Returns whether there were enough. */
  take(nowMs: number, tokens = 1): boolean {
    this.#tokens = this.level(nowMs) - tokens;
    return this.#tokens >= 0;
  }

  /** Puts back tokens that were taken; no more stay than it holds. */
  putBack(tokens: number): void {
    this.#tokens = Math.min(this.#capacity, this.#tokens + tokens);
  }

  /** When it holds one token. */
  oneAtMs(nowMs: number): number {
    return nowMs + Math.max(0, 1 - this.level(nowMs)) / this.#perMs;
  }
}
