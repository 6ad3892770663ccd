import { invariant } from "../base/errors.ts";
import { type Block, JobSpan, type Unsendable } from "../base/job_span.ts";
import { Queue } from "../base/queue.ts";

/**
 * What was yielded and never handed out, in source order. Where a row cannot be sent, what is behind it waits until
 * the row's dead letter is durable:
 *
 *     ready jobs | sinking rows | behind: a row, jobs, a row, jobs ...
 *
 * There are ready jobs, or sinking rows, but never both.
 */
export class Fresh {
  #ready = new Queue<JobSpan>();
  /** How many jobs can be handed out. */
  count = 0;
  /** Rows whose dead letters are on the way. */
  readonly #sinking = new Queue<Unsendable>();
  #behind = new Queue<JobSpan | Unsendable>();
  #behindCount = 0;

  /** All jobs and rows. */
  get total(): number {
    return this.count + this.#sinking.length + this.#behindCount;
  }

  get sinking(): number {
    return this.#sinking.length;
  }

  /** The latest job yielded, as a span of one, or the latest row; undefined if all were handed out. */
  get last(): JobSpan | Unsendable | undefined {
    const last = this.#behind.last ?? this.#sinking.last ?? this.#ready.last;
    return last instanceof JobSpan ? last.cut(last.end - 1, last.end) : last;
  }

  push(block: Block, from: number, seq: number): JobSpan {
    const span = new JobSpan(block, from, block.ends.length - from, seq);
    if (this.#sinking.length + this.#behind.length === 0) this.#pushReady(span);
    else {
      this.#behind.push(span);
      this.#behindCount += span.count;
    }
    return span;
  }

  pushRow(row: Unsendable): void {
    this.#behind.push(row);
    this.#behindCount++;
  }

  #pushReady(span: JobSpan): void {
    this.#ready.push(span);
    this.count += span.count;
  }

  /**
   * Rows before which nothing is left to hand out: they are sinking from now on. None while others are: so their dead
   * letters are durable in order, however the shell writes them.
   */
  sink(): Unsendable[] {
    if (this.count + this.#sinking.length > 0 || this.#behind.length === 0) return none;
    const rows: Unsendable[] = [];
    for (let row = this.#behind.first; row !== undefined; row = this.#behind.first) {
      if (row instanceof JobSpan) break;
      this.#behind.shift();
      this.#behindCount--;
      this.#sinking.push(row);
      rows.push(row);
    }
    return rows;
  }

  /** The dead letter of the first sinking row is durable; after that of the last one the jobs behind it are ready. */
  sunk(): Unsendable {
    const row = this.#sinking.shift();
    invariant(row !== undefined, "Cannot count a row as dead: none is on its way to the dead letters");
    while (this.#sinking.length === 0 && this.#behind.first instanceof JobSpan) {
      const span = this.#behind.first;
      this.#behind.shift();
      this.#behindCount -= span.count;
      this.#pushReady(span);
    }
    return row;
  }

  /** Takes out at most so many consecutive jobs and bytes, at least one job. There must be one. */
  cut(jobsMax: number, bytesMax: number): JobSpan[] {
    const parts: JobSpan[] = [];
    let jobs = jobsMax;
    let bytes = bytesMax;
    while (jobs > 0 && this.#ready.first !== undefined) {
      const first = this.#ready.first;
      const count = fitting(first, jobs, bytes, parts.length === 0);
      if (count === 0) break;
      parts.push(count === first.count ? first : first.cut(first.seq, first.seq + count));
      this.#ready.shift();
      if (count < first.count) this.#ready.unshift(first.cut(first.seq + count, first.end));
      this.count -= count;
      jobs -= count;
      bytes -= parts.at(-1)!.byteLength;
      if (count < first.count) break;
    }
    return parts;
  }

  /** Takes out all but the sinking rows. */
  takeAll(): (JobSpan | Unsendable)[] {
    const all = [...this.#ready, ...this.#behind];
    this.#ready = new Queue();
    this.#behind = new Queue();
    this.count = this.#behindCount = 0;
    return all;
  }
}

const none: Unsendable[] = [];

/** How many of the first jobs of `span` are within both bounds; at least one if it is the first of its batch. */
export function fitting(span: JobSpan, jobsMax: number, bytesMax: number, isFirst: boolean): number {
  const most = Math.min(span.count, jobsMax);
  const { ends } = span.block;
  const limit = (span.from === 0 ? 0 : ends[span.from - 1]!) + bytesMax;
  if (ends[span.from + most - 1]! <= limit) return most;
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ends[span.from + middle - 1]! <= limit) low = middle;
    else high = middle - 1;
  }
  return low === 0 && isFirst ? 1 : low;
}
