import { timedOutMessage } from "../protocol/messages.ts";
import { numbersOf } from "../lib/ranges.ts";
import type { StartNote } from "../lib/worker_start.ts";
import { suspectsOf, type Verdict, type WorkerHandle } from "./worker_handle.ts";

/** After its signal fired at the timeout, a handler may go on for this long. */
const overdueMs = 5_000;
/** A worker whose event loop turns says something more often than this. */
const silentMs = 1_000;
/** A worker that says nothing for this long is looked at more closely. */
const quietMs = 200;

/**
 * Judges workers by `--timeout`. A job whose handler lets the event loop turn has its signal fired by its worker, which
 * then says that the job is overdue; a handler that does not is known by the worker's silence and its start notes.
 *
 * The clock of a job in a silent worker starts when it was first seen in a note, at most 0.2 s after it began.
 */
export class TimeoutMonitor {
  /** Per silent worker: when each job was first seen running. */
  readonly #seen = new Map<WorkerHandle, Map<number, number>>();

  /** What to do about this worker; null if nothing. Call every 0.1 s. */
  judge(handle: WorkerHandle, timeoutMs: number, nowMs: number): Verdict | null {
    if (timeoutMs === 0 || handle.held === 0 || handle.verdict !== null) return this.#forget(handle);
    if (nowMs - handle.heardAtMs < quietMs && nowMs - handle.movedAtMs < quietMs) return this.#forget(handle);
    const note = handle.process.readNote();
    const seen = this.#look(handle, note, nowMs);
    const isSilent = nowMs - handle.heardAtMs >= silentMs;
    if (handle.overdue.size > 0) return this.#judgeOverdue(handle, isSilent, nowMs);
    return isSilent ? this.#judgeSilent(handle, note, seen, timeoutMs, nowMs) : null;
  }

  /** The worker is dead. */
  forget(handle: WorkerHandle): void {
    this.#forget(handle);
  }

  /** The job on the stack is the one; else the only one that runs; else it is known only once silence itself is too long. */
  #judgeSilent(
    handle: WorkerHandle,
    note: StartNote | null,
    seen: ReadonlyMap<number, number>,
    timeoutMs: number,
    nowMs: number,
  ): Verdict | null {
    const isLate = (seq: number): boolean => nowMs - (seen.get(seq) ?? nowMs) >= timeoutMs;
    const sole = note?.onStack ?? (seen.size === 1 ? [...seen.keys()][0]! : null);
    if (sole !== null) {
      return isLate(sole) ? { timedOut: [sole, sole + 1], suspects: [], reason: timedOutMessage } : null;
    }
    if (nowMs - handle.heardAtMs < timeoutMs) return null;
    const suspects = suspectsOf(note, handle.concurrency);
    return { timedOut: [], suspects, reason: "the event loop stood still past --timeout" };
  }

  /** Killed at once if its event loop stands still; else once nothing is left that may still end. */
  #judgeOverdue(handle: WorkerHandle, isSilent: boolean, nowMs: number): Verdict | null {
    const spent = [...handle.overdue].filter(([, sinceMs]) => nowMs - sinceMs >= overdueMs);
    if (!isSilent && (spent.length === 0 || spent.length < handle.held)) return null;
    const jobs = isSilent ? [...handle.overdue.keys()] : spent.map(([seq]) => seq);
    return { timedOut: jobs.flatMap((seq) => [seq, seq + 1]), suspects: [], reason: timedOutMessage };
  }

  #look(handle: WorkerHandle, note: StartNote | null, nowMs: number): Map<number, number> {
    const before = this.#seen.get(handle);
    const seen = new Map<number, number>();
    const jobs = suspectsOf(note, handle.concurrency);
    for (const seq of numbersOf(jobs)) seen.set(seq, before?.get(seq) ?? nowMs);
    this.#seen.set(handle, seen);
    return seen;
  }

  #forget(handle: WorkerHandle): null {
    this.#seen.delete(handle);
    return null;
  }
}
