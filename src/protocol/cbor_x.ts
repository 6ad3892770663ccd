import { addExtension, Encoder } from "cbor-x/index-no-eval";
import { Buffer } from "node:buffer";
import { cborDepthMax, cborItemsMax, jobBytesMax } from "../lib/limits.ts";
import { scanItem } from "./cbor_scan.ts";
import { isExactDate } from "./cbor_shapes.ts";

// The only importer of cbor-x. This entry is pure JavaScript; the main one loads a native addon that crashes Bun
// and Deno. Records, which are cbor-x's own tags, stay off; so do typed-array tags.
const options = { useRecords: false, copyBuffers: true, tagUint8Array: false, variableMapSize: true };
const cbor = new Encoder(options as never) as unknown as {
  encode(value: unknown, mode?: number): Uint8Array & { start: number; end: number };
  decode(bytes: Uint8Array): unknown;
};

/** cbor-x: return the shared buffer with `start` and `end` set on it; and begin there again next time. */
const inPlace = 512 | 1024;

/**
 * What must not be encoded, although cbor-x would: class instances, Promise, RegExp, Error, URL, typed arrays
 * other than Uint8Array; and arrays of a subclass, which it would not take for arrays. Asked by cbor-x about every
 * object that is no plain object, array or Map.
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
    // By its indices: what the subclass makes of `slice` or `map` is one of its own again.
    if (Array.isArray(value)) return encodeItem(Array.from({ length: value.length }, (_, at) => value[at]));
    throw new TypeError("Cannot encode this value: it would not arrive as it was sent");
  },
  decode: (value: never) => value,
});

/** As cbor-x does it, but for seconds in 64 bits, which arrive as a bigint. */
export function dateOf(seconds: number | bigint): Date {
  return new Date(Math.round(Number(seconds) * 1000));
}
addExtension({ tag: 1, decode: dateOf } as never);

/**
 * One self-contained CBOR item in memory of its own.
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

/**
 * One job in memory that is only good until the next call. Its bytes are pre-scanned, so that no peer refuses them.
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
