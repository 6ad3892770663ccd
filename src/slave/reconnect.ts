/** Shortest pause before dialing again. */
const firstPauseMs = 250;
/** Longest, however rarely the master beats. */
const longestPauseMs = 60_000;
/** Connected for this long, the pauses start over. */
const steadyMs = 60_000;
/** A session that was shorter is brief; so many of them in a row, and the next ones are no longer hurried to. */
const briefMs = 5_000;
const briefMax = 10;
const briefPauseMs = 10_000;

/**
 * Pauses between attempts to connect: random, up to a bound that doubles from 0.5 s to two heartbeats, a minute at most. Where a
 * master welcomes a slave again and again and no session lasts, the bound is 10 s, whatever the heartbeat.
 */
export class Pauses {
  readonly #random: () => number;
  #tries = 0;
  #brief = 0;

  /** @param random In [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** No session lasts, of late: what is said of each is not news any more. */
  get isFlapping(): boolean {
    return this.#brief >= briefMax;
  }

  /** Milliseconds to wait before the next attempt. */
  next(heartbeatMs: number): number {
    const bound = Math.min(longestPauseMs, 2 * heartbeatMs, 2 * firstPauseMs * 2 ** this.#tries);
    const longest = Math.max(firstPauseMs, bound, this.isFlapping ? briefPauseMs : 0);
    this.#tries = Math.min(this.#tries + 1, 30);
    return firstPauseMs + this.#random() * (longest - firstPauseMs);
  }

  /** The same where the connection is only silent: one that lasted is dialed anew at once. */
  nextBeside(connectedMs: number, heartbeatMs: number): number {
    return connectedMs >= briefMs ? 0 : this.next(heartbeatMs);
  }

  /** A connection ended that had lasted this long. */
  ended(connectedMs: number): void {
    if (connectedMs >= steadyMs) this.#tries = 0;
    this.#brief = connectedMs < briefMs ? this.#brief + 1 : 0;
  }
}
