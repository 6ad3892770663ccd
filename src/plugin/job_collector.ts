import { Buffer } from "node:buffer";
import type { Block, Unsendable } from "../lib/bytes.ts";
import { JobEncoder, JobValueError } from "../protocol/cbor.ts";
import { describeError } from "./describe_error.ts";
import { isThenable } from "./jobs_iterator.ts";

type CursorOf = (job: unknown) => unknown;

/** A yielded value that cannot be sent, or whose cursor cannot. `message` continues "job 17, ". */
export class BadJob extends Error {}

/** A yielded value with a fault of its data, which costs that row only: its cursor is known. */
export class BadRow extends Error {
  readonly row: Unsendable;

  constructor(row: Unsendable) {
    super(row.reason);
    this.row = row;
  }
}

/**
 * Encodes jobs and their cursors as they are yielded, and cuts them into blocks. Of a job only the bytes are kept, so a
 * generator may reuse its object.
 */
export class JobCollector {
  readonly #jobs = new JobEncoder();
  /** Empty as long as each job since the last `take` is its own cursor: then nothing is encoded twice. */
  readonly #cursors = new JobEncoder();
  readonly #cursor: CursorOf | undefined;

  constructor(cursor: CursorOf | undefined) {
    this.#cursor = cursor;
  }

  /** Jobs since the last `take`. */
  get count(): number {
    return this.#jobs.count;
  }

  /**
   * Adds a job; returns its encoded length.
   *
   * @throws {BadJob} or {BadRow}, in which case the job is not added.
   */
  append(job: unknown): number {
    let length: number;
    try {
      length = this.#jobs.append(job);
    } catch (error) {
      throw this.#refused(job, error);
    }
    if (this.#cursor === undefined) return length;
    try {
      this.#appendCursor(callCursor(job, this.#cursor), job);
    } catch (error) {
      this.#jobs.drop(length);
      throw badCursor(error, "whose cursor ");
    }
    return length;
  }

  /** The first cursor of each block is encoded in any case, since a function may have changed the job it returns. */
  #appendCursor(cursor: unknown, job: unknown): void {
    const before = this.#jobs.count - 1;
    const isOwn = Object.is(cursor, job);
    if (isOwn && before > 0 && this.#cursors.count === 0) return;
    if (this.#cursors.count < before) this.#cursors.copy(this.#jobs, before);
    const length = this.#cursors.append(cursor);
    if (isOwn && before === 0 && this.#cursors.isSame(this.#jobs)) this.#cursors.drop(length);
  }

  /** The jobs since the last `take`, as a block. */
  take(): Block {
    const jobs = this.#jobs.take();
    if (this.#cursors.count === 0) return jobs;
    const { bytes, ends } = this.#cursors.take();
    return { ...jobs, cursors: { bytes, ends } };
  }

  /** A fault of the data costs one row, if its cursor can be kept: it takes the row's place. */
  #refused(job: unknown, error: unknown): unknown {
    const fault = badValue(error, "which ");
    if (!(error instanceof JobValueError) || error.dataFault === null) return fault;
    const { path, reason, dataFault } = error;
    if (this.#cursor === undefined) {
      return new BadJob(
        `${
          (fault as BadJob).message
        }. Without an export \`cursor\` the job is its own cursor, and the run cannot go on ` +
          "behind it; with one, only this row would be set aside.",
      );
    }
    try {
      // The keys in a path may be long, and hold what cannot be shown.
      const cursor = encodeAlone(callCursor(job, this.#cursor));
      return new BadRow({ cursor, path: describeError(path).message, reason, dataFault });
    } catch (second) {
      if (!(second instanceof JobValueError)) return second;
      const { message } = badCursor(second, "and whose cursor ") as BadJob;
      return new BadJob(`${(fault as BadJob).message}, ${message}`);
    }
  }
}

/** What to say of job `seq`, whose cursor is that of the job before it. */
export function equalCursors(seq: number): string {
  return `Jobs ${
    seq - 1
  } and ${seq} have the same cursor: if the run is resumed between the two, a source that ` +
    "reads `last` as exclusive skips the second. Make cursor(job) unique, by a primary key for instance.";
}

/** Finds two neighbouring jobs with equal cursors, also across blocks. */
export class Neighbours {
  #last: Uint8Array | undefined = undefined;

  /** Whether the cursor of a row that is in no block equals that of the job before it. */
  isEqual(cursor: Uint8Array): boolean {
    const lastBefore = this.#last;
    this.#last = cursor;
    return lastBefore !== undefined && Buffer.compare(lastBefore, cursor) === 0;
  }

  /** The index in `block` of the first job whose cursor equals that of the job before it; -1 if there is none. */
  findEqual(block: Block): number {
    const { bytes, ends } = block.cursors ?? block;
    const lastBefore = this.#last;
    let before = 0;
    let from = 0;
    let found = -1;
    for (let index = 0; index < ends.length && found < 0; index++) {
      const end = ends[index]!;
      const isEqual = index > 0
        ? isRepeat(bytes, before, from, end)
        : lastBefore !== undefined && Buffer.compare(lastBefore, bytes.subarray(0, end)) === 0;
      if (isEqual) found = index;
      before = from;
      from = end;
    }
    this.#last = bytes.slice(ends.length > 1 ? ends[ends.length - 2] : 0, ends[ends.length - 1]);
    return found;
  }
}

/** Compares the item [from, end) with the one right before it, from behind: that is where counters differ. */
function isRepeat(bytes: Uint8Array, before: number, from: number, end: number): boolean {
  const length = end - from;
  if (from - before !== length) return false;
  for (let at = 1; at <= length; at++) {
    if (bytes[end - at] !== bytes[from - at]) return false;
  }
  return true;
}

function encodeAlone(value: unknown): Uint8Array {
  const encoder = new JobEncoder();
  encoder.append(value);
  return encoder.take().bytes;
}

function callCursor(job: unknown, cursorOf: CursorOf): unknown {
  let cursor: unknown;
  try {
    cursor = cursorOf(job);
  } catch (error) {
    const { message, stack } = describeError(error);
    throw new BadJob(`of which cursor(job) threw: ${message}\n${stack}`);
  }
  if (cursor === undefined) {
    throw new BadJob(
      "of which cursor(job) returned undefined: it must return what `last` will be (a `return` may be missing)",
    );
  }
  if (cursor !== job && isThenable(cursor)) {
    throw new BadJob(
      "of which cursor(job) returned a promise: it must be synchronous, and no `async` function",
    );
  }
  return cursor;
}

/** The run cannot go on behind a job whose cursor cannot be kept. */
function badCursor(error: unknown, whose: string): unknown {
  if (!(error instanceof JobValueError)) return error;
  return new BadJob(
    `${
      (badValue(error, whose) as BadJob).message
    }. The run cannot go on behind it: let cursor(job) return what can be kept, such as an id`,
  );
}

function badValue(error: unknown, whose: string): unknown {
  if (!(error instanceof JobValueError)) return error;
  const { path, reason, source } = error;
  const hint = source === undefined ? "" : instead[source];
  return new BadJob(`${whose}cannot be sent: at ${path} there is ${reason}${hint}`);
}

/** What to do where a job holds what has the data, or stands for it, and not the data. */
const instead = {
  promise: ": an `await` is missing",
  query: ", a query that was not run: a `for await` over its rows is missing, or an `await`",
  stream: ": a `for await` over it is missing",
  iterator: ": a `yield*` is missing",
  memory: ": a `Uint8Array` of its bytes can be sent, or an array of its numbers",
  record: ": a plain object of its fields can be sent, such as `{ ...row }`",
  instance: ": plain data that stands for it can be sent, such as its id or its text",
};
