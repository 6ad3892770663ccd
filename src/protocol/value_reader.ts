import { Buffer } from "node:buffer";
import { cborDepthMax, cborItemsMax } from "../base/limits.ts";
import { dateOf, decode } from "./codec.ts";
import { scanItem } from "./prescan.ts";
import { type Shape, Shapes } from "./shapes.ts";

/**
 * Decodes `count` jobs laid one behind the other, trusted or pre-scanned. Gives what `decode` gives of each.
 *
 * @throws {Error} if there are not exactly `count`.
 */
export function decodeJobs(bytes: Uint8Array, count: number): unknown[] {
  const reader = new ValueReader(bytes, jobShapes, false);
  const jobs = new Array<unknown>(count);
  for (let index = 0; index < count; index++) jobs[index] = reader.next();
  if (!reader.isAtEnd) throw new Error(`Cannot decode ${count} jobs: there are more bytes`);
  return jobs;
}

/**
 * Decodes one message, pre-scanned. Gives what `decode` gives, but byte strings are views of `bytes`, as a rule: a
 * lease's jobs are not copied once more.
 */
export function decodeMessage(bytes: Uint8Array): unknown {
  return new ValueReader(bytes, messageShapes, true).next();
}

/** For all jobs of this process: those of one run look alike. */
const jobShapes = new Shapes();
/** For all messages of this process: some dozens, of a handful of keys. What else a peer sends is read key by key. */
const messageShapes = new Shapes(1 << 15, "stop");

/** Beyond so many keys an object is a table, and no two are alike. */
const shapeKeysMax = 64;

/**
 * Reads values several times as fast as cbor-x does, to whom it leaves what is rare. Most of the time that takes
 * goes into the keys of objects, again and again the same: here they are compared, not decoded.
 */
class ValueReader {
  readonly #bytes: Uint8Array;
  readonly #texts: Buffer;
  readonly #numbers: DataView;
  readonly #shapes: Shapes;
  /** Whether byte strings are views, rather than copies. */
  readonly #hasViews: boolean;
  #at = 0;
  /** Values of the objects that are being read, the innermost last. */
  readonly #values: unknown[] = [];
  #depth = 0;

  constructor(bytes: Uint8Array, shapes: Shapes, hasViews: boolean) {
    const { buffer, byteOffset, byteLength } = bytes;
    // Never a Buffer, for byte strings cut out of one would be Buffers too, and views.
    this.#bytes = new Uint8Array(buffer, byteOffset, byteLength);
    this.#texts = Buffer.from(buffer, byteOffset, byteLength);
    this.#numbers = new DataView(buffer, byteOffset, byteLength);
    this.#shapes = shapes;
    this.#hasViews = hasViews;
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
        return this.#texts.toString("utf8", this.#at, this.#at += value);
      case 4:
        return this.#array(value);
      case 5:
        return value > shapeKeysMax ? this.#table(value) : this.#object(value);
      default:
        return value === 1 ? dateOf(this.next() as number | bigint) : this.#rare(start);
    }
  }

  /** The 1, 2, 4 or 8 bytes behind a head. */
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

  /** The shape with the key that comes next, which is behind us then; null, and it is not, if there is none. */
  #nextShape(shape: Shape): Shape | null {
    const { firstShapes } = shape;
    for (let index = 0; index < firstShapes.length; index++) {
      if (this.#passes(firstShapes[index]!.keyBytes)) return firstShapes[index]!;
    }
    const at = this.#at;
    const next = this.#shapes.with(shape, this.next() as string);
    if (next === null) this.#at = at;
    return next;
  }

  /** Whether these bytes come next; if so they are behind us. */
  #passes(wanted: Uint8Array): boolean {
    const bytes = this.#bytes, at = this.#at;
    for (let index = 0; index < wanted.length; index++) if (bytes[at + index] !== wanted[index]) return false;
    this.#at += wanted.length;
    return true;
  }

  /** So many keys, behind those that `object` has already. */
  #table(keys: number, object: object = {}): object {
    const table = object as Record<string, unknown>;
    for (let index = 0; index < keys; index++) {
      const key = this.next() as string;
      table[key] = this.next();
    }
    return table;
  }

  /** An item that is none of the usual: a set, a map, a larger bigint. */
  #rare(start: number): unknown {
    this.#at = scanItem(this.#bytes, start, this.#bytes.length, cborDepthMax, cborItemsMax);
    return decode(this.#bytes.subarray(start, this.#at));
  }
}

/** A number in 16 bits, as IEEE 754 lays it out. */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const sign = bits >> 15 === 0 ? 1 : -1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
