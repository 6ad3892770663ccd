import { SourceFault } from "./source_fault.ts";

/** The iterator of what `getJobs` returned, and whether its `next()` gives promises. */
export type JobsIterator =
  | Readonly<{ isAsync: false; iterator: Iterator<unknown> }>
  | Readonly<{ isAsync: true; iterator: AsyncIterator<unknown> }>;

const wanted = "it must return an array, an iterable, an async iterable, or a promise of one";

/**
 * Opens what `getJobs` returned.
 *
 * @throws {SourceFault} (fatal) if it is none of what it may be.
 */
export function openJobs(jobs: unknown): JobsIterator {
  if (typeof jobs !== "object" || jobs === null) throw refused(jobs);
  const { [Symbol.asyncIterator]: openAsync, [Symbol.iterator]: openSync } = jobs as Record<symbol, unknown>;
  if (typeof openAsync === "function") return { isAsync: true, iterator: openAsync.call(jobs) };
  if (typeof openSync === "function") return { isAsync: false, iterator: openSync.call(jobs) };
  throw refused(jobs);
}

/** Calls `return()` if there is one, and waits for it. What it throws comes too late to matter. */
export async function returnOf({ iterator }: JobsIterator): Promise<void> {
  try {
    await iterator.return?.();
  } catch {
    // The run is over for this source.
  }
}

function refused(jobs: unknown): SourceFault {
  return new SourceFault(`getJobs returned ${kindOf(jobs)}: ${wanted}.${advice(jobs)}`, true);
}

function kindOf(jobs: unknown): string {
  if (jobs === null || jobs === undefined) return String(jobs);
  if (typeof jobs === "object") return "an object that is not iterable";
  return `a ${typeof jobs}`;
}

function advice(jobs: unknown): string {
  if (jobs === undefined) {
    return " Write `function*` or `async function*` if it yields, or `return` the jobs.";
  }
  if (typeof jobs === "function") return " If that is a generator function, call it.";
  if (typeof jobs === "string") return " Return `[job]` if the string is the one job.";
  if (typeof (jobs as { next?: unknown } | null)?.next === "function") {
    return " It has `next()`: give it `[Symbol.asyncIterator]() { return this; }`.";
  }
  return "";
}
