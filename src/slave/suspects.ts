import { intersect, RangeSet, subtract, unite } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import { brokenExitCode } from "../base/worker_start.ts";
import type { StartNote } from "../base/start_note.ts";

/** Jobs that may have been running when the worker that left this note died. */
export function suspectsOf(note: StartNote | null, concurrency: number): Ranges {
  if (note === null) return [];
  const [from, to] = note.ahead;
  if (note.onStack === null) return unite(note.running, from < to ? [from, to] : []);
  const onStack = [note.onStack, note.onStack + 1];
  // One at a time: those before the one on the stack have ended.
  if (concurrency === 1) return onStack;
  const before = note.onStack >= from && note.onStack < to ? [from, note.onStack + 1] : onStack;
  return unite(note.running, before);
}

/**
 * Jobs that had ended in a worker that died before it said how: it begins jobs in order, so they are those before what
 * its note names. They are run again.
 *
 * @param unanswered Jobs of its slices, in the order in which it got them.
 */
export function endedOf(
  note: StartNote | null,
  concurrency: number,
  suspects: Ranges,
  unanswered: readonly Ranges[],
): Ranges {
  if (note === null) return [];
  const [from, to] = note.ahead;
  const next = concurrency === 1 && note.onStack !== null ? note.onStack : from;
  const named = unite(note.running, [next, Math.max(to, next + 1)]);
  const at = unanswered.findLastIndex((jobs) => intersect(named, jobs).length > 0);
  if (at < 0) return [];
  const before = unanswered.slice(0, at).reduce<Ranges>(unite, []);
  return subtract(unite(before, intersect(unanswered[at]!, [0, next])), suspects);
}

/** Most ranges of jobs remembered; beyond it all are forgotten. */
const rememberedMax = 4_096;

/**
 * Deaths that nobody is suspected of: the worker died before it noted what it began, or its note was overwritten, or
 * what it sent was refused once its jobs had ended. The first such death says nothing of a job that waited there. One that
 * was there twice is suspect: so whatever ends workers is found, and no worker is replaced for it for ever.
 */
export class UnexplainedDeaths {
  readonly #met = new RangeSet();

  /**
   * Who is suspect of a worker's death: those that its note names, unless all of them were answered.
   *
   * @param unanswered Jobs of its slices, in the order in which it got them: it begins with the first slice.
   */
  explain(noted: Ranges, unanswered: readonly Ranges[]): Ranges {
    const first = unanswered[0];
    if (first === undefined || unanswered.some((jobs) => intersect(noted, jobs).length > 0)) return noted;
    const again = intersect(first, this.#met.ranges);
    if (this.#met.ranges.length > 2 * rememberedMax) this.#met.clear();
    this.#met.addAll(first);
    return again;
  }
}

/** How a process died, in words. */
export function deathReason(code: number | null, signal: string | null): string {
  if (signal !== null) return `killed by ${signal}`;
  // A worker that fails says why: unless that failed too.
  const more = code === brokenExitCode
    ? ", or changed built-in objects, such as Array.prototype, so that the worker itself failed"
    : "";
  return `handler exited (${code})${more}`;
}
