import { messageJobs } from "../lib/limits.ts";

/** How fast old measurements fade: a job's cost may change by a hundred, and a second later that must be known. */
const fadeMs = 150;
/** Two measurements in a row, each this many times slower than what was known, say that the work has changed. */
const slowTimes = 4;
/** Of measurements over less time neither says anything of this. */
const tellingMs = 20;
/** What a slave holds ahead of what runs, as time: covers a round trip to the master. */
const aheadMs = 160;
/** What a worker holds ahead of what it runs, as time: covers a round trip to the supervisor. */
const feedMs = 100;
/** Most jobs in a slice: enough that its messages cost nothing, few enough to spread. */
const sliceJobsMax = 4_096;

/**
 * How many jobs a millisecond one worker ends while it has jobs. Jobs and time are summed separately and fade
 * together, so that the first measurement counts at once and a long one outweighs a short one.
 */
export class Speed {
  #jobs = 0;
  #ms = 0;
  /** The last measurement long enough to tell was a slow one. */
  #wasSlow = false;

  /** `jobs` ended in `busyMs` in which the worker had something to run. */
  observe(jobs: number, busyMs: number): void {
    const fade = this.#isOther(jobs, busyMs) ? 0 : Math.exp(-busyMs / fadeMs);
    this.#jobs = this.#jobs * fade + jobs;
    this.#ms = this.#ms * fade + busyMs;
  }

  /** Whether the work became another, and what was known of it is of no use; one slow job among quick ones does not say so. */
  #isOther(jobs: number, busyMs: number): boolean {
    if (busyMs < tellingMs) return false;
    const isSlow = slowTimes * jobs * this.#ms < this.#jobs * busyMs;
    const isOther = isSlow && this.#wasSlow;
    this.#wasSlow = isSlow && !isOther;
    return isOther;
  }

  /** @param waitedMs How long the worker has had jobs since it last said that some ended. */
  perMs(waitedMs: number): number {
    if (this.#jobs === 0) return 0;
    const fade = Math.exp(-waitedMs / fadeMs);
    return this.#jobs * fade / (this.#ms * fade + waitedMs + 0.001);
  }
}

/** Jobs a worker may hold: what it runs, and what it begins while the supervisor is asked for more. */
export function workerRoom(concurrency: number, perMs: number): number {
  return concurrency + Math.floor(feedMs * perMs);
}

/**
 * Whether a worker with room for so many jobs should be sent them: while at least half of what it may hold ahead of
 * what it runs is there, it can wait for more at once.
 */
export function isWorthSlice(room: number, ahead: number): boolean {
  return room > 0 && (2 * room >= ahead || room >= messageJobs);
}

/**
 * Jobs a slave may hold in all: what its workers run, and what they begin within 160 ms. At least one.
 *
 * @param speeds Jobs a millisecond, of each worker that takes jobs.
 */
export function slaveCredit(concurrency: number, speeds: readonly number[], creditMax: number): number {
  const ahead = speeds.reduce((sum, perMs) => sum + perMs * aheadMs, 0);
  return Math.max(1, Math.min(speeds.length * concurrency + Math.floor(ahead), creditMax));
}

/**
 * Jobs of the next slice: no more than the worker's room, and no more than its share of what is queued, so that
 * nothing waits in one worker while another is free.
 */
export function sliceJobs(room: number, queued: number, workersWithRoom: number): number {
  return Math.min(room, sliceJobsMax, Math.ceil(queued / workersWithRoom));
}

/** What a slave asks for before it knows its link, and the least. A lease is of no use before all of it is there. */
const windowBytesFirst = 64 << 10, windowBytesMin = 16 << 10, windowBytesMax = 64 << 20;
/** A window that was filled within the first doubles, one that took longer than the second is halved. */
const quickWindowMs = 1_000, slowWindowMs = 4_000;

/**
 * How many jobs may be on their way to a slave at once: what its link brings in a second or a few. Were it what quick
 * handlers begin in 160 ms, a slow link would carry a mebibyte for minutes before the first of these jobs could run, and
 * other slaves would wait for them at the end of the run. A quick link fills the window in no time, and it grows.
 */
export class LinkWindow {
  #bytesMax = windowBytesFirst;
  #bytes = 0;
  #sinceMs = 0;
  /** Of a job, as of late. */
  #jobBytes = 0;

  /** A lease of so many jobs came. */
  arrived(jobs: number, bytes: number, nowMs: number): void {
    const jobBytes = bytes / jobs;
    this.#jobBytes = this.#jobBytes === 0 ? jobBytes : (3 * this.#jobBytes + jobBytes) / 4;
    this.#bytes += bytes;
    if (this.#bytes < this.#bytesMax) return;
    const tookMs = nowMs - this.#sinceMs;
    if (tookMs < quickWindowMs) this.#bytesMax = Math.min(windowBytesMax, 2 * this.#bytesMax);
    if (tookMs > slowWindowMs) this.#bytesMax = Math.max(windowBytesMin, this.#bytesMax / 2);
    this.#bytes = 0;
    this.#sinceMs = nowMs;
  }

  /** Most jobs to ask for; `leastJobs` are asked for whatever the link. */
  jobsMax(leastJobs: number): number {
    return this.#jobBytes === 0 ? Infinity : Math.max(leastJobs, Math.floor(this.#bytesMax / this.#jobBytes));
  }
}
