import { addExtension, Encoder } from "cbor-x/index-no-eval";
import { Buffer } from "node:buffer";
import { cborDepthMax, cborItemsMax, jobBytesMax } from "../lib/limits.ts";
import { scanItem } from "./cbor_scan.ts";
import { isExactDate } from "./cbor_shapes.ts";

// The only importer of cbor-x. This entry is pure JavaScript; the main one loads a native addon that crashes Bun and
// Deno. Records, a cbor-x extension, stay off, and so do typed-array tags.
const options = { useRecords: false, copyBuffers: true, tagUint8Array: false, variableMapSize: true };
const cbor = new Encoder(options as never) as unknown as {
  encode(value: unknown, mode?: number): Uint8Array & { start: number; end: number };
  decode(bytes: Uint8Array): unknown;
};

/** Options of cbor-x: return the shared buffer with `start` and `end` set on it, and reuse it from there next time. */
const inPlace = 512 | 1024;

/**
 * Matches what must not be encoded although cbor-x would: class instances, Promise, RegExp, Error, URL, typed arrays
 * other than Uint8Array; and arrays of a subclass, which cbor-x does not recognize. cbor-x asks about every object that
 * is not a plain object, array or Map.
 */
class Refuser {
  static [Symbol.hasInstance](value: object): boolean {
    const prototype = Object.getPrototypeOf(value);
    if (prototype === Date.prototype) return !isExactDate(value as Date);
    if (prototype === Object.prototype || prototype === null) return false;
    return prototype !== Set.prototype && prototype !== Uint8Array.prototype && prototype !== bufferPrototype;
  }
}
const bufferPrototype: unknown = Buffer.prototype;

addExtension({
  Class: Refuser as never,
  tag: undefined as never,
  encode(value: unknown, encodeItem: (value: unknown) => never): never {
    // Copied by index: `slice` or `map` of the subclass would return the subclass again.
    if (Array.isArray(value)) return encodeItem(Array.from({ length: value.length }, (_, at) => value[at]));
    throw new TypeError("Cannot encode this value: it would not arrive as it was sent");
  },
  decode: (value: never) => value,
});

/** As in cbor-x, but also for 64-bit seconds, which arrive as a bigint. */
export function dateOf(seconds: number | bigint): Date {
  return new Date(Math.round(Number(seconds) * 1000));
}
addExtension({ tag: 1, decode: dateOf } as never);

/**
 * Encodes a value as one self-contained CBOR item in a new buffer.
 *
 * @throws {TypeError} if the value holds a function, a symbol or a class instance.
 */
export function encode(value: unknown): Uint8Array {
  const shared = cbor.encode(value, inPlace);
  return new Uint8Array(shared.subarray(shared.start, shared.end));
}

/** Decodes trusted or pre-scanned bytes. Byte strings are fresh copies. */
export function decode(bytes: Uint8Array): unknown {
  return cbor.decode(readable(bytes));
}

/** U+FEFF in UTF-8. */
const byteOrderMark: Buffer = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Keeps the byte order mark at the start of texts. cbor-x decodes texts of more than 64 bytes with a TextDecoder, which
 * removes one mark, so `subarray` doubles it.
 */
class MarkedBytes extends Uint8Array {
  /** Parts are plain Uint8Arrays. */
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

/** The bytes in the form cbor-x needs. Never a Buffer, or the byte strings in it would be Buffers too. */
function readable(bytes: Uint8Array): Uint8Array {
  const Bytes = hasByteOrderMark(bytes) ? MarkedBytes : Uint8Array;
  return bytes.constructor === Bytes ? bytes : new Bytes(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function hasByteOrderMark(bytes: Uint8Array): boolean {
  if (bytes.length <= 64) return false;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(byteOrderMark);
}

/**
 * Encodes one job into a buffer that is valid until the next call. The result is pre-scanned, so that no peer rejects
 * it.
 *
 * @throws {Error} if the value, or anything in it, cannot be encoded.
 */
export function encodeJob(value: unknown): Uint8Array {
  const shared = cbor.encode(value, inPlace);
  const { start, end } = shared;
  if (end - start > jobBytesMax) throw new RangeError(`${end - start} bytes`);
  scanItem(shared, start, end, cborDepthMax, cborItemsMax);
  return shared.subarray(start, end);
}
