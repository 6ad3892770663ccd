import { includes, rangesOf } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import type { JobSignal } from "../plugin/job_signal.ts";
import type { SliceRun } from "./slice_run.ts";

/** A job whose handler goes on behind a promise. `startedMs`, as all times here, is of the awake clock. */
export type RunningJob = Readonly<{ seq: number; slice: SliceRun; signal: JobSignal; startedMs: number }>;

/** Jobs that run, in the order they began, and which of them passed the timeout. */
export class RunningJobs {
  /** 0 if there is none. */
  timeoutMs = 0;
  readonly #jobs = new Map<number, RunningJob>();
  readonly #overdue = new Set<number>();

  get size(): number {
    return this.#jobs.size;
  }

  get ranges(): Ranges {
    return this.#jobs.size === 0 ? [] : rangesOf(this.#jobs.keys());
  }

  get jobs(): readonly RunningJob[] {
    return [...this.#jobs.values()];
  }

  /** Whether this attempt at the job goes on. */
  has(job: RunningJob): boolean {
    return this.#jobs.get(job.seq) === job;
  }

  /** Jobs whose signal fired at the timeout and that still run. */
  get overdue(): Ranges {
    return rangesOf(this.#overdue);
  }

  get hasOverdue(): boolean {
    return this.#overdue.size > 0;
  }

  add(job: RunningJob): void {
    this.#jobs.set(job.seq, job);
  }

  /** Returns whether the job was overdue. */
  remove(seq: number): boolean {
    this.#jobs.delete(seq);
    return this.#overdue.delete(seq);
  }

  abort(jobs: Ranges, why: "lost" | "stop"): void {
    for (const job of this.#jobs.values()) if (includes(jobs, job.seq)) job.signal.abort(why);
  }

  /** Fires the signals of the jobs that passed the timeout; returns whether there were any. */
  expire(nowMs: number): boolean {
    if (this.timeoutMs === 0) return false;
    let isAny = false;
    for (const job of this.#jobs.values()) {
      if (nowMs < job.startedMs + this.timeoutMs) break;
      if (this.#overdue.has(job.seq)) continue;
      this.#overdue.add(job.seq);
      job.signal.abort("timed out");
      isAny = true;
    }
    return isAny;
  }

  /** When `expire` is due; Infinity if it is not. */
  get nextExpiryMs(): number {
    if (this.timeoutMs === 0) return Infinity;
    for (const job of this.#jobs.values()) {
      if (!this.#overdue.has(job.seq)) return job.startedMs + this.timeoutMs;
    }
    return Infinity;
  }
}
