import { Queue } from "../base/queue.ts";
import { type Block, JobSpan } from "../base/job_span.ts";

/** Jobs yielded and never handed out, in source order. */
export class Fresh {
  #spans = new Queue<JobSpan>();
  /** How many jobs. */
  count = 0;

  /** The latest job yielded, as a span of one; undefined if all were handed out. */
  get last(): JobSpan | undefined {
    const span = this.#spans.last;
    return span?.cut(span.end - 1, span.end);
  }

  push(block: Block, from: number, seq: number): JobSpan {
    const span = new JobSpan(block, from, block.ends.length - from, seq);
    this.#spans.push(span);
    this.count += span.count;
    return span;
  }

  /** Takes out at most so many consecutive jobs and bytes, at least one job. There must be one. */
  cut(jobsMax: number, bytesMax: number): JobSpan[] {
    const parts: JobSpan[] = [];
    let jobs = jobsMax;
    let bytes = bytesMax;
    while (jobs > 0 && this.#spans.first !== undefined) {
      const first = this.#spans.first;
      const count = fitting(first, jobs, bytes, parts.length === 0);
      if (count === 0) break;
      parts.push(count === first.count ? first : first.cut(first.seq, first.seq + count));
      this.#spans.shift();
      if (count < first.count) this.#spans.unshift(first.cut(first.seq + count, first.end));
      this.count -= count;
      jobs -= count;
      bytes -= parts.at(-1)!.byteLength;
      if (count < first.count) break;
    }
    return parts;
  }

  clear(): void {
    this.#spans = new Queue();
    this.count = 0;
  }
}

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
