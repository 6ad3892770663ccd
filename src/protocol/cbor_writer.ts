import { Buffer } from "node:buffer";
import { cborDepthMax, cborItemsMax, jobBytesMax } from "../lib/limits.ts";
import { isExactDate, KeyShapes, mapHead, writeHead } from "./cbor_shapes.ts";
import { overlong } from "./job_fault.ts";

/** Longest text whose characters are checked one by one: a library call costs about as much. */
const shortChars = 64;
/** Most bytes of a head with a number. */
const headBytes = 9;
/** Most bytes of a short text if it is ASCII. */
const shortBytes = headBytes + shortChars;

/**
 * Encodes plain values one behind the other into a growing buffer, several times as fast as cbor-x. Plain are objects,
 * arrays, texts, numbers, booleans, null, undefined, dates and bytes within the limits of a job, except its length. Its
 * output needs no pre-scan.
 */
export class ValueWriter {
  /** The buffer; only its first `length` bytes are valid. */
  bytes: Uint8Array = new Uint8Array(1 << 12);
  length = 0;
  #numbers = new DataView(this.bytes.buffer);
  readonly #shapes = new KeyShapes();
  /** Where the value being written begins. */
  #start = 0;
  /** Items that the value being written may still have. */
  #itemsLeft = 0;
  readonly #bytesMax: number;

  /** @param bytesMax Most bytes of one value. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Writes one value. Returns false, writing nothing, if it is not plain or too long; the caller must then use cbor-x
   * or reject it.
   *
   * @throws {RangeError} if the value is far too long, as soon as that is known. The caller must then reset `length`.
   */
  write(value: unknown): boolean {
    const start = this.#start = this.length;
    this.#itemsLeft = cborItemsMax - 1;
    if (this.#value(value, 0) && this.length - start <= this.#bytesMax) return true;
    this.length = start;
    return false;
  }

  /** Appends an encoded value. */
  copy(encoded: Uint8Array): void {
    this.#reserve(encoded.length);
    this.bytes.set(encoded, this.length);
    this.length += encoded.length;
  }

  /** Returns a copy of all that was written and empties the writer. */
  take(): Uint8Array {
    const taken = this.bytes.slice(0, this.length);
    this.length = 0;
    if (this.bytes.length > jobBytesMax) this.#replace(new Uint8Array(1 << 12));
    return taken;
  }

  #value(value: unknown, depth: number): boolean {
    switch (typeof value) {
      case "number":
        return this.#number(value);
      case "string":
        return this.#text(value);
      case "boolean":
        return this.#byte(value ? 0xf5 : 0xf4);
      case "undefined":
        return this.#byte(0xf7);
      case "object":
        if (value === null) return this.#byte(0xf6);
        return depth < cborDepthMax && this.#composite(value, depth + 1);
      default:
        return false;
    }
  }

  #composite(value: object, depth: number): boolean {
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype) return this.#object(value as Record<string, unknown>, depth);
    if (prototype === Array.prototype) return Array.isArray(value) && this.#array(value, depth);
    if (prototype === Date.prototype) return this.#date(value as Date);
    if (prototype === Uint8Array.prototype || prototype === Buffer.prototype) {
      return this.#byteString(value as Uint8Array);
    }
    // an array of a subclass, such as a query result with extra properties
    return Array.isArray(value) && this.#array(value, depth);
  }

  #object(object: Record<string, unknown>, depth: number): boolean {
    this.#reserve(headBytes);
    const at = this.length++;
    let count = 0;
    let shape = this.#shapes.empty;
    for (const key in object) {
      const likely = shape.likely;
      if (!Object.hasOwn(object, key)) continue;
      if (likely !== null && likely.key === key) shape = likely;
      else if (key === "__proto__" || !isWellFormed(key)) return false;
      else shape = this.#shapes.with(shape, key)!; // never null: this tree forgets instead of stopping
      this.#keyOf(shape.keyBytes);
      if (!this.#value(object[key], depth)) return false;
      count++;
    }
    if (shape.isToBeSearched() && Object.getOwnPropertySymbols(object).length > 0) return false;
    if (count < 24) this.bytes[at] = 0xa0 | count;
    else this.#widenHead(at, count);
    return (this.#itemsLeft -= 2 * count) >= 0;
  }

  /** The map at `at` has too many keys for a head of one byte: moves its content and writes a longer head. */
  #widenHead(at: number, count: number): void {
    const head = mapHead(count);
    this.#reserve(head.length);
    this.bytes.copyWithin(at + head.length, at + 1, this.length);
    this.bytes.set(head, at);
    this.length += head.length - 1;
  }

  #keyOf(keyBytes: Uint8Array): void {
    this.#reserve(keyBytes.length);
    const bytes = this.bytes, at = this.length;
    for (let index = 0; index < keyBytes.length; index++) bytes[at + index] = keyBytes[index]!;
    this.length += keyBytes.length;
  }

  #array(items: readonly unknown[], depth: number): boolean {
    if ((this.#itemsLeft -= items.length) < 0) return false;
    this.#head(0x80, items.length);
    for (let index = 0; index < items.length; index++) if (!this.#value(items[index], depth)) return false;
    return true;
  }

  #byteString(bytes: Uint8Array): boolean {
    if (bytes.length > this.#bytesMax) return false;
    this.#head(0x40, bytes.length);
    this.copy(bytes);
    return true;
  }

  /** Writes seconds, as an integer if they are whole. */
  #date(date: Date): boolean {
    this.#byte(0xc1);
    return isExactDate(date) && this.#number(date.getTime() / 1000);
  }

  #number(value: number): boolean {
    if (value >>> 0 === value) return this.#head(0, value);
    if (value < 0 && value >= -(2 ** 32) && Math.floor(value) === value) return this.#head(0x20, -1 - value);
    this.#reserve(headBytes);
    this.bytes[this.length] = 0xfb;
    this.#numbers.setFloat64(this.length + 1, value);
    this.length += 9;
    return true;
  }

  #text(text: string): boolean {
    const count = text.length;
    if (count > shortChars) return this.#longText(text);
    this.#reserve(shortBytes);
    const bytes = this.bytes, start = this.length;
    this.#head(0x60, count);
    const at = this.length;
    for (let index = 0; index < count; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) {
        this.length = start;
        return this.#longText(text);
      }
      bytes[at + index] = unit;
    }
    this.length = at + count;
    return true;
  }

  #longText(text: string): boolean {
    if (text.length > this.#bytesMax || !isWellFormed(text)) return false;
    const byteLength = Buffer.byteLength(text);
    this.#head(0x60, byteLength);
    this.#reserve(byteLength);
    const room = Buffer.from(this.bytes.buffer, this.length, byteLength);
    this.length += room.write(text);
    return true;
  }

  #byte(byte: number): true {
    this.#reserve(1);
    this.bytes[this.length++] = byte;
    return true;
  }

  #head(type: number, value: number): true {
    this.#reserve(headBytes);
    this.length = writeHead(this.bytes, this.length, type, value);
    return true;
  }

  #reserve(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    // Checked only when the buffer must grow; `write` checks the exact length at the end.
    if (needed - this.#start > this.#bytesMax + shortBytes) throw new RangeError(overlong);
    const larger = new Uint8Array(Math.max(needed, this.bytes.length * 2));
    larger.set(this.bytes.subarray(0, this.length));
    this.#replace(larger);
  }

  #replace(bytes: Uint8Array): void {
    this.bytes = bytes;
    this.#numbers = new DataView(bytes.buffer);
  }
}

/** Whether the text has no lone surrogate, which no encoding would keep. */
function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}
