import { countOf, RangeSet, subtract } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import type { HeldLease } from "./held_lease.ts";

/** The leases of a slave that have jobs at no worker, the oldest first. */
export class HeldQueue {
  /** Jobs at no worker. */
  count = 0;
  /** In the order in which they came; each has a queued job. */
  #leases = new Set<HeldLease>();

  /** Just these, in the order in which they came. */
  reset(leases: Iterable<HeldLease>): void {
    this.#leases.clear();
    this.count = 0;
    for (const held of leases) if (!held.queued.isEmpty) this.push(held);
  }

  /** A lease that came behind all others. */
  push(held: HeldLease): void {
    this.#leases.add(held);
    this.count += held.queued.count;
  }

  /** Running jobs of a lease are queued again: it is back in its place. */
  handBack(held: HeldLease, jobs: Ranges): void {
    held.queued.addAll(jobs);
    this.count += countOf(jobs);
    if (this.#leases.has(held)) return;
    this.#leases = new Set([...this.#leases, held].sort((a, b) => a.place - b.place));
  }

  /** The oldest lease that has a queued job which is not `lost`; null if there is none. */
  first(lost: RangeSet): HeldLease | null {
    for (const held of this.#leases) {
      if (lost.isEmpty || subtract(held.queued.ranges, lost.ranges).length > 0) return held;
    }
    return null;
  }

  /** Takes the first jobs out of what `first` returned. */
  take(held: HeldLease, jobsMax: number, lost: RangeSet): readonly [from: number, to: number] {
    const ready = lost.isEmpty ? held.queued : new RangeSet(subtract(held.queued.ranges, lost.ranges));
    const [from, to] = ready.takeFirst(jobsMax);
    if (ready !== held.queued) held.queued.removeAll([from, to]);
    if (held.queued.isEmpty) this.#leases.delete(held);
    this.count -= to - from;
    return [from, to];
  }

  /** Takes out everything. */
  *takeAll(): IterableIterator<{ held: HeldLease; jobs: Ranges }> {
    for (const held of this.#leases) {
      const jobs = held.queued.ranges;
      held.queued.clear();
      yield { held, jobs };
    }
    this.reset([]);
  }
}
