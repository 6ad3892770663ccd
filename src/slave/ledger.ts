import type { Alone } from "../core/types.ts";
import type { Answer, Failure, LeaseJobs, LeaseName } from "../protocol/messages.ts";
import {
  countOf,
  includes,
  intersect,
  type Ranges,
  RangeSet,
  rangesOf,
  subtract,
  unite,
} from "../lib/ranges.ts";
import { HeldLease, type ReceivedLease } from "./held_lease.ts";

/** The leases of a slave that have jobs at no worker, the oldest first. */
class QueuedJobs {
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

/** Consecutive jobs of one lease for one worker. `number` counts the slices of that worker from 1. */
export type Slice = Readonly<{
  number: number;
  lease: LeaseName;
  seq: number;
  count: number;
  attempt: number;
  alone: Alone;
  probe: boolean;
  /** The encoded jobs, a view. */
  jobs: Uint8Array;
}>;

/** What a worker says of one slice; partial. `released`: not begun. */
export type SliceAnswer = Readonly<{
  slice: number;
  done: Ranges;
  skipped: Ranges;
  failed: readonly Failure[];
  released: Ranges;
}>;

/** Jobs of a worker whose signal is to fire. */
export type Abort = Readonly<{ worker: number; slice: number; jobs: Ranges }>;

/**
 * A slice at a worker. `left` are its jobs that have not ended; `lost` those that ended mattering. `isReleased`: what
 * the worker does not begin goes back to the master.
 */
type GivenSlice = {
  readonly number: number;
  readonly held: HeldLease;
  readonly givenAtMs: number;
  readonly left: RangeSet;
  readonly lost: RangeSet;
  isReleased: boolean;
};

/** What an answer did: so many jobs left their worker, which got them then. */
type Finished = Readonly<{ jobs: number; givenAtMs: number; isProbe: boolean }>;

/**
 * What a slave holds: the ledger of its supervisor. It is pure: it hears what arrived, from the master and from
 * the workers, and says what to send.
 *
 *              give                finish               takeAnswers             covered
 *   QUEUED -----------> RUNNING -----------> PENDING ----------------> UNSAVED ----------> forgotten
 *     ^  |                 |  |                 ^                         |
 *     |  '- releaseUntried-(--(-----------------|                         |
 *     '----- worker died,--'  |                 '------- new session -----'
 *            not begun        '-> LOST (not kept: aborted, its outcome ignored)
 *
 * - QUEUED: received, at no worker. FIFO over leases, in the order of seqs within one.
 * - RUNNING: in a slice at a worker, begun or not.
 * - PENDING: ended (done, skipped, failed, suspect) or released; not yet said to the master.
 * - UNSAVED: said in an answer of this session, kept until a durable state covers that answer. Whatever ends the
 *   session makes it pending again, to be said in the next one if the master keeps it. Released jobs are not kept:
 *   nobody has them, and the master requeues what is not named.
 * - LOST: the master did not keep it, while it ran. Nothing it does counts; until it ends, the same job is not
 *   begun again here.
 */
export class LeaseLedger {
  #runId = "";
  /** All leases; nearly all of them may but wait for a durable state. */
  #leases = new Map<string, HeldLease>();
  readonly #queue = new QueuedJobs();
  /** Leases with something to say. */
  readonly #pending = new Set<HeldLease>();
  #received = 0;
  #running = 0;
  #bytes = 0;
  #openLeases = 0;
  /** Per worker its slices, by number. */
  #workers = new Map<number, { given: number; slices: Map<number, GivenSlice> }>();
  /** Jobs that are lost and still run. */
  readonly #lost = new RangeSet();
  /** Between the end of a session and `applyKeep` in the next one nothing is said and nothing lent. */
  #isKept = false;
  #answered = 0;
  /** Answers of this session that no state covers yet, oldest first, and what they weigh. */
  #unsaved: { number: number; bytes: number }[] = [];
  #unsavedBytes = 0;
  #covered = 0;
  /** Outcomes were forgotten though no state covers them: a master that saves nothing must not fill this memory. */
  hasForgotten = false;

  /** Jobs queued or running, what `credit` bounds. */
  get jobs(): number {
    return this.queued + this.#running;
  }

  /** Jobs that ended or go back, and were not said yet: to the master, which leases by what it hears, they are held. */
  get unsaid(): number {
    let jobs = 0;
    for (const { pending } of this.#pending) jobs += pending.count;
    return jobs;
  }

  /** Leases of which a job is queued or runs. */
  get openLeases(): number {
    return this.#openLeases;
  }

  /** Bytes of the leases of which a job is queued or runs. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Jobs at no worker. */
  get queued(): number {
    return this.#queue.count;
  }

  /** Jobs at workers and not lost. */
  get running(): number {
    return this.#running;
  }

  /** Whether there is something to say to the master. */
  get hasPending(): boolean {
    return this.#isKept && this.#pending.size > 0;
  }

  /** Nothing is queued, running or pending: a draining slave may leave. */
  get isIdle(): boolean {
    return this.jobs === 0 && !this.hasPending;
  }

  /**
   * The welcome of a new session came: jobs are released only if that is said again. If it is of another run,
   * everything is dropped; returns what to abort.
   */
  welcome(runId: string): readonly Abort[] {
    const aborts = runId === this.#runId ? [] : this.#keepOnly(new Map());
    this.#runId = runId;
    this.#isKept = false;
    for (const slice of this.#slices()) slice.isReleased = false;
    return aborts;
  }

  /** What `ready` names: all jobs held, or ended and not known to be saved. */
  held(): readonly LeaseJobs[] {
    const all = [...this.#leases.values()];
    // A state on disk may know the oldest. What is queued or runs is worth most.
    const active = all.filter(({ queued, running }) => !queued.isEmpty || !running.isEmpty);
    const ended = all.filter(({ queued, running }) => queued.isEmpty && running.isEmpty);
    const named: LeaseJobs[] = [];
    let items = 0;
    for (const held of [...active, ...ended]) {
      const jobs = held.held;
      if (jobs.length === 0) continue;
      items += leaseItems + jobs.length;
      if (items > heldItemsMax) break;
      named.push({ lease: held.lease.name, jobs });
    }
    return named;
  }

  /**
   * Of what `held` named, under leases of other masters: jobs that did not begin, as far as there is room beside it.
   *
   * @param begun Jobs that run in workers.
   */
  untouched(masterId: string, begun: Ranges, named: readonly LeaseJobs[]): readonly LeaseJobs[] {
    let items = named.reduce((sum, { jobs }) => sum + leaseItems + jobs.length, 0);
    const untouched: LeaseJobs[] = [];
    for (const { lease } of named) {
      const held = lease.masterId === masterId ? undefined : this.#leases.get(keyOf(lease));
      if (held === undefined) continue;
      const jobs = unite(held.queued.ranges, subtract(held.running.ranges, begun));
      if (jobs.length === 0) continue;
      items += leaseItems + jobs.length;
      if (items > heldItemsMax) break;
      untouched.push({ lease, jobs });
    }
    return untouched;
  }

  /** The master's answer to `ready`: drops all but these jobs. Returns what to abort. */
  applyKeep(leases: readonly LeaseJobs[]): readonly Abort[] {
    this.#answered = this.#covered = this.#unsavedBytes = 0;
    this.#unsaved = [];
    this.#isKept = true;
    return this.#keepOnly(new Map(leases.map(({ lease, jobs }) => [keyOf(lease), jobs])));
  }

  /** A lease that is held already is ignored: a name is used once. */
  receive(lease: ReceivedLease): void {
    const key = keyOf(lease.name);
    if (this.#leases.has(key)) return;
    const held = new HeldLease(lease, ++this.#received);
    this.#leases.set(key, held);
    this.#bytes += held.encodedBytes;
    this.#openLeases++;
    this.#queue.push(held);
  }

  /** How the jobs that `give` would give next are to run; null if there are none. */
  next(): Alone | null {
    return this.#queue.first(this.#lost)?.lease.alone ?? null;
  }

  /** The first of the jobs that `give` would give next; null if there are none. */
  nextJob(): Readonly<{ seq: number; isProbe: boolean }> | null {
    const held = this.#queue.first(this.#lost);
    return held === null ? null : { seq: held.queued.ranges[0]!, isProbe: held.lease.probe === true };
  }

  /**
   * The oldest queued jobs, at most `jobsMax` of them, all of one lease; null if there are none to begin now. A job
   * that still runs, though its lease is lost, is not begun again beside itself.
   */
  give(worker: number, jobsMax: number, nowMs: number): Slice | null {
    const held = this.#queue.first(this.#lost);
    if (held === null) return null;
    const [from, to] = this.#queue.take(held, jobsMax, this.#lost);
    held.running.add(from, to);
    this.#running += to - from;
    const state = this.#worker(worker);
    const number = ++state.given;
    const left = new RangeSet([from, to]);
    state.slices.set(number, {
      number,
      held,
      givenAtMs: nowMs,
      left,
      lost: new RangeSet(),
      isReleased: false,
    });
    const { name, attempt, alone, probe = false } = held.lease;
    const jobs = held.bytes(from, to);
    return { number, lease: name, seq: from, count: to - from, attempt, alone, probe, jobs };
  }

  /** The slice of this worker in which a job has not ended; 0 if there is none. */
  sliceOf(worker: number, seq: number): number {
    for (const { number, left } of this.#worker(worker).slices.values()) if (left.has(seq)) return number;
    return 0;
  }

  /** Jobs at this worker that have not ended, slice by slice, in the order in which it got them. */
  unanswered(worker: number): Ranges[] {
    return [...this.#worker(worker).slices.values()].map(({ left }) => left.ranges);
  }

  /**
   * A worker's answer. What it names and does not have is ignored, as is what became of lost jobs. Jobs not begun
   * are queued again, or released if that was said.
   *
   * @returns null if it did nothing: the last words of a process repeat what may not have been read.
   */
  finish(worker: number, answer: SliceAnswer): Finished | null {
    const state = this.#worker(worker);
    const slice = state.slices.get(answer.slice);
    if (slice === undefined) return null;
    const before = slice.left.count;
    const { pending } = slice.held;
    pending.done.addAll(this.#end(slice, answer.done));
    pending.skipped.addAll(this.#end(slice, answer.skipped));
    const failures = new Map(answer.failed.map((failure) => [failure.seq, failure]));
    const failed = this.#end(slice, rangesOf(failures.keys()));
    for (const failure of failures.values()) if (includes(failed, failure.seq)) pending.failed.push(failure);
    this.#handBack(slice, this.#end(slice, answer.released));
    if (slice.left.isEmpty) state.slices.delete(slice.number);
    this.#note(slice.held);
    const jobs = before - slice.left.count;
    const { givenAtMs, held: { lease: { probe = false } } } = slice;
    return jobs === 0 ? null : { jobs, givenAtMs, isProbe: probe };
  }

  /** Ends jobs of a slice; returns those that count: that it had, and that were not lost. */
  #end(slice: GivenSlice, jobs: Ranges): Ranges {
    if (jobs.length === 0) return jobs;
    const ended = subtract(intersect(jobs, slice.left.ranges), slice.lost.ranges);
    const lost = intersect(jobs, slice.lost.ranges);
    slice.left.removeAll(jobs);
    slice.lost.removeAll(lost);
    this.#lost.removeAll(lost);
    slice.held.running.removeAll(ended);
    this.#running -= countOf(ended);
    return ended;
  }

  #handBack({ held, isReleased }: GivenSlice, jobs: Ranges): void {
    if (jobs.length === 0) return;
    if (isReleased) held.pending.released.addAll(jobs);
    else this.#queue.handBack(held, jobs);
  }

  /**
   * A worker's process died, for `reason`; `suspects` may have been running. They are named to the master, all of
   * them in the answer of each of their leases; the others are queued again.
   *
   * @param ended Of the others: those that had ended, and were not answered.
   * @returns how many of these are queued again.
   */
  crashed(worker: number, suspects: Ranges, reason: string, ended: Ranges = []): number {
    const state = this.#worker(worker);
    this.#workers.delete(worker);
    const slices = [...state.slices.values()];
    const atWorker = slices.reduce<Ranges>((all, { left }) => unite(all, left.ranges), []);
    const crash = { suspects: intersect(suspects, atWorker), reason };
    let again = 0;
    for (const slice of slices) {
      const own = this.#end(slice, crash.suspects);
      if (own.length > 0) slice.held.pending.crashed(crash, own);
      const back = this.#end(slice, slice.left.ranges);
      again += countOf(intersect(back, ended));
      this.#handBack(slice, back);
      this.#note(slice.held);
    }
    return again;
  }

  /** Hands back what is at no worker, and later what workers have now and do not begin. What comes later is kept. */
  releaseUntried(): void {
    for (const slice of this.#slices()) slice.isReleased = true;
    for (const { held, jobs } of this.#queue.takeAll()) {
      held.pending.released.addAll(jobs);
      this.#note(held);
    }
  }

  /** All that is pending, as answers numbered from 1 in each session. Call at most some 200 ms after a job ended. */
  takeAnswers(): { number: number; answer: Answer }[] {
    if (!this.#isKept) return [];
    const answers: { number: number; answer: Answer }[] = [];
    for (const held of this.#pending) answers.push(...held.takeAnswers(() => ++this.#answered));
    this.#pending.clear();
    this.#weigh(answers);
    return answers;
  }

  /**
   * What waits for a durable state is bounded: the oldest half is forgotten. The master has heard it; if it dies without having
   * saved it, those jobs run again.
   */
  #weigh(answers: readonly { number: number; answer: Answer }[]): void {
    for (const { number, answer } of answers) {
      const bytes = bytesOf(answer);
      this.#unsaved.push({ number, bytes });
      this.#unsavedBytes += bytes;
    }
    if (this.#unsavedBytes <= unsavedBytesMax) return;
    let left = this.#unsavedBytes;
    const last = this.#unsaved.find(({ bytes }) => (left -= bytes) <= unsavedBytesMax / 2)!;
    this.hasForgotten = true;
    this.covered(last.number);
  }

  /** A durable state covers the answers of this session up to `through`: they are forgotten. */
  covered(through: number): void {
    // In a session that is not kept yet nothing was answered; what is covered already costs nothing.
    if (!this.#isKept || through <= this.#covered) return;
    this.#covered = Math.min(through, this.#answered);
    const first = this.#unsaved.findIndex(({ number }) => number > through);
    const forgotten = this.#unsaved.splice(0, first < 0 ? this.#unsaved.length : first);
    for (const { bytes } of forgotten) this.#unsavedBytes -= bytes;
    for (const held of this.#leases.values()) {
      held.covered(through);
      this.#note(held);
    }
  }

  #keepOnly(kept: ReadonlyMap<string, Ranges>): Abort[] {
    for (const [key, held] of this.#leases) held.keep(kept.get(key) ?? []);
    this.#queue.reset(this.#leases.values());
    this.#running = 0;
    this.#pending.clear();
    for (const held of this.#leases.values()) this.#running += held.running.count;
    const aborts: Abort[] = [];
    for (const [worker, { slices }] of this.#workers) {
      for (const slice of slices.values()) {
        const jobs = subtract(subtract(slice.left.ranges, slice.held.running.ranges), slice.lost.ranges);
        slice.lost.addAll(jobs);
        this.#lost.addAll(jobs);
        if (jobs.length > 0) aborts.push({ worker, slice: slice.number, jobs });
      }
    }
    for (const held of this.#leases.values()) this.#note(held);
    return aborts;
  }

  *#slices(): IterableIterator<GivenSlice> {
    for (const { slices } of this.#workers.values()) yield* slices.values();
  }

  #worker(worker: number): { given: number; slices: Map<number, GivenSlice> } {
    let state = this.#workers.get(worker);
    if (state === undefined) this.#workers.set(worker, state = { given: 0, slices: new Map() });
    return state;
  }

  /** Jobs of a lease ended, or were saved. */
  #note(held: HeldLease): void {
    if (!held.pending.isEmpty) this.#pending.add(held);
    const letGo = held.letGo();
    this.#bytes -= letGo;
    if (letGo > 0) this.#openLeases--;
    if (held.isForgotten) this.#leases.delete(keyOf(held.lease.name));
  }
}

/**
 * Items of a `ready`, and those of a lease in it beside its bounds: a master refuses a longer message, and would refuse
 * it again. Beyond them are only jobs that ended while no state was saved for long: those are run again if this master
 * dies; and what did not begin, which then counts as repeated.
 */
const heldItemsMax = 900_000, leaseItems = 9;

/** Most memory, roughly, of answers that no state covers yet: a master saves each second, or its disk is full. */
const unsavedBytesMax = 64 << 20;

/** Roughly what an answer takes in memory until it is forgotten. */
function bytesOf({ done, skipped, failed, crash }: Answer): number {
  const text = failed.reduce((sum, { message, stack }) => sum + 200 + 2 * (message.length + stack.length), 0);
  const bounds = done.length + skipped.length + (crash?.suspects.length ?? 0);
  return 500 + 16 * bounds + text + 2 * (crash?.reason.length ?? 0);
}

function keyOf(name: LeaseName): string {
  return `${name.masterId} ${name.number}`;
}
