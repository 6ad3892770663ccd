import { creditMax } from "../lib/limits.ts";
import type { LeaseLedger } from "./ledger.ts";
import { isWorthSlice, slaveCredit, sliceJobs, workerRoom } from "./speed.ts";
import type { WorkerHandle } from "./worker_handle.ts";

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
export class SliceScheduler {
  readonly #ledger: LeaseLedger;
  readonly #failedAt: ReadonlyMap<number, number>;
  /** The failed job that waits for another worker than the one that failed it, and since when. */
  #waiting = { seq: -1, sinceMs: 0 };

  /** @param failedAt The worker in which a job failed last, as far as that is known; its owner changes it. */
  constructor(ledger: LeaseLedger, failedAt: ReadonlyMap<number, number>) {
    this.#ledger = ledger;
    this.#failedAt = failedAt;
  }

  /** Gives whatever workers have room for. */
  feed(handles: readonly WorkerHandle[], nowMs: number): void {
    const takers = handles.filter((handle) => handle.takesJobs);
    for (;;) {
      const next = this.#ledger.next();
      if (next === null || handles.some((handle) => handle.alone === "in slave")) return;
      const isGiven = next === "no"
        ? this.#giveSlice(takers, nowMs)
        : this.#giveAlone(next, takers, handles, nowMs);
      if (!isGiven) return;
    }
  }

  /** How many jobs this slave may hold in all. */
  credit(handles: readonly WorkerHandle[], nowMs: number): number {
    const takers = handles.filter((handle) => handle.takesJobs);
    if (takers.length === 0) return 0;
    return slaveCredit(takers[0]!.concurrency, takers.map((handle) => handle.perMs(nowMs)), creditMax);
  }

  /** Takes jobs back from workers where they wait although another worker is free. */
  rescue(handles: readonly WorkerHandle[], nowMs: number): void {
    if (this.#ledger.next() !== null) return;
    if (!handles.some((handle) => handle.takesJobs && handle.held === 0)) return;
    for (const handle of handles) {
      if (handle.held <= handle.concurrency || handle.isWithdrawn || nowMs - handle.movedAtMs < stuckMs) {
        continue;
      }
      handle.rescue();
    }
  }

  /**
   * Whether the slave holds far more than it may by now: the work became slow. What waits is better off with others.
   */
  isOverfull(handles: readonly WorkerHandle[], nowMs: number): boolean {
    const credit = this.credit(handles, nowMs);
    return credit > 0 && this.#ledger.jobs > overfullTimes * credit + overfullJobs;
  }

  #giveSlice(takers: readonly WorkerHandle[], nowMs: number): boolean {
    const share = Math.ceil(this.#ledger.jobs / takers.length);
    const free = takers
      .filter((handle) => handle.alone === "no" && !handle.process.isCongested)
      .map((handle) => ({ handle, room: this.#room(handle, share, nowMs) }))
      .filter(({ room }) => room > 0);
    const fit = this.#fitting(free, takers, nowMs);
    if (fit.length === 0) return false;
    const { handle, room } = fit.reduce((best, one) => one.handle.held < best.handle.held ? one : best);
    return this.#give(handle, sliceJobs(room, this.#ledger.queued, fit.length), nowMs);
  }

  /**
   * Of the workers with room, those for the next job: a failed one goes to another worker than the one that failed it,
   * if another comes free within a second; a probe to a worker in which the fewest failed.
   */
  #fitting<T extends { handle: WorkerHandle }>(
    free: readonly T[],
    takers: readonly WorkerHandle[],
    nowMs: number,
  ): readonly T[] {
    const job = this.#ledger.nextJob();
    const worker = job === null ? undefined : this.#failedAt.get(job.seq);
    if (job === null || (worker === undefined && !job.isProbe) || takers.length < 2) return free;
    const others = free.filter(({ handle }) => handle.id !== worker);
    if (job.isProbe) {
      const fewest = Math.min(...free.map(({ handle }) => handle.failedProbes));
      const freshest = free.filter(({ handle }) => handle.failedProbes === fewest);
      return freshest.some(({ handle }) => handle.id !== worker)
        ? freshest.filter(({ handle }) => handle.id !== worker)
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
  #room(handle: WorkerHandle, share: number, nowMs: number): number {
    const perMs = handle.isWithdrawn ? 0 : handle.perMs(nowMs);
    const { concurrency } = handle;
    const most = Math.min(workerRoom(concurrency, perMs), Math.max(concurrency, share));
    return isWorthSlice(most - handle.held, most - concurrency) ? most - handle.held : 0;
  }

  #giveAlone(
    alone: "in worker" | "in slave",
    takers: readonly WorkerHandle[],
    handles: readonly WorkerHandle[],
    nowMs: number,
  ): boolean {
    if (alone === "in slave" && handles.some((handle) => handle.held > 0)) return false;
    const handle = takers.find((handle) => handle.held === 0 && !handle.process.isCongested);
    return handle !== undefined && this.#give(handle, 1, nowMs);
  }

  #give(handle: WorkerHandle, jobsMax: number, nowMs: number): boolean {
    const slice = this.#ledger.give(handle.id, jobsMax, nowMs);
    if (slice === null) return false;
    const { number, seq, count, attempt, alone, jobs } = slice;
    handle.give(count, alone, nowMs);
    handle.process.send({ kind: "slice", slice: number, seq, count, attempt, jobs });
    return true;
  }
}
