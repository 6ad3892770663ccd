import { sha256 } from "../base/digest.ts";
import { isSameBytes } from "../base/same_bytes.ts";

/** What stands before the body; see docs/state-file.md. Its layout is the same in all versions. */
export type StateHeader = Readonly<{
  version: number;
  epoch: number;
  bodyBytes: number;
  /** The first 16 bytes of the SHA-256 of the run id. */
  runTag: Uint8Array;
  /** 8 random bytes of the master that wrote the file: tells two masters of one epoch apart. */
  writer: Uint8Array;
  /** SHA-256 of the body. */
  bodyHash: Uint8Array;
}>;

export const headerBytes = 116;
const magic = new TextEncoder().encode("TMSTATE\n");
const hashedBytes = 84;

export function encodeHeader(header: StateHeader): Uint8Array {
  const bytes = new Uint8Array(headerBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(magic, 0);
  view.setUint32(8, header.version);
  view.setBigUint64(12, BigInt(header.epoch));
  view.setBigUint64(20, BigInt(header.bodyBytes));
  bytes.set(header.runTag, 28);
  bytes.set(header.writer, 44);
  bytes.set(header.bodyHash, 52);
  bytes.set(sha256(bytes.subarray(0, hashedBytes)), hashedBytes);
  return bytes;
}

/** Null if these are not the bytes of a header, or a bit of them changed. */
export function decodeHeader(bytes: Uint8Array): StateHeader | null {
  if (bytes.length < headerBytes || !isSameBytes(bytes.subarray(0, magic.length), magic)) return null;
  if (!isSameBytes(sha256(bytes.subarray(0, hashedBytes)), bytes.subarray(hashedBytes, headerBytes))) {
    return null;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, headerBytes);
  return {
    version: view.getUint32(8),
    epoch: Number(view.getBigUint64(12)),
    bodyBytes: Number(view.getBigUint64(20)),
    runTag: bytes.slice(28, 44),
    writer: bytes.slice(44, 52),
    bodyHash: bytes.slice(52, 84),
  };
}

export function runTag(runId: string): Uint8Array {
  return sha256(new TextEncoder().encode(runId)).subarray(0, 16);
}
