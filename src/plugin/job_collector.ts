import type { Block } from "../base/job_span.ts";
import { JobEncoder, JobValueError } from "../protocol/job_encoder.ts";
import { describeError } from "./describe_error.ts";
import type { Plugin } from "./types.ts";

/** A yielded value that cannot be sent, or whose cursor cannot. `message` goes on behind "job 17, ". */
export class BadJob extends Error {}

/**
 * Encodes jobs, and their cursors, as they are yielded, and gives them out as blocks. Nothing of a job is kept
 * but its bytes: a generator may reuse its object.
 */
export class JobCollector {
  readonly #jobs = new JobEncoder();
  readonly #cursors = new JobEncoder();
  readonly #cursor: Plugin["cursor"];

  constructor(cursor: Plugin["cursor"]) {
    this.#cursor = cursor;
  }

  /** Jobs since the last `take`. */
  get count(): number {
    return this.#jobs.count;
  }

  /**
   * Adds a job; returns its encoded length.
   *
   * @throws {BadJob} in which case the job is not added.
   */
  append(job: unknown): number {
    if (this.#cursor !== undefined) return this.#appendWithCursor(job, this.#cursor);
    try {
      return this.#jobs.append(job);
    } catch (error) {
      throw badValue(error, "which ");
    }
  }

  /** All jobs since the last one. */
  take(): Block {
    const jobs = this.#jobs.take();
    if (this.#cursor === undefined) return jobs;
    return { ...jobs, cursors: firstOf(this.#cursors.take(), jobs.ends.length) };
  }

  #appendWithCursor(job: unknown, cursorOf: NonNullable<Plugin["cursor"]>): number {
    const cursor = callCursor(job, cursorOf);
    try {
      this.#cursors.append(cursor);
    } catch (error) {
      throw badValue(error, "whose cursor ");
    }
    try {
      return this.#jobs.append(job);
    } catch (error) {
      throw badValue(error, "which ");
    }
  }
}

/** There is one cursor more than jobs where a job was refused after its cursor was taken. */
function firstOf({ bytes, ends }: Block, count: number): NonNullable<Block["cursors"]> {
  if (ends.length === count) return { bytes, ends };
  return { bytes: bytes.subarray(0, count === 0 ? 0 : ends[count - 1]), ends: ends.subarray(0, count) };
}

function callCursor(job: unknown, cursorOf: NonNullable<Plugin["cursor"]>): unknown {
  let cursor: unknown;
  try {
    cursor = cursorOf(job);
  } catch (error) {
    const { message, stack } = describeError(error);
    throw new BadJob(`of which cursor(job) threw: ${message}\n${stack}`);
  }
  if (cursor === undefined) {
    throw new BadJob(
      "of which cursor(job) returned undefined: it must return what `last` will be. Is a `return` missing?",
    );
  }
  if (typeof (cursor as { then?: unknown } | null)?.then === "function") {
    throw new BadJob(
      "of which cursor(job) returned a promise: it must be synchronous. Is it an `async` function?",
    );
  }
  return cursor;
}

function badValue(error: unknown, whose: string): unknown {
  if (!(error instanceof JobValueError)) return error;
  const { path, reason, notRun } = error;
  const hint = notRun === undefined ? "" : forgotten[notRun];
  return new BadJob(`${whose}cannot be sent: at ${path} there is ${reason}${hint}`);
}

/** What is missing where a job holds what has the data, and not the data. */
const forgotten = {
  promise: ": an `await` is missing",
  query: ", a query that was not run: a `for await` over its rows is missing, or an `await`",
  stream: ": a `for await` over it is missing",
  iterator: ": a `yield*` is missing",
};
