import { frameBytesMax } from "../lib/limits.ts";
import { FrameError } from "./cbor.ts";

/** Length of the prefix before each frame's body: the body's length, big-endian. */
export const prefixBytes = 4;

/**
 * Writes a body's length into the first four bytes of its frame.
 *
 * @throws {RangeError} if the body is longer than a frame may be.
 */
export function writePrefix(bytes: Uint8Array, bodyBytes: number): void {
  if (bodyBytes > frameBytesMax) {
    throw new RangeError(`Cannot frame ${bodyBytes} bytes: a frame has at most ${frameBytesMax}`);
  }
  bytes[0] = bodyBytes >>> 24;
  bytes[1] = bodyBytes >>> 16;
  bytes[2] = bodyBytes >>> 8;
  bytes[3] = bodyBytes;
}

/** Shared empty result: avoids an allocation for each byte of a frame that arrives byte by byte. */
const none: readonly Uint8Array[] = [];

/**
 * Splits a byte stream into frames, however the bytes arrive: one at a time, or many frames at once. Each byte is
 * copied a bounded number of times. Memory grows with the bytes received, never with the announced length.
 */
export class FrameReader {
  /** Prefix and body of the incomplete frame; only the first `#filled` bytes are valid. */
  #partial: Uint8Array = new Uint8Array(64);
  #filled = 0;

  /** Whether a frame is incomplete. */
  get isInFrame(): boolean {
    return this.#filled > 0;
  }

  /** Memory of the incomplete frame in bytes; 0 if it is negligible. */
  get heldBytes(): number {
    return this.#filled === 0 ? 0 : this.#partial.length;
  }

  /** Bytes received of the incomplete frame. */
  get filledBytes(): number {
    return this.#filled;
  }

  /** Frees the incomplete frame; the reader must not be used afterwards. */
  drop(): void {
    this.#partial = new Uint8Array(0);
    this.#filled = 0;
  }

  /**
   * Takes the next bytes and returns the bodies they complete, in order. The bodies may be views of `chunk`.
   *
   * @throws {FrameError} if a frame announces more than 16 MiB; the reader must not be used afterwards. If complete
   * frames precede it, they are returned first, and the next call throws.
   */
  push(chunk: Uint8Array): readonly Uint8Array[] {
    if (this.#filled + chunk.length < this.#wanted) {
      this.#keep(chunk, 0, chunk.length);
      return none;
    }
    const bodies: Uint8Array[] = [];
    let at = this.#filled > 0 ? this.#finish(chunk, bodies) : 0;
    while (chunk.length - at >= prefixBytes) {
      const length = lengthAt(chunk, at);
      const end = at + prefixBytes + length;
      // A length beyond the limit is stored like any part, and rejected when the frame is completed.
      if (end > chunk.length || length > frameBytesMax) break;
      bodies.push(new Uint8Array(chunk.buffer, chunk.byteOffset + at + prefixBytes, end - at - prefixBytes));
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at, chunk.length);
    if (this.#filled >= prefixBytes && bodies.length === 0) checkedLength(this.#partial, 0);
    return bodies;
  }

  /** Length of the incomplete frame in bytes, as far as known. */
  get #wanted(): number {
    return this.#filled < prefixBytes ? prefixBytes : prefixBytes + checkedLength(this.#partial, 0);
  }

  /** Completes the incomplete frame if `chunk` has the rest. Returns how many bytes of `chunk` were used. */
  #finish(chunk: Uint8Array, bodies: Uint8Array[]): number {
    const used = Math.min(chunk.length, Math.max(0, prefixBytes - this.#filled));
    if (used > 0) this.#keep(chunk, 0, used);
    if (this.#filled < prefixBytes) return used;
    const end = this.#wanted;
    const rest = Math.min(chunk.length - used, end - this.#filled);
    this.#keep(chunk, used, used + rest);
    if (this.#filled === end) {
      bodies.push(this.#partial.subarray(prefixBytes, end));
      this.#partial = new Uint8Array(64);
      this.#filled = 0;
    }
    return used + rest;
  }

  /** Stores part of a chunk. Grows the buffer to at most four times the bytes received, and never beyond the frame. */
  #keep(chunk: Uint8Array, from: number, to: number): void {
    const filled = this.#filled + to - from;
    if (filled > this.#partial.length) {
      const announced = this.#filled >= prefixBytes
        ? prefixBytes + lengthAt(this.#partial, 0)
        : to - from >= prefixBytes
        ? prefixBytes + lengthAt(chunk, from)
        : Infinity;
      const larger = new Uint8Array(Math.max(filled, Math.min(filled * 4, announced)));
      larger.set(this.#partial.subarray(0, this.#filled));
      this.#partial = larger;
    }
    // Below that, copying is cheaper than `subarray`: a frame may arrive byte by byte.
    if (filled - this.#filled > 32) this.#partial.set(chunk.subarray(from, to), this.#filled);
    else for (let at = from; at < to; at++) this.#partial[this.#filled + at - from] = chunk[at]!;
    this.#filled = filled;
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! * 0x1000000 + (bytes[at + 1]! << 16 | bytes[at + 2]! << 8 | bytes[at + 3]!);
}

function checkedLength(bytes: Uint8Array, at: number): number {
  const length = lengthAt(bytes, at);
  if (length <= frameBytesMax) return length;
  throw new FrameError(`Cannot read a frame of ${length} bytes: at most ${frameBytesMax} are allowed`);
}
