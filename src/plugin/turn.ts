import { monotonicMs, setImmediate } from "../base/clock.ts";

/** Longest a source may hold the event loop in one go, in milliseconds: beats and answers wait meanwhile. */
const turnMs = 5;

/** Most jobs between two looks at the clock; a look costs about a tenth of encoding a small job. */
const strideMax = 32;

/**
 * How long the event loop was held. Looks at the clock after 1, 2, 4, at most 32 jobs, and after each one again
 * as soon as they turn out to be slow.
 */
export class Turn {
  #beganAt = monotonicMs();
  #lookedAt = this.#beganAt;
  #stride = 1;
  #left = 1;

  /** The event loop has just run. */
  begin(): void {
    this.#beganAt = this.#lookedAt = monotonicMs();
  }

  /** Whether it is time to let the event loop run; asked once after each job. */
  isSpent(): boolean {
    if (--this.#left > 0) return false;
    const now = monotonicMs();
    const isSlow = now - this.#lookedAt > turnMs / 10;
    this.#stride = isSlow ? 1 : Math.min(this.#stride * 2, strideMax);
    this.#left = this.#stride;
    this.#lookedAt = now;
    return now - this.#beganAt > turnMs;
  }
}

/** Lets the event loop run once: timers, sockets, then the caller again. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
