import type { Alone } from "../core/types.ts";
import type { Answer, Failure, LeaseName } from "../protocol/messages.ts";
import { countOf, includes, intersect, type Ranges, RangeSet, rangesOf, unite } from "../lib/ranges.ts";

/** A lease as it arrives at a slave. */
export type ReceivedLease = Readonly<{
  name: LeaseName;
  seq: number;
  count: number;
  attempt: number;
  alone: Alone;
  /** It tests whether anything succeeds. @default false */
  probe?: boolean;
  /** The encoded jobs, one behind the other. */
  jobs: Uint8Array;
  /** Where each of them ends in `jobs`. */
  ends: Uint32Array;
}>;

type Crash = NonNullable<Answer["crash"]>;

/** How jobs of one lease ended at this slave. */
class JobResults {
  readonly done = new RangeSet();
  readonly skipped = new RangeSet();
  readonly released = new RangeSet();
  failed: Failure[] = [];
  /** Each names all suspects of that death, whatever their lease. `own` are those of this lease. */
  crashes: { crash: Crash; own: Ranges }[] = [];

  get isEmpty(): boolean {
    return this.done.isEmpty && this.skipped.isEmpty && this.released.isEmpty && this.failed.length === 0 &&
      this.crashes.length === 0;
  }

  /** How many jobs. */
  get count(): number {
    const crashed = this.crashes.reduce((sum, { own }) => sum + countOf(own), 0);
    return this.done.count + this.skipped.count + this.released.count + this.failed.length + crashed;
  }

  /** The jobs that ended here: all but the released, which the slave no longer has. */
  get seqs(): Ranges {
    let all = unite(this.done.ranges, this.skipped.ranges);
    all = unite(all, rangesOf(this.failed.map(({ seq }) => seq)));
    for (const { own } of this.crashes) all = unite(all, own);
    return all;
  }

  /** A worker died; `own` are suspects of this lease. One death is named once, however many slices it hit. */
  crashed(crash: Crash, own: Ranges): void {
    const same = this.crashes.find((other) => other.crash === crash);
    if (same === undefined) this.crashes.push({ crash, own });
    else same.own = unite(same.own, own);
  }

  /** Takes over what `other` says. */
  absorb(other: JobResults): void {
    this.done.addAll(other.done.ranges);
    this.skipped.addAll(other.skipped.ranges);
    this.released.addAll(other.released.ranges);
    this.failed = this.failed.concat(other.failed); // they may be more than the arguments of a call
    this.crashes.push(...other.crashes);
  }

  /** Forgets all but these jobs, and the released. */
  retain(seqs: Ranges): void {
    this.done.retainAll(seqs);
    this.skipped.retainAll(seqs);
    this.released.clear();
    this.failed = this.failed.filter((failure) => includes(seqs, failure.seq));
    this.crashes = this.crashes
      .map(({ crash, own }) => ({ crash, own: intersect(own, seqs) }))
      .filter(({ own }) => own.length > 0);
  }

  /** There may be several: an answer names one death at most, and of the rest what a master takes in one message. */
  toAnswers(lease: LeaseName): Answer[] {
    const { crashes } = this;
    const done = cut(this.done.ranges, boundsMax);
    const skipped = cut(this.skipped.ranges, boundsMax);
    const failed = cut(this.failed, failuresMax);
    const released = cut(this.released.ranges, boundsMax);
    const lists = [done, skipped, failed, released, crashes];
    return Array.from({ length: Math.max(...lists.map(({ length }) => length)) }, (_, at) => ({
      lease,
      done: done[at] ?? [],
      skipped: skipped[at] ?? [],
      failed: failed[at] ?? [],
      crash: crashes[at]?.crash ?? null,
      released: released[at] ?? [],
    }));
  }
}

/**
 * In one answer: failures, and bounds of each kind of ranges. A failure is eleven items of CBOR, a bound one, and of all
 * of them a master takes a million.
 */
const failuresMax = 20_000, boundsMax = 200_000;

/** In pieces of at most `size`, which is even, so that no range is cut; one piece at least. */
function cut<T>(list: readonly T[], size: number): (readonly T[])[] {
  const pieces = [list.slice(0, size)];
  for (let at = size; at < list.length; at += size) pieces.push(list.slice(at, at + size));
  return pieces;
}

/**
 * One lease at the slave that holds it. Each of its jobs is queued, running (given to a worker), ended but not
 * yet answered (`pending`), answered but not yet known to be saved (`unsaved`), or forgotten.
 */
export class HeldLease {
  readonly lease: Omit<ReceivedLease, "jobs" | "ends">;
  /** Grows with the leases of a slave, in the order in which they came. */
  readonly place: number;
  #encoded: Pick<ReceivedLease, "jobs" | "ends"> | null;
  readonly queued: RangeSet;
  readonly running = new RangeSet();
  pending = new JobResults();
  /** What each answer of this session said of this lease, oldest first. */
  unsaved: { number: number; outcomes: JobResults }[] = [];

  constructor({ jobs, ends, ...lease }: ReceivedLease, place: number) {
    this.lease = lease;
    this.place = place;
    this.#encoded = { jobs, ends };
    this.queued = new RangeSet([lease.seq, lease.seq + lease.count]);
  }

  /** Jobs the slave still has or has an outcome of: what `ready` names. */
  get held(): Ranges {
    let held = unite(unite(this.queued.ranges, this.running.ranges), this.pending.seqs);
    for (const { outcomes } of this.unsaved) held = unite(held, outcomes.seqs);
    return held;
  }

  get isForgotten(): boolean {
    return this.queued.isEmpty && this.running.isEmpty && this.pending.isEmpty && this.unsaved.length === 0;
  }

  /** Bytes of the encoded jobs, and of where they end; 0 once they were let go. */
  get encodedBytes(): number {
    return this.#encoded === null ? 0 : this.#encoded.jobs.byteLength + this.#encoded.ends.byteLength;
  }

  /**
   * Lets go of the encoded jobs if none can run any more: an outcome may wait long for a durable state. Returns how many
   * bytes that were.
   */
  letGo(): number {
    if (!this.queued.isEmpty || !this.running.isEmpty) return 0;
    const bytes = this.encodedBytes;
    this.#encoded = null;
    return bytes;
  }

  /** The encoded jobs `from` up to, not including, `to`, which are queued or running; a view. */
  bytes(from: number, to: number): Uint8Array {
    const { seq } = this.lease;
    const { ends, jobs } = this.#encoded!;
    const start = from === seq ? 0 : ends[from - seq - 1]!;
    return jobs.subarray(start, ends[to - seq - 1]!);
  }

  /** All that is pending, once: it stays in `unsaved` under the numbers it was sent with. */
  takeAnswers(nextNumber: () => number): { number: number; answer: Answer }[] {
    const outcomes = this.pending;
    this.pending = new JobResults();
    const numbered = outcomes.toAnswers(this.lease.name).map((answer) => ({ number: nextNumber(), answer }));
    this.unsaved.push({ number: numbered.at(-1)!.number, outcomes });
    return numbered;
  }

  /** Forgets what a durable state covers. */
  covered(through: number): void {
    while (this.unsaved.length > 0 && this.unsaved[0]!.number <= through) this.unsaved.shift();
  }

  /** In a new session: keeps only these jobs, and says again what is not known to be saved. */
  keep(seqs: Ranges): void {
    for (const { outcomes } of this.unsaved) this.pending.absorb(outcomes);
    this.unsaved = [];
    this.pending.retain(seqs);
    this.queued.retainAll(seqs);
    this.running.retainAll(seqs);
  }
}
