import type { Ranges } from "../lib/ranges.ts";
import type { StartNote } from "../lib/worker_start.ts";
import { type Seat, suspectsOf } from "./worker_handle.ts";

/** After its signal fired at the timeout, a handler may go on for this long. */
export const overdueMs = 5_000;
/** A worker whose event loop turns says something more often than this. */
const silentMs = 1_000;
/** A worker that says nothing for this long is looked at more closely. */
const quietMs = 200;

/** How a worker is to end. `timedOut` are charged with the timeout; several suspects each run alone. */
export type Verdict = Readonly<{ timedOut: Ranges; suspects: Ranges; reason: string }>;

/**
 * Judges workers by `--timeout`. A job whose handler lets the event loop turn has its signal fired by its worker, which
 * then says that the job is overdue; a handler that does not is known by the worker's silence and its start notes.
 *
 * The clock of a job in a silent worker starts when it was first seen in a note, at most 0.2 s after it began.
 */
export class Overseer {
  readonly #concurrency: () => number;
  /** Per silent worker: when each job was first seen running. */
  readonly #seen = new Map<Seat, Map<number, number>>();

  constructor(concurrency: () => number) {
    this.#concurrency = concurrency;
  }

  /** What to do about this worker; null if nothing. Call every 0.1 s. */
  judge(seat: Seat, timeoutMs: number, nowMs: number): Verdict | null {
    if (timeoutMs === 0 || seat.held === 0 || seat.verdict !== null) return this.#forget(seat);
    if (nowMs - seat.heardAtMs < quietMs && nowMs - seat.movedAtMs < quietMs) return this.#forget(seat);
    const note = seat.process.readNote();
    const seen = this.#look(seat, note, nowMs);
    const isSilent = nowMs - seat.heardAtMs >= silentMs;
    if (seat.overdue.size > 0) return this.#judgeOverdue(seat, isSilent, nowMs);
    return isSilent ? this.#judgeSilent(seat, note, seen, timeoutMs, nowMs) : null;
  }

  /** The worker is dead. */
  forget(seat: Seat): void {
    this.#forget(seat);
  }

  /** The job on the stack is the one; else the only one that runs; else it is known only once silence itself is too long. */
  #judgeSilent(
    seat: Seat,
    note: StartNote | null,
    seen: ReadonlyMap<number, number>,
    timeoutMs: number,
    nowMs: number,
  ): Verdict | null {
    const isLate = (seq: number): boolean => nowMs - (seen.get(seq) ?? nowMs) >= timeoutMs;
    const sole = note?.onStack ?? (seen.size === 1 ? [...seen.keys()][0]! : null);
    if (sole !== null) {
      return isLate(sole) ? { timedOut: [sole, sole + 1], suspects: [], reason: timedOutReason } : null;
    }
    if (nowMs - seat.heardAtMs < timeoutMs) return null;
    const suspects = suspectsOf(note, this.#concurrency());
    return { timedOut: [], suspects, reason: "the event loop stood still past --timeout" };
  }

  /** Killed at once if its event loop stands still; else once nothing is left that may still end. */
  #judgeOverdue(seat: Seat, isSilent: boolean, nowMs: number): Verdict | null {
    const spent = [...seat.overdue].filter(([, sinceMs]) => nowMs - sinceMs >= overdueMs);
    if (!isSilent && (spent.length === 0 || spent.length < seat.held)) return null;
    const jobs = isSilent ? [...seat.overdue.keys()] : spent.map(([seq]) => seq);
    return { timedOut: jobs.flatMap((seq) => [seq, seq + 1]), suspects: [], reason: timedOutReason };
  }

  #look(seat: Seat, note: StartNote | null, nowMs: number): Map<number, number> {
    const before = this.#seen.get(seat);
    const seen = new Map<number, number>();
    const jobs = suspectsOf(note, this.#concurrency());
    for (let at = 0; at < jobs.length; at += 2) {
      for (let seq = jobs[at]!; seq < jobs[at + 1]!; seq++) seen.set(seq, before?.get(seq) ?? nowMs);
    }
    this.#seen.set(seat, seen);
    return seen;
  }

  #forget(seat: Seat): null {
    this.#seen.delete(seat);
    return null;
  }
}

const timedOutReason = "The attempt took longer than --timeout";

/** Each of the numbers in these ranges. */
export function* numbersOf(ranges: Ranges): Generator<number> {
  for (let at = 0; at < ranges.length; at += 2) {
    for (let number = ranges[at]!; number < ranges[at + 1]!; number++) yield number;
  }
}
