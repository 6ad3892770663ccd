import { createHash } from "node:crypto";
import { hashBytes } from "./limits.ts";

/** Whether both have the same bytes. Not for secrets: its duration depends on how many leading bytes are equal. */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

/**
 * Parses the SHA-256 of a certificate in the forms that people paste: as openssl prints it (`AB:CD:...`, with or
 * without `sha256 Fingerprint=` before it), as bare hex, or as base64 after `sha256/`. Undefined if the text has none
 * of these forms.
 */
export function parseFingerprint(text: string): Uint8Array | undefined {
  const bare = text.trim().replace(/^sha-?256(?: fingerprint)?\s*[=:/]{1,2}\s*/i, "");
  if (/^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i.test(bare)) {
    return new Uint8Array(Buffer.from(bare.replaceAll(":", ""), "hex"));
  }
  const decoded = /^[\w+/-]{43}=?$/.test(bare) ? new Uint8Array(Buffer.from(bare, "base64")) : undefined;
  return decoded?.length === hashBytes ? decoded : undefined;
}

/** Formats a hash like `openssl x509 -fingerprint -sha256`, for comparison by eye: `AB:CD:...`. */
export function formatFingerprint(hash: Uint8Array): string {
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(":");
}

/** The beginning of a hash, enough to tell two apart by eye. */
export function shortHash(hash: Uint8Array): string {
  return Buffer.from(hash.subarray(0, 4)).toString("hex");
}

/**
 * Encoded jobs as they were yielded: self-contained CBOR items laid one behind the other, which the master never
 * decodes. Immutable.
 */
export type Block = Readonly<{
  bytes: Uint8Array;
  /** End offset of each job in `bytes`, ascending; its length is the number of jobs. */
  ends: Uint32Array;
  /** The jobs' cursors (CBOR items) in the same layout; null if each job is its own cursor. */
  cursors: Readonly<{ bytes: Uint8Array; ends: Uint32Array }> | null;
}>;

/** Memory of a block in bytes: its jobs and their cursors. */
export function sizeOfBlock({ bytes, cursors }: Block): number {
  return bytes.length + (cursors?.bytes.length ?? 0);
}

/** A row with a data fault: it cannot be sent and has no bytes, but a place in source order and a cursor. */
export type Unsendable = Readonly<{
  /** A CBOR item. */
  cursor: Uint8Array;
  /** The faulty place in the row, such as `$.user.name`. */
  path: string;
  reason: string;
  /** The kind of fault, equal for all rows with it. */
  dataFault: string;
}>;

/** Consecutive jobs of one block, numbered. Cutting a span copies nothing: both parts share the block. */
export class JobSpan {
  readonly block: Block;
  /** Index of the first job in the block. */
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

  /** The encoded jobs, as a view. */
  get bytes(): Uint8Array {
    return this.block.bytes.subarray(
      offset(this.block.ends, this.from),
      offset(this.block.ends, this.from + this.count),
    );
  }

  get byteLength(): number {
    return offset(this.block.ends, this.from + this.count) - offset(this.block.ends, this.from);
  }

  /** The jobs with `fromSeq <= seq < toSeq`; both must be within this span. */
  cut(fromSeq: number, toSeq: number): JobSpan {
    return new JobSpan(this.block, this.from + fromSeq - this.seq, toSeq - fromSeq, fromSeq);
  }

  /** One encoded job, as a view. */
  job(seq: number): Uint8Array {
    return item(this.block, this.from + seq - this.seq);
  }

  /** One encoded cursor, as a view. */
  cursor(seq: number): Uint8Array {
    return item(this.block.cursors ?? this.block, this.from + seq - this.seq);
  }
}

function item(items: { bytes: Uint8Array; ends: Uint32Array }, index: number): Uint8Array {
  return items.bytes.subarray(offset(items.ends, index), offset(items.ends, index + 1));
}

/** Start offset of job `index`. */
function offset(ends: Uint32Array, index: number): number {
  return index === 0 ? 0 : ends[index - 1]!;
}
