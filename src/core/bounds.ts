/** What bounds the speed of a run that goes well: handlers, the source, or a limit of the window, by its option. */
export type Bound = "slaves" | "source" | WindowLimit;
/** The window is all jobs yielded and not settled. */
export type WindowLimit = "--size" | "--size-bytes";

/** How long the past counts: its weight falls to a third in this time. */
const memoryMs = 1_000;

/**
 * What bounded the speed for most of the last second. A look at this instant would mislead: with quick jobs the bound
 * changes many times in a millisecond, and timers fire while answers are being read, when the window has room
 * that the source was not yet asked to fill.
 */
export class Bounds {
  readonly #shares: Record<Bound, number> = { slaves: 0, source: 0, "--size": 0, "--size-bytes": 0 };
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** It was `bound` from the last note until now; null: none of them. */
  note(bound: Bound | null, nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    const kept = Math.exp((this.#atMs - nowMs) / memoryMs);
    this.#atMs = nowMs;
    for (const each of all) this.#shares[each] *= kept;
    if (bound !== null) this.#shares[bound] += 1 - kept;
  }

  /** The one with the largest share; `bound`, if no other has a larger one. */
  mostly(bound: Bound): Bound {
    return all.reduce((most, each) => this.#shares[each] > this.#shares[most] ? each : most, bound);
  }
}

const all = ["slaves", "source", "--size", "--size-bytes"] as const;
