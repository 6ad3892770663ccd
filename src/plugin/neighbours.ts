import { Buffer } from "node:buffer";
import type { Block } from "../base/job_span.ts";

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
