import { Buffer } from "node:buffer";

/** What stands before a byte string in CBOR, in its shortest form. */
export function bytesHead(length: number): Uint8Array {
  return head(0x40, length);
}

/** A text in CBOR, in its shortest form. */
export function textItem(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return new Uint8Array(Buffer.concat([head(0x60, bytes.length), bytes]));
}

/** @param type The upper three bits. @param value Of at most 32 bits. */
function head(type: number, value: number): Uint8Array {
  if (value < 24) return Uint8Array.of(type | value);
  if (value < 1 << 8) return Uint8Array.of(type | 24, value);
  if (value < 1 << 16) return Uint8Array.of(type | 25, value >>> 8, value);
  return Uint8Array.of(type | 26, value >>> 24, value >>> 16, value >>> 8, value);
}
