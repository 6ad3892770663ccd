import { cborDepthMax, cborItemsMax, jobBytesMax } from "../base/limits.ts";
import type { Block } from "../base/job_span.ts";
import { encodeShared } from "./cbor.ts";
import { type Fault, findFault } from "./job_fault.ts";
import { scanItem } from "./prescan.ts";

/**
 * A yielded value that would not arrive as it was sent. The message names the place inside the job and the
 * reason; who knows the job's number adds it.
 */
export class JobValueError extends TypeError {
  /** Where in the job, such as `$.user.tags[3]`. */
  readonly path: string;
  /** What is wrong there, in words. */
  readonly reason: string;

  constructor(fault: Fault) {
    super(`Cannot send this job: at ${fault.path} there is ${fault.reason}`);
    this.path = fault.path;
    this.reason = fault.reason;
  }

  override get name(): string {
    return "JobValueError";
  }
}

/** All of the first jobs are looked through, then one in so many. */
const sampledFirst = 100, sampledEach = 1_000;

/**
 * Encodes jobs one behind the other into a block. Each job is encoded at once, so that the caller may change the
 * value afterwards, and its bytes are pre-scanned, so that no peer refuses them.
 */
export class JobEncoder {
  #bytes = new Uint8Array(1 << 12);
  #ends = new Uint32Array(256);
  #byteLength = 0;
  #count = 0;
  /** Jobs over all blocks; says which are sampled. */
  #seen = 0;

  /** Jobs appended since the last `take`. */
  get count(): number {
    return this.#count;
  }

  /** Their encoded length. */
  get byteLength(): number {
    return this.#byteLength;
  }

  /**
   * Encodes one job and returns its length in bytes. After a refusal the encoder is as it was before.
   *
   * @throws {JobValueError} if the value, or anything in it, would not arrive as it was sent.
   */
  append(value: unknown): number {
    const length = this.#write(value);
    if (this.#seen < sampledFirst || this.#seen % sampledEach === 0) sample(value);
    this.#seen++;
    if (this.#count === this.#ends.length) this.#growEnds();
    this.#ends[this.#count++] = this.#byteLength += length;
    return length;
  }

  /** The jobs appended so far, in memory of their own; the encoder is empty afterwards. `cursors` is null. */
  take(): Block {
    const block = {
      bytes: this.#bytes.slice(0, this.#byteLength),
      ends: this.#ends.slice(0, this.#count),
      cursors: null,
    };
    this.#byteLength = this.#count = 0;
    if (this.#bytes.length > jobBytesMax) this.#bytes = new Uint8Array(1 << 12);
    return block;
  }

  /** Encodes behind the last job, without counting it yet. */
  #write(value: unknown): number {
    try {
      const { shared, start, end } = encodeShared(value);
      const length = end - start;
      if (length > jobBytesMax) throw new RangeError(`${length} bytes`);
      scanItem(shared, start, end, cborDepthMax, cborItemsMax);
      this.#reserve(length);
      this.#copy(shared, start, end);
      return length;
    } catch (error) {
      throw refusal(value, error);
    }
  }

  #copy(shared: Uint8Array, start: number, end: number): void {
    let at = this.#byteLength;
    if (end - start > 32) this.#bytes.set(shared.subarray(start, end), at);
    else for (let index = start; index < end; index++) this.#bytes[at++] = shared[index]!;
  }

  #reserve(length: number): void {
    const needed = this.#byteLength + length;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#byteLength));
    this.#bytes = larger;
  }

  #growEnds(): void {
    const larger = new Uint32Array(this.#ends.length * 2);
    larger.set(this.#ends);
    this.#ends = larger;
  }
}

/** Looks for what encoding alone does not notice: half a surrogate pair, symbols as keys, odd prototypes. */
function sample(value: unknown): void {
  const fault = findFault(value);
  if (fault) throw new JobValueError(fault);
}

/** Why the value was refused, with its path; found only now, for it costs a walk. */
function refusal(value: unknown, error: unknown): JobValueError {
  const fault = findFault(value);
  const reason = error instanceof Error ? error.message : String(error);
  return new JobValueError(fault ?? { path: "$", reason: tooLong(reason) });
}

function tooLong(reason: string): string {
  return /^\d+ bytes$/.test(reason) ? `a value of ${reason} encoded, more than ${jobBytesMax}` : reason;
}
