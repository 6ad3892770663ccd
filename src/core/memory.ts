import type { Block } from "../base/job_span.ts";
import { JobSpan } from "../base/job_span.ts";
import { errorBytes } from "./history.ts";
import type { Piece } from "./piece.ts";

/**
 * Counts the bytes of all jobs yielded and not settled, and those of the blocks that they keep alive. A block is
 * freed as a whole, so one long job could hold many times its size: once more than half is waste, plus some
 * slack so that the work is worth it, blocks that are mostly waste are copied.
 */
export class Memory {
  /** Encoded bytes of the jobs not settled, and of their error text. */
  jobBytes = 0;
  /** Bytes of the blocks that are alive because of them. */
  blockBytes = 0;
  readonly #slackBytes: number;
  /** Bytes of each block's jobs that are not settled. */
  #live = new Map<Block, number>();

  constructor(bytesMax: number) {
    this.#slackBytes = Math.max(1 << 20, bytesMax / 4);
  }

  add(span: JobSpan): void {
    const { block, byteLength } = span;
    const live = this.#live.get(block);
    if (live === undefined) this.blockBytes += sizeOf(block);
    this.#live.set(block, (live ?? 0) + byteLength);
    this.jobBytes += byteLength;
  }

  /** The jobs are settled, or were copied. */
  free(span: JobSpan): void {
    const { block, byteLength } = span;
    const live = this.#live.get(block)! - byteLength;
    this.jobBytes -= byteLength;
    if (live > 0) {
      this.#live.set(block, live);
      return;
    }
    this.#live.delete(block);
    this.blockBytes -= sizeOf(block);
  }

  get isWasteful(): boolean {
    return this.blockBytes > 2 * this.jobBytes + this.#slackBytes;
  }

  /** The same piece, out of its block if that is mostly waste. */
  compact(piece: Piece): Piece {
    const { span } = piece;
    if (2 * this.#live.get(span.block)! >= sizeOf(span.block)) return piece;
    const copy = copyOf(span);
    this.add(copy);
    this.free(span);
    return { ...piece, span: copy };
  }

  /** Error text changes with the history. */
  recount(before: Piece, after: Piece): Piece {
    if (before.history !== after.history) {
      this.jobBytes += errorBytes(after.history) - errorBytes(before.history);
    }
    return after;
  }
}

function sizeOf(block: Block): number {
  return block.bytes.length + (block.cursors?.bytes.length ?? 0);
}

/** Jobs that were handed out need no cursor any more. */
function copyOf(span: JobSpan): JobSpan {
  const start = span.from === 0 ? 0 : span.block.ends[span.from - 1]!;
  const ends = span.block.ends.slice(span.from, span.from + span.count).map((end) => end - start);
  return new JobSpan({ bytes: span.bytes.slice(), ends, cursors: null }, 0, span.count, span.seq);
}
