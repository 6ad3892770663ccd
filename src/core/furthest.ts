import { JobSpan, type Unsendable } from "../base/job_span.ts";
import type { Jobs } from "./jobs.ts";
import type { RunSettings, RunState } from "./types.ts";

/** A job, or row, by which a source goes on: its cursor, and the hash of its encoding to know it again. */
export type Mark = Readonly<{ cursor: Uint8Array; jobHash: Uint8Array }>;

/** What a source's first job after it was opened is. */
export type FirstJob =
  /** A new job. */
  | "new"
  /** The job that `last` is of: the source reads `last` as inclusive. */
  | "last again"
  /** The run's first job: the source ignores `last`. */
  | "first again";

/** Remembers the furthest job and the run's first one. Digests only where somebody asks. */
export class Furthest {
  readonly #digest: RunSettings["digest"];
  readonly #jobs: Jobs;
  readonly #loaded: Mark | null;
  #firstJobHash: Uint8Array | null;
  /** Known in the start that yielded it. */
  #firstCursor: Uint8Array | null = null;
  #latest: { item: JobSpan | Unsendable; mark: Mark } | null = null;

  constructor(state: RunState | null, jobs: Jobs, digest: RunSettings["digest"]) {
    this.#digest = digest;
    this.#jobs = jobs;
    this.#loaded = state?.last ?? null;
    this.#firstJobHash = state?.firstJobHash ?? null;
  }

  /** Of the furthest job ever handed out: `last` of the state. Null if none was. */
  handedOut(): Mark | null {
    const item = this.#jobs.lastHandedOut;
    if (item === null) return this.#loaded;
    if (this.#latest?.item !== item) this.#latest = { item, mark: this.#markOf(item) };
    return this.#latest.mark;
  }

  /** Of the furthest job yielded, whether handed out or not. */
  yielded(): Mark | null {
    const item = this.#jobs.fresh.last;
    return item === undefined ? this.handedOut() : this.#markOf(item);
  }

  /** Of the run's very first job; null until it was handed out. */
  get firstJobHash(): Uint8Array | null {
    return this.#jobs.counters.handedOut === 0 ? null : this.#firstJobHash;
  }

  /** Compares the first job, or row, with the one after which the source was opened, null on a fresh start. */
  recognize(item: JobSpan | Unsendable, openedAfter: Mark | null): FirstJob {
    const first = this.#markOf(item);
    if (this.#jobs.nextSeq === 0) {
      this.#firstJobHash = first.jobHash;
      this.#firstCursor = first.cursor;
    }
    if (openedAfter === null) return "new";
    if (isEqual(first.cursor, openedAfter.cursor) && isEqual(first.jobHash, openedAfter.jobHash)) {
      return "last again";
    }
    return this.#isFirstOfRun(first) ? "first again" : "new";
  }

  #isFirstOfRun({ cursor, jobHash }: Mark): boolean {
    if (this.#firstJobHash === null || !isEqual(jobHash, this.#firstJobHash)) return false;
    return this.#firstCursor === null || isEqual(cursor, this.#firstCursor);
  }

  #markOf(item: JobSpan | Unsendable): Mark {
    if (!(item instanceof JobSpan)) return { cursor: item.cursor, jobHash: this.#digest(inPlaceOf(item)) };
    return { cursor: item.cursor(item.seq).slice(), jobHash: this.#digest(item.job(item.seq)) };
  }
}

/** What stands for the bytes of a row that has none: no CBOR item begins with ff. */
function inPlaceOf({ cursor }: Unsendable): Uint8Array {
  const bytes = new Uint8Array(1 + cursor.length);
  bytes[0] = 0xff;
  bytes.set(cursor, 1);
  return bytes;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
