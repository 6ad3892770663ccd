import { Buffer } from "node:buffer";

/** What stands before a byte string in CBOR, in its shortest form. */
export function bytesHead(length: number): Uint8Array {
  return head(0x40, length);
}

/** What stands before the keys and values of a map in CBOR, in its shortest form. */
export function mapHead(keys: number): Uint8Array {
  return head(0xa0, keys);
}

/** A text in CBOR, in its shortest form. */
export function textItem(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return new Uint8Array(Buffer.concat([head(0x60, bytes.length), bytes]));
}

function head(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  return bytes.subarray(0, writeHead(bytes, 0, type, value));
}

/**
 * Writes a head in its shortest form, of at most 5 bytes; returns where it ends.
 *
 * @param type The upper three bits.
 * @param value What the head counts or is, of at most 32 bits.
 */
export function writeHead(bytes: Uint8Array, at: number, type: number, value: number): number {
  if (value < 24) {
    bytes[at++] = type | value;
    return at;
  }
  if (value < 1 << 8) {
    bytes[at++] = type | 24;
  } else {
    if (value < 1 << 16) {
      bytes[at++] = type | 25;
    } else {
      bytes[at++] = type | 26;
      bytes[at++] = value >>> 24;
      bytes[at++] = value >>> 16;
    }
    bytes[at++] = value >>> 8;
  }
  bytes[at++] = value;
  return at;
}
