import { frameBytesMax } from "../lib/limits.ts";
import { FrameError } from "./cbor.ts";

/** Bytes before each frame's body: its length, big-endian. */
export const prefixBytes = 4;

/**
 * Writes the length of a body into the first four bytes of its frame.
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

/** In place of a list for each byte of a frame that comes byte by byte. */
const none: readonly Uint8Array[] = [];

/**
 * Cuts a stream of bytes into frames, however it arrives: one byte at a time, or many frames at once. Each byte
 * is copied a bounded number of times. Memory grows with the bytes that came, never with the length announced.
 */
export class FrameReader {
  /** Bytes of a frame that is not complete: prefix and body; only the first `#filled` count. */
  #partial: Uint8Array = new Uint8Array(64);
  #filled = 0;

  /** Whether a frame has begun and not ended. */
  get isInFrame(): boolean {
    return this.#filled > 0;
  }

  /** Memory of the frame that has begun; 0 where that is a few bytes. */
  get heldBytes(): number {
    return this.#filled === 0 ? 0 : this.#partial.length;
  }

  /** Bytes that came of the frame that has begun. */
  get filledBytes(): number {
    return this.#filled;
  }

  /** Lets go of the frame that has begun; the reader is of no use then. */
  drop(): void {
    this.#partial = new Uint8Array(0);
    this.#filled = 0;
  }

  /**
   * Takes the next bytes and returns the bodies that are complete with them, in order. The bodies may be views
   * of `chunk`.
   *
   * @throws {FrameError} if a frame announces more than 16 MiB; the reader is of no use then. If other frames
   * were complete before it, they are returned first, and the next call throws.
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
      // A length beyond the limit is kept like any other part, and refused when it is looked at again.
      if (end > chunk.length || length > frameBytesMax) break;
      bodies.push(new Uint8Array(chunk.buffer, chunk.byteOffset + at + prefixBytes, end - at - prefixBytes));
      at = end;
    }
    if (at < chunk.length) this.#keep(chunk, at, chunk.length);
    if (this.#filled >= prefixBytes && bodies.length === 0) checkedLength(this.#partial, 0);
    return bodies;
  }

  /** Bytes of the frame that has begun, as far as is known. */
  get #wanted(): number {
    return this.#filled < prefixBytes ? prefixBytes : prefixBytes + checkedLength(this.#partial, 0);
  }

  /** Completes the frame that has begun, if `chunk` can; returns how many bytes of `chunk` were used. */
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

  /** Room is made for up to four times what came, and no more than the frame needs. */
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
    // A view of a byte takes more memory than a hundred of them, and a frame may come byte by byte.
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
