import { intersect, RangeSet } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";

/**
 * Jobs whose lease is lost while their handlers still run here. Should the master lease one of them to this slave
 * again, it must not begin before its first run ended.
 */
export class LostJobs {
  readonly #workers = new Map<number, RangeSet>();

  add(worker: number, jobs: Ranges): void {
    let lost = this.#workers.get(worker);
    if (lost === undefined) this.#workers.set(worker, lost = new RangeSet());
    lost.addAll(jobs);
  }

  /** These jobs of the worker ended, somehow. Returns whether one of them was lost. */
  ended(worker: number, ...jobs: readonly Ranges[]): boolean {
    const lost = this.#workers.get(worker);
    if (lost === undefined) return false;
    const before = lost.count;
    for (const ranges of jobs) lost.removeAll(ranges);
    if (lost.isEmpty) this.#workers.delete(worker);
    return lost.count < before;
  }

  /** The worker's process is gone. */
  died(worker: number): boolean {
    return this.#workers.delete(worker);
  }

  /** Whether one of `count` jobs from `seq` still runs. */
  holdUp(seq: number, count: number): boolean {
    for (const lost of this.#workers.values()) {
      if (intersect(lost.ranges, [seq, seq + count]).length > 0) return true;
    }
    return false;
  }
}
