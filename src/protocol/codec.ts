import { Buffer } from "node:buffer";
import { addExtension, Encoder } from "cbor-x/index-no-eval";
import type { Block } from "../base/job_span.ts";
import { cborDepthMax, cborItemsMax, jobBytesMax } from "../base/limits.ts";
import { isExactDate } from "./exact_date.ts";
import { findFault } from "./job_fault.ts";
import { JobValueError } from "./job_value_error.ts";
import { scanItem } from "./prescan.ts";

export { JobValueError } from "./job_value_error.ts";

// The only importer of cbor-x. This entry is pure JavaScript; the main one loads a native addon that crashes Bun
// and Deno. Records, which are cbor-x's own tags, stay off; so do typed-array tags.
const cbor = coder({ variableMapSize: true });

/** A map's length in two bytes, whatever it is: costs two bytes an object, and saves a fifth of the time. */
const jobCoder = coder({});

/** Byte strings are views of what is decoded: a lease's jobs are not copied once more. */
const viewer = coder({ copyBuffers: false });

function coder(options: object): Coder {
  const all = { useRecords: false, copyBuffers: true, tagUint8Array: false, ...options };
  return new Encoder(all as never) as unknown as Coder;
}

type Coder = {
  encode(value: unknown, mode?: number): Uint8Array & { start: number; end: number };
  decode(bytes: Uint8Array): unknown;
  decodeMultiple(bytes: Uint8Array): unknown[];
};

/** cbor-x: return the shared buffer with `start` and `end` set on it; and begin there again next time. */
const inPlace = 512 | 1024;

/**
 * What must not be encoded, although cbor-x would: class instances, Promise, RegExp, Error, URL, typed arrays
 * other than Uint8Array. Asked by cbor-x about every object that is no plain object, array or Map.
 */
class Unsendable {
  static [Symbol.hasInstance](value: object): boolean {
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Date.prototype) return !isExactDate(value as Date);
    if (prototype === Object.prototype || prototype === null) return false;
    return prototype !== Set.prototype && prototype !== Uint8Array.prototype && prototype !== bufferPrototype;
  }
}
const bufferPrototype: unknown = Buffer.prototype;

addExtension({
  Class: Unsendable as never,
  tag: undefined as never,
  encode(): never {
    throw new TypeError("Cannot encode this value: it would not arrive as it was sent");
  },
  decode: (value: never) => value,
});

// As cbor-x does it, but for seconds in 64 bits, which arrive as a bigint.
addExtension(
  { tag: 1, decode: (seconds: number | bigint) => new Date(Math.round(Number(seconds) * 1000)) } as never,
);

/**
 * One self-contained CBOR item in memory of its own.
 *
 * @throws {TypeError} if the value holds a function, a symbol or a class instance.
 */
export function encode(value: unknown): Uint8Array {
  return encodeBehind(value, 0);
}

/** As `encode`, behind `room` bytes of zero. */
export function encodeBehind(value: unknown, room: number): Uint8Array {
  const shared = cbor.encode(value, inPlace);
  const bytes = new Uint8Array(room + shared.end - shared.start);
  bytes.set(shared.subarray(shared.start, shared.end), room);
  return bytes;
}

/** Decodes trusted or pre-scanned bytes. Byte strings are fresh copies. */
export function decode(bytes: Uint8Array): unknown {
  return cbor.decode(readable(bytes));
}

/** As `decode`, but byte strings are views of `bytes`, as a rule. */
export function decodeViews(bytes: Uint8Array): unknown {
  return (hasByteOrderMark(bytes) ? cbor : viewer).decode(readable(bytes));
}

/**
 * Decodes `count` items laid one behind the other, trusted or pre-scanned.
 *
 * @throws {Error} if there are not exactly `count`.
 */
export function decodeJobs(bytes: Uint8Array, count: number): unknown[] {
  // As one array: a third quicker than one item after another.
  const array = new Uint8Array(5 + bytes.length);
  array.set([0x9a, count >>> 24, count >>> 16, count >>> 8, count]);
  array.set(bytes, 5);
  return cbor.decode(readable(array)) as unknown[];
}

/** U+FEFF in UTF-8. */
const byteOrderMark: Buffer = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Bytes whose texts keep a byte order mark they begin with. cbor-x gives texts of more than 64 bytes, cut out
 * with `subarray`, to a TextDecoder that takes one mark away; so it is given two.
 */
class MarkedBytes extends Uint8Array {
  /** What is cut out are plain bytes. */
  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array;
  }

  override subarray(begin?: number, end?: number): Uint8Array<ArrayBuffer> {
    const part = super.subarray(begin, end) as Uint8Array<ArrayBuffer>;
    if (!byteOrderMark.every((byte, index) => byte === part[index])) return part;
    const doubled = new Uint8Array(byteOrderMark.length + part.length);
    doubled.set(byteOrderMark);
    doubled.set(part, byteOrderMark.length);
    return doubled;
  }
}

/** The bytes as cbor-x should read them; never a Buffer, for byte strings cut out of one would be Buffers too. */
function readable(bytes: Uint8Array): Uint8Array {
  const Bytes = hasByteOrderMark(bytes) ? MarkedBytes : Uint8Array;
  return bytes.constructor === Bytes ? bytes : new Bytes(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  if (bytes.length <= 64) return false;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(byteOrderMark);
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
    const bytes = new Uint8Array(this.#byteLength);
    bytes.set(this.#bytes.subarray(0, this.#byteLength));
    const ends = new Uint32Array(this.#count);
    ends.set(this.#ends.subarray(0, this.#count));
    const block = { bytes, ends, cursors: null };
    this.#byteLength = this.#count = 0;
    if (this.#bytes.length > jobBytesMax) this.#bytes = new Uint8Array(1 << 12);
    return block;
  }

  /** Encodes behind the last job, without counting it yet. */
  #write(value: unknown): number {
    try {
      return this.#encode(jobCoder, value) || this.#encode(cbor, value);
    } catch (error) {
      throw refusal(value, error);
    }
  }

  /** Returns the encoded length; 0 if this coder cannot do it: an object has more keys than its two bytes can count. */
  #encode(coder: Coder, value: unknown): number {
    const shared = coder.encode(value, inPlace);
    const { start, end } = shared;
    const length = end - start;
    if (length > jobBytesMax) throw new RangeError(`${length} bytes`);
    if (scanItem(shared, start, end, cborDepthMax, cborItemsMax) !== end) return 0;
    this.#reserve(length);
    this.#copy(shared, start, end);
    return length;
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
