import { clearTimeout, monotonicMs, setTimeout } from "../base/clock.ts";
/** Longest sleep: what begins between two ticks (a stalled write, a new deadline) is seen at the latest after this. */
const sleepMsMax = 1_000;

/**
 * The one timer of the process. It calls `tick`, which does all that is overdue and returns when to wake next
 * (absolute, monotonic milliseconds; Infinity if nothing is due).
 */
export class Timer {
  readonly #tick: (nowMs: number) => number;
  #handle: ReturnType<typeof setTimeout> | null = null;
  #atMs = Infinity;
  #isStopped = false;

  constructor(tick: (nowMs: number) => number) {
    this.#tick = tick;
  }

  /** Sees to it that `tick` is called at `atMs` or before. A later wake-up than the one set changes nothing. */
  wakeBy(atMs: number): void {
    if (this.#isStopped || atMs >= this.#atMs) return;
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#atMs = atMs;
    this.#handle = setTimeout(() => this.#fire(), Math.max(0, Math.ceil(atMs - monotonicMs())));
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#handle = null;
  }

  #fire(): void {
    this.#handle = null;
    this.#atMs = Infinity;
    const nowMs = monotonicMs();
    this.wakeBy(Math.min(this.#tick(nowMs), nowMs + sleepMsMax));
  }
}
