import { Buffer, isUtf8 } from "node:buffer";
import { cborDepthMax, cborItemsMax } from "../lib/limits.ts";
import { checkTexts, FrameError, prescan, scanItem } from "./cbor_scan.ts";
import { type KeyShape, KeyShapes } from "./cbor_shapes.ts";
import { dateOf, decode } from "./cbor_x.ts";

/**
 * Decodes `count` jobs laid one behind the other, trusted or pre-scanned. Each result equals that of `decode`.
 *
 * @param onRefused Called with the index of each job that has a text not in UTF-8 or a duplicate key; the other jobs
 * are decoded all the same. Without it such a job is an error.
 *
 * @throws {Error} if the bytes are not exactly `count` jobs.
 */
export function decodeJobs(
  bytes: Uint8Array,
  count: number,
  onRefused: (index: number, error: FrameError) => void = (_, error) => {
    throw error;
  },
): unknown[] {
  const reader = new ValueReader(bytes, jobShapes, false);
  const jobs = new Array<unknown>(count);
  for (let index = 0; index < count; index++) {
    const start = reader.at;
    try {
      jobs[index] = reader.next();
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      onRefused(index, faultOf(reader.skip(start)) ?? error);
    }
  }
  if (!reader.isAtEnd) throw new Error(`Cannot decode ${count} jobs: there are more bytes`);
  return jobs;
}

/** What is wrong with this job, and where; null if nothing is. */
function faultOf(job: Uint8Array): FrameError | null {
  try {
    prescan(job, { keysMax: Infinity });
    return null;
  } catch (error) {
    return error as FrameError;
  }
}

/**
 * Decodes one pre-scanned message. The result equals that of `decode`, except that byte strings are usually views of
 * `bytes`: a lease's jobs are not copied again.
 */
export function decodeMessage(bytes: Uint8Array): unknown {
  return new ValueReader(bytes, messageShapes, true).next();
}

/** Shared by all jobs of this process: the jobs of one run have similar keys. */
const jobShapes = new KeyShapes();
/**
 * Shared by all messages of this process: some dozens of shapes with few keys. Any other key from a peer is decoded
 * each time.
 */
const messageShapes = new KeyShapes(1 << 15, "stop");

/**
 * A method of the Buffers of Node, Bun and Deno: `toString("utf8")` without its overhead, which for short texts exceeds
 * the decoding itself.
 */
type Texts = Readonly<{ utf8Slice(from: number, to: number): string }>;

/** An object with more keys than this is treated as a table, whose keys do not repeat in other objects. */
const shapeKeysMax = 64;

/**
 * Decodes CBOR several times as fast as cbor-x, which decodes rare types. Decoding the keys of objects would take most
 * of the time, and they repeat, so they are compared as bytes instead.
 */
class ValueReader {
  readonly #bytes: Uint8Array;
  readonly #texts: Texts;
  readonly #numbers: DataView;
  readonly #shapes: KeyShapes;
  /** Whether byte strings are returned as views, not copies. */
  readonly #hasViews: boolean;
  #at = 0;
  /** Values of the objects being read, innermost last. */
  readonly #values: unknown[] = [];
  #depth = 0;

  constructor(bytes: Uint8Array, shapes: KeyShapes, hasViews: boolean) {
    const { buffer, byteOffset, byteLength } = bytes;
    // Never a Buffer: its `subarray` and `slice` would return Buffers, and `slice` a view.
    this.#bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.#texts = Buffer.from(buffer, byteOffset, byteLength) as unknown as Texts;
    this.#numbers = new DataView(buffer, byteOffset, byteLength);
    this.#shapes = shapes;
    this.#hasViews = hasViews;
  }

  /** Offset of the next value. */
  get at(): number {
    return this.#at;
  }

  /** Abandons the value that began at `start`, moves behind it, and returns its bytes. */
  skip(start: number): Uint8Array {
    this.#depth = 0;
    this.#at = scanItem(this.#bytes, start, this.#bytes.length, cborDepthMax, cborItemsMax);
    return this.#bytes.subarray(start, this.#at);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  next(): unknown {
    const start = this.#at;
    if (start >= this.#bytes.length) throw new Error("Cannot decode a value: there are no more bytes");
    const head = this.#bytes[this.#at++]!;
    const major = head >> 5;
    if (major === 7) return this.#simple(head, start);
    let value = head & 31;
    if (value === 27 && major < 2) return this.#bigint(major);
    if (value > 23) value = this.#argument(value);
    switch (major) {
      case 0:
        return value;
      case 1:
        return -1 - value;
      case 2:
        return this.#byteString(value);
      case 3:
        return this.#text(value);
      case 4:
        return this.#array(value);
      case 5:
        return value > shapeKeysMax ? this.#table(value) : this.#object(value);
      default:
        return value === 1 ? dateOf(this.next() as number | bigint) : this.#rare(start);
    }
  }

  /** Reads the 1, 2, 4 or 8 bytes of a head's argument. */
  #argument(info: number): number {
    const at = this.#at;
    this.#at += 1 << (info - 24);
    if (info === 24) return this.#bytes[at]!;
    if (info === 25) return this.#numbers.getUint16(at);
    return info === 26 ? this.#numbers.getUint32(at) : Number(this.#numbers.getBigUint64(at));
  }

  #bigint(major: number): bigint {
    const value = this.#numbers.getBigUint64(this.#at);
    this.#at += 8;
    return major === 0 ? value : -1n - value;
  }

  #simple(head: number, start: number): unknown {
    switch (head) {
      case 0xf4:
        return false;
      case 0xf5:
        return true;
      case 0xf6:
        return null;
      case 0xf7:
        return undefined;
      case 0xf9:
        this.#at += 2;
        return halfFloat(this.#numbers.getUint16(start + 1));
      case 0xfa:
        this.#at += 4;
        return this.#numbers.getFloat32(start + 1);
      case 0xfb:
        this.#at += 8;
        return this.#numbers.getFloat64(start + 1);
      default:
        return this.#rare(start);
    }
  }

  #byteString(length: number): Uint8Array {
    const at = this.#at;
    this.#at += length;
    return this.#hasViews ? this.#bytes.subarray(at, this.#at) : this.#bytes.slice(at, this.#at);
  }

  /**
   * Invalid UTF-8 decodes to U+FFFD. Searching for that costs almost nothing in ASCII text; only a hit is checked
   * further.
   */
  #text(length: number): string {
    const at = this.#at;
    const text = this.#texts.utf8Slice(at, this.#at += length);
    if (text.indexOf("\ufffd") >= 0 && !isUtf8(this.#bytes.subarray(at, this.#at))) {
      throw new FrameError("Cannot decode a text that is not in UTF-8");
    }
    return text;
  }

  #array(length: number): unknown[] {
    const items = new Array<unknown>(length);
    for (let index = 0; index < length; index++) items[index] = this.next();
    return items;
  }

  #object(keys: number): object {
    const values = this.#values;
    const base = this.#depth;
    let shape = this.#shapes.empty;
    for (let index = 0; index < keys; index++) {
      const likely = shape.likely;
      const next = likely !== null && this.#passes(likely.keyBytes) ? likely : this.#nextShape(shape);
      if (next === null) {
        this.#depth = base;
        return this.#table(keys - index, shape.make(values, base));
      }
      shape = next;
      values[this.#depth++] = this.next();
    }
    this.#depth = base;
    return shape.make(values, base);
  }

  /**
   * Reads a key and returns the shape extended by it. Returns null, without having read the key, if no new shape may be
   * kept.
   */
  #nextShape(shape: KeyShape): KeyShape | null {
    const { firstShapes } = shape;
    for (let index = 0; index < firstShapes.length; index++) {
      if (this.#passes(firstShapes[index]!.keyBytes)) return firstShapes[index]!;
    }
    const at = this.#at;
    const key = this.next() as string;
    if (shape.after(key) === undefined && shape.has(key)) throw keyTwice();
    const next = this.#shapes.with(shape, key);
    if (next === null) this.#at = at;
    return next;
  }

  /** Moves behind `wanted` and returns true if those bytes come next; otherwise returns false. */
  #passes(wanted: Uint8Array): boolean {
    const bytes = this.#bytes, at = this.#at;
    for (let index = 0; index < wanted.length; index++) if (bytes[at + index] !== wanted[index]) return false;
    this.#at += wanted.length;
    return true;
  }

  /** Reads `keys` keys and values into `object`, which may already have others. */
  #table(keys: number, object: object = {}): object {
    const table = object as Record<string, unknown>;
    for (let index = 0; index < keys; index++) {
      const key = this.next() as string;
      if (Object.hasOwn(table, key)) throw keyTwice();
      table[key] = this.next();
    }
    return table;
  }

  /** Decodes a rare item with cbor-x: a set, a map, a large bigint. */
  #rare(start: number): unknown {
    this.#at = scanItem(this.#bytes, start, this.#bytes.length, cborDepthMax, cborItemsMax);
    checkTexts(this.#bytes, start, Infinity);
    return decode(this.#bytes.subarray(start, this.#at));
  }
}

function keyTwice(): FrameError {
  return new FrameError("Cannot decode a map that has a key twice");
}

/** Decodes a half-precision float (IEEE 754 binary16). */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const sign = bits >> 15 === 0 ? 1 : -1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
