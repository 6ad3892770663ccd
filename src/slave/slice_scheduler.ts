import { creditMax } from "../lib/limits.ts";
import type { Holdings } from "./ledger.ts";
import { isWorthSlice, slaveCredit, sliceJobs, workerRoom } from "./speed.ts";
import type { Seat } from "./worker_handle.ts";

/** A worker that moved nothing for so long is asked for what it has not begun, if another is free. */
const stuckMs = 150;
/** A failed job waits so long for another worker than the one that failed it. */
const otherWorkerMs = 1_000;
/** So many times its credit, and some jobs more, are too many for a slave. */
const overfullTimes = 4;
const overfullJobs = 16;

/**
 * Hands what the slave holds to its workers, a slice at a time, and says how much more it may hold.
 *
 * Jobs leave in the order they came. One that wants a worker, or the slave, for itself waits for that and whatever
 * is behind it waits too: workers run dry within some 100 ms, unless a job is slow, and then few wait.
 */
export class Feeder {
  readonly #holdings: Holdings;
  readonly #concurrency: () => number;
  readonly #failedAt: (seq: number) => number | undefined;
  /** The failed job that waits for another worker than the one that failed it, and since when. */
  #waiting = { seq: -1, sinceMs: 0 };

  /** `failedAt`: the worker at which a job failed last, if that is known. */
  constructor(
    holdings: Holdings,
    concurrency: () => number,
    failedAt: (seq: number) => number | undefined = () => undefined,
  ) {
    this.#holdings = holdings;
    this.#concurrency = concurrency;
    this.#failedAt = failedAt;
  }

  /** Gives whatever workers have room for. */
  feed(seats: readonly Seat[], nowMs: number): void {
    const takers = seats.filter((seat) => seat.takesJobs);
    for (;;) {
      const next = this.#holdings.next();
      if (next === null || seats.some((seat) => seat.alone === "in slave")) return;
      const isGiven = next === "no"
        ? this.#giveSlice(takers, nowMs)
        : this.#giveAlone(next, takers, seats, nowMs);
      if (!isGiven) return;
    }
  }

  /** How many jobs this slave may hold in all. */
  credit(seats: readonly Seat[], nowMs: number): number {
    const takers = seats.filter((seat) => seat.takesJobs);
    if (takers.length === 0) return 0;
    return slaveCredit(this.#concurrency(), takers.map((seat) => seat.perMs(nowMs)), creditMax);
  }

  /** Takes jobs back from workers where they wait although another worker is free. */
  rescue(seats: readonly Seat[], nowMs: number): void {
    if (this.#holdings.next() !== null) return;
    if (!seats.some((seat) => seat.takesJobs && seat.held === 0)) return;
    for (const seat of seats) {
      if (seat.held <= this.#concurrency() || seat.isWithdrawn || nowMs - seat.movedAtMs < stuckMs) continue;
      seat.isWithdrawn = true;
      seat.process.send({ kind: "withdraw" });
    }
  }

  /**
   * Whether the slave holds far more than it may by now: the work became slow. What waits is better off with others.
   */
  isOverfull(seats: readonly Seat[], nowMs: number): boolean {
    const credit = this.credit(seats, nowMs);
    return credit > 0 && this.#holdings.jobs > overfullTimes * credit + overfullJobs;
  }

  #giveSlice(takers: readonly Seat[], nowMs: number): boolean {
    const share = Math.ceil(this.#holdings.jobs / takers.length);
    const free = takers
      .filter((seat) => seat.alone === "no" && !seat.process.isCongested)
      .map((seat) => ({ seat, room: this.#room(seat, share, nowMs) }))
      .filter(({ room }) => room > 0);
    const fit = this.#fitting(free, takers, nowMs);
    if (fit.length === 0) return false;
    const { seat, room } = fit.reduce((best, one) => one.seat.held < best.seat.held ? one : best);
    return this.#give(seat, sliceJobs(room, this.#holdings.queued, fit.length), nowMs);
  }

  /**
   * Of the workers with room, those for the next job: a failed one goes to another worker than the one that failed it,
   * if another comes free within a second; a probe to a worker in which the fewest failed.
   */
  #fitting<T extends { seat: Seat }>(
    free: readonly T[],
    takers: readonly Seat[],
    nowMs: number,
  ): readonly T[] {
    const job = this.#holdings.nextJob();
    const worker = job === null ? undefined : this.#failedAt(job.seq);
    if (job === null || (worker === undefined && !job.isProbe) || takers.length < 2) return free;
    const others = free.filter(({ seat }) => seat.id !== worker);
    if (job.isProbe) {
      const fewest = Math.min(...free.map(({ seat }) => seat.failedProbes));
      const freshest = free.filter(({ seat }) => seat.failedProbes === fewest);
      return freshest.some(({ seat }) => seat.id !== worker)
        ? freshest.filter(({ seat }) => seat.id !== worker)
        : freshest;
    }
    if (others.length > 0 || free.length === 0) return others;
    if (this.#waiting.seq !== job.seq) this.#waiting = { seq: job.seq, sinceMs: nowMs };
    return nowMs - this.#waiting.sinceMs >= otherWorkerMs ? free : others;
  }

  /**
   * What the worker may get; 0 until it is worth a message. No more than its share of all the slave holds: else one that
   * came first has everything, and the others live on crumbs. One that was just asked for what it had ahead gets nothing
   * ahead.
   */
  #room(seat: Seat, share: number, nowMs: number): number {
    const perMs = seat.isWithdrawn ? 0 : seat.perMs(nowMs);
    const concurrency = this.#concurrency();
    const most = Math.min(workerRoom(concurrency, perMs), Math.max(concurrency, share));
    return isWorthSlice(most - seat.held, most - concurrency) ? most - seat.held : 0;
  }

  #giveAlone(
    alone: "in worker" | "in slave",
    takers: readonly Seat[],
    seats: readonly Seat[],
    nowMs: number,
  ): boolean {
    if (alone === "in slave" && seats.some((seat) => seat.held > 0)) return false;
    const seat = takers.find((seat) => seat.held === 0 && !seat.process.isCongested);
    if (seat === undefined || !this.#give(seat, 1, nowMs)) return false;
    seat.alone = alone;
    return true;
  }

  #give(seat: Seat, jobsMax: number, nowMs: number): boolean {
    const slice = this.#holdings.give(seat.id, jobsMax);
    if (slice === null) return false;
    seat.give(slice, nowMs);
    const { number, seq, count, attempt, jobs } = slice;
    seat.process.send({ kind: "slice", slice: number, seq, count, attempt, jobs });
    return true;
  }
}
