/**
 * Encoded jobs as they were yielded: self-contained CBOR items, one behind the other, never decoded again at
 * the master. Immutable once made.
 */
export type Block = Readonly<{
  bytes: Uint8Array;
  /** Where each job ends in `bytes`, ascending; its length is the number of jobs. */
  ends: Uint32Array;
  /** The jobs' cursors (CBOR items) laid out likewise; null where each job is its own cursor. */
  cursors: Readonly<{ bytes: Uint8Array; ends: Uint32Array }> | null;
}>;

/** A row with a fault of its data: it cannot be sent, and has no bytes, but a place among the jobs, and a cursor. */
export type Unsendable = Readonly<{
  /** A CBOR item. */
  cursor: Uint8Array;
  /** Where in it the fault is, such as `$.user.name`. */
  path: string;
  reason: string;
  /** The same for all rows with such a fault. */
  dataFault: string;
}>;

/**
 * Consecutive jobs of one block, numbered. Cutting a span copies nothing: the parts share the block.
 */
export class JobSpan {
  readonly block: Block;
  /** Index in the block of the first job. */
  readonly from: number;
  readonly count: number;
  /** Seq of the first job. */
  readonly seq: number;

  constructor(block: Block, from: number, count: number, seq: number) {
    this.block = block;
    this.from = from;
    this.count = count;
    this.seq = seq;
  }

  /** One past the last seq. */
  get end(): number {
    return this.seq + this.count;
  }

  /** The encoded jobs, a view. */
  get bytes(): Uint8Array {
    return this.block.bytes.subarray(
      offset(this.block.ends, this.from),
      offset(this.block.ends, this.from + this.count),
    );
  }

  get byteLength(): number {
    return offset(this.block.ends, this.from + this.count) - offset(this.block.ends, this.from);
  }

  /** The jobs `fromSeq` up to, not including, `toSeq`; both within this span. */
  cut(fromSeq: number, toSeq: number): JobSpan {
    return new JobSpan(this.block, this.from + fromSeq - this.seq, toSeq - fromSeq, fromSeq);
  }

  /** Encoded bytes of one job, a view. */
  job(seq: number): Uint8Array {
    return item(this.block, this.from + seq - this.seq);
  }

  /** Encoded cursor of one job, a view. */
  cursor(seq: number): Uint8Array {
    return item(this.block.cursors ?? this.block, this.from + seq - this.seq);
  }
}

function item(items: { bytes: Uint8Array; ends: Uint32Array }, index: number): Uint8Array {
  return items.bytes.subarray(offset(items.ends, index), offset(items.ends, index + 1));
}

/** Where job `index` begins. */
function offset(ends: Uint32Array, index: number): number {
  return index === 0 ? 0 : ends[index - 1]!;
}
