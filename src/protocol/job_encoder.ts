import { Buffer } from "node:buffer";
import type { Block } from "../lib/bytes.ts";
import { jobBytesMax } from "../lib/limits.ts";
import { ValueWriter } from "./cbor_writer.ts";
import { encodeJob } from "./cbor_x.ts";
import { findFault, JobValueError, overlong, tooLong } from "./job_fault.ts";

/** The first plain jobs are all searched for faults, then every `sampledEach`th. */
const sampledFirst = 100, sampledEach = 1_000;

/**
 * Encodes jobs one behind the other into a block. Each job is encoded at once, so the caller may change the value
 * afterwards.
 */
export class JobEncoder {
  readonly #writer = new ValueWriter(jobBytesMax);
  #ends = new Uint32Array(256);
  #count = 0;
  /** Jobs encoded over all blocks; decides which are searched. */
  #seen = 0;

  /** Jobs appended since the last `take`. */
  get count(): number {
    return this.#count;
  }

  /** Their encoded length. */
  get byteLength(): number {
    return this.#writer.length;
  }

  /**
   * Encodes one job and returns its length in bytes. A rejected job leaves the encoder unchanged.
   *
   * @throws {JobValueError} if the value, or anything in it, would not arrive unchanged.
   */
  append(value: unknown): number {
    const start = this.#writer.length;
    this.#write(value, start);
    if (this.#count === this.#ends.length) this.#growEnds();
    this.#ends[this.#count++] = this.#writer.length;
    return this.#writer.length - start;
  }

  /** Appends the first `count` jobs of another encoder. */
  copy(other: JobEncoder, count: number): void {
    const start = this.#writer.length;
    this.#writer.copy(other.#writer.bytes.subarray(0, other.#ends[count - 1]));
    while (this.#count + count > this.#ends.length) this.#growEnds();
    for (let index = 0; index < count; index++) this.#ends[this.#count++] = start + other.#ends[index]!;
  }

  /** Whether the bytes of all jobs are those of another encoder's. */
  isSame(other: JobEncoder): boolean {
    const [mine, others] = [this, other].map((encoder) =>
      encoder.#writer.bytes.subarray(0, encoder.byteLength)
    );
    return Buffer.compare(mine!, others!) === 0;
  }

  /** Removes the last job; `byteLength` is its length. */
  drop(byteLength: number): void {
    this.#writer.length -= byteLength;
    this.#count--;
  }

  /** The jobs since the last `take` as a new block, with `cursors` null; empties the encoder. */
  take(): Block {
    const block = { bytes: this.#writer.take(), ends: this.#ends.slice(0, this.#count), cursors: null };
    this.#count = 0;
    return block;
  }

  #write(value: unknown, start: number): void {
    try {
      const isPlain = this.#writer.write(value);
      if (!isPlain || this.#seen < sampledFirst || this.#seen % sampledEach === 0) lookThrough(value);
      if (!isPlain) this.#writer.copy(encodeJob(value));
      this.#seen++;
    } catch (error) {
      this.#writer.length = start;
      throw error instanceof JobValueError ? error : refusal(value, error);
    }
  }

  #growEnds(): void {
    const larger = new Uint32Array(this.#ends.length * 2);
    larger.set(this.#ends);
    this.#ends = larger;
  }
}

/**
 * Rejects what encoding alone does not notice: symbol keys; in values that are not plain, also lone surrogates and
 * unusual prototypes.
 */
function lookThrough(value: unknown): void {
  const fault = findFault(value);
  if (fault) throw new JobValueError(fault);
}

/** Explains why a value was rejected, with its path. Walks the whole value, so it is called only after a rejection. */
function refusal(value: unknown, error: unknown): JobValueError {
  const fault = findFault(value);
  if (fault !== undefined) return new JobValueError(fault);
  const reason = error instanceof Error ? error.message : String(error);
  if (/^\d+ bytes$/.test(reason)) {
    return new JobValueError(tooLong("$", `a value of ${reason} encoded, more than ${jobBytesMax}`));
  }
  const limit = /more than \d+ items$/.exec(reason)?.[0];
  if (reason === overlong || limit !== undefined) {
    return new JobValueError({ path: "$", reason: limit ?? reason, dataFault: limit ?? overlong });
  }
  return new JobValueError({ path: "$", reason: `a value that cannot be read: ${reason}`, dataFault: null });
}
