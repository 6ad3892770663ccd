/** Shortest pause before dialing again. */
const firstPauseMs = 250;
/** Connected for this long, the pauses start over. */
const steadyMs = 60_000;

/** Pauses between attempts to connect: random, up to a bound that doubles from 0.5 s to two heartbeats. */
export class Pauses {
  readonly #random: () => number;
  #tries = 0;

  /** @param random In [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** Milliseconds to wait before the next attempt. */
  next(heartbeatMs: number): number {
    const longest = Math.max(firstPauseMs, Math.min(2 * heartbeatMs, 2 * firstPauseMs * 2 ** this.#tries));
    this.#tries = Math.min(this.#tries + 1, 30);
    return firstPauseMs + this.#random() * (longest - firstPauseMs);
  }

  /** A connection ended that had lasted this long. */
  ended(connectedMs: number): void {
    if (connectedMs >= steadyMs) this.#tries = 0;
  }
}
