/** Longest between two samples, with some time to spare. */
const stillMs = 2_000;
/** Samples that come closer change the last one. */
const spacingMs = 100;

/** How fast jobs are settled, over the last seconds. Told the time; holds one sample a call, of a bounded window. */
export class RateMeter {
  readonly #windowMs: number;
  /** Oldest first. The first is at, or just before, the window's start. */
  readonly #samples: { atMs: number; count: number }[] = [];

  constructor(windowMs = 5_000) {
    this.#windowMs = windowMs;
  }

  /**
   * Notes the count of this moment; `count` never falls, and leaves out what an earlier start did. To be called every
   * second at least: where more has passed, this process stood still, and that time counts for two seconds.
   */
  sample(count: number, nowMs: number): void {
    const last = this.#samples.at(-1);
    const before = this.#samples.at(-2);
    if (before !== undefined && nowMs - before.atMs < spacingMs) {
      last!.atMs = nowMs;
      last!.count = count;
      return;
    }
    const lateMs = last === undefined ? 0 : nowMs - last.atMs - stillMs;
    if (lateMs > 0) { for (const sample of this.#samples) sample.atMs += lateMs; }
    this.#samples.push({ atMs: nowMs, count });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs <= nowMs - this.#windowMs) {
      this.#samples.shift();
    }
  }

  /** Jobs a second over the samples; 0 while there are fewer than two. */
  get perSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (last.count - first.count) * 1_000 / (last.atMs - first.atMs);
  }
}
