import { queueMicrotask } from "../base/clock.ts";
import type { Socket } from "node:net";
import { writePieceBytesMax, writePieceBytesMin } from "../base/wire_limits.ts";

/** A piece that left within this long makes the next one larger. */
const quickMs = 100;
/** Parts as long as this are written as they are; shorter ones together, copied. */
const largePartBytes = 128 << 10;
/** Most bytes written together, in memory that is kept: fresh memory would cost more than the copy. */
const togetherBytesMax = 256 << 10;

/**
 * What waits to be written to one socket. Frames of one turn of the event loop leave together. One write is under
 * way at a time, in pieces that grow while the peer is quick: the end of each is the only sign of progress that
 * all runtimes give.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #nowMs: () => number;
  readonly #onProgress: () => void;
  /** Frames, or parts of one, in order. */
  #parts: Uint8Array[] = [];
  /** Holds what is being written, where it is of several parts. */
  #together: Uint8Array = new Uint8Array(0);
  /** Bytes of the first part that left already. */
  #offset = 0;
  #waitingBytes = 0;
  /** Bytes of the write under way; 0 if there is none. */
  #writingBytes = 0;
  #pieceBytes = writePieceBytesMin;
  #beganAtMs = 0;
  #isScheduled = false;
  #isOver = false;

  constructor(socket: Socket, nowMs: () => number, onProgress: () => void) {
    this.#socket = socket;
    this.#nowMs = nowMs;
    this.#onProgress = onProgress;
  }

  /** Bytes pushed and not yet taken by the system. */
  get queuedBytes(): number {
    return this.#waitingBytes + this.#writingBytes;
  }

  /** When the write under way began; Infinity if there is none. */
  get progressedAtMs(): number {
    return this.#writingBytes > 0 ? this.#beganAtMs : Infinity;
  }

  /** @param parts One frame, in parts; not to be changed until it has left. */
  push(parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#parts.push(part);
      this.#waitingBytes += part.length;
    }
    if (this.#isScheduled || this.#writingBytes > 0) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#write();
    });
  }

  /** This process was late by so much: the peer is not to blame. */
  forgive(lagMs: number): void {
    this.#beganAtMs += lagMs;
  }

  /** Writes all that waits, and then the end. */
  end(): void {
    const rest = new Uint8Array(this.#waitingBytes);
    this.#fill(rest);
    this.drop();
    if (rest.length > 0) this.#socket.end(rest);
    else this.#socket.end();
  }

  /** Forgets all that waits; nothing is written any more. */
  drop(): void {
    this.#isOver = true;
    this.#parts = [];
    this.#waitingBytes = 0;
  }

  #write(): void {
    if (this.#isOver || this.#writingBytes > 0 || this.#waitingBytes === 0) return;
    const piece = this.#next(Math.min(this.#waitingBytes, this.#pieceBytes));
    this.#writingBytes = piece.length;
    this.#beganAtMs = this.#nowMs();
    try {
      this.#socket.write(piece, () => this.#written());
    } catch (error) {
      // A plugin changed what the runtime's sockets are made of. Nothing would be said any more, and nobody would know.
      this.#socket.destroy();
      throw error;
    }
  }

  #written(): void {
    const isQuick = this.#nowMs() - this.#beganAtMs < quickMs;
    this.#pieceBytes = isQuick ? Math.min(writePieceBytesMax, this.#pieceBytes * 2) : writePieceBytesMin;
    this.#writingBytes = 0;
    this.#write();
    this.#onProgress();
  }

  /** At most `bytesMax` bytes off the front: of a large part, or of the small ones before the next large one. */
  #next(bytesMax: number): Uint8Array {
    const large = this.#parts.findIndex((part) => part.length >= largePartBytes);
    if (large === 0 || this.#parts.length === 1) return this.#advance(bytesMax);
    const parts = large < 0 ? this.#parts : this.#parts.slice(0, large);
    const bytes = parts.reduce((sum, part) => sum + part.length, -this.#offset);
    const length = Math.min(bytes, bytesMax, togetherBytesMax);
    if (length > this.#together.length) {
      this.#together = new Uint8Array(Math.min(2 * length, togetherBytesMax));
    }
    const piece = this.#together.subarray(0, length);
    this.#fill(piece);
    return piece;
  }

  /** Moves as many bytes from the front as there is room for. */
  #fill(space: Uint8Array): void {
    for (let at = 0; at < space.length;) {
      const part = this.#advance(space.length - at);
      space.set(part, at);
      at += part.length;
    }
  }

  /** At most `length` bytes of the first part. */
  #advance(length: number): Uint8Array {
    const first = this.#parts[0]!;
    const part = first.subarray(this.#offset, this.#offset + length);
    this.#offset += part.length;
    this.#waitingBytes -= part.length;
    if (this.#offset === first.length) {
      this.#parts.shift();
      this.#offset = 0;
    }
    return part;
  }
}
