import type { Socket } from "node:net";
import { writePieceBytesMax, writePieceBytesMin } from "../base/wire_limits.ts";

/** A piece that left within this long makes the next one larger. */
const quickMs = 100;

/**
 * What waits to be written to one socket. Frames of one turn of the event loop leave together. One write is under
 * way at a time, in pieces that grow while the peer is quick: the end of each is the only sign of progress that
 * all runtimes give.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #nowMs: () => number;
  readonly #onProgress: () => void;
  #frames: Uint8Array[] = [];
  /** Bytes of the first frame that left already. */
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

  push(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#waitingBytes += frame.length;
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
    const rest = this.#take(this.#waitingBytes);
    this.drop();
    if (rest.length > 0) this.#socket.end(rest);
    else this.#socket.end();
  }

  /** Forgets all that waits; nothing is written any more. */
  drop(): void {
    this.#isOver = true;
    this.#frames = [];
    this.#waitingBytes = 0;
  }

  #write(): void {
    if (this.#isOver || this.#writingBytes > 0 || this.#waitingBytes === 0) return;
    const piece = this.#take(Math.min(this.#waitingBytes, this.#pieceBytes));
    this.#writingBytes = piece.length;
    this.#beganAtMs = this.#nowMs();
    this.#socket.write(piece, () => this.#written());
  }

  #written(): void {
    const isQuick = this.#nowMs() - this.#beganAtMs < quickMs;
    this.#pieceBytes = isQuick ? Math.min(writePieceBytesMax, this.#pieceBytes * 2) : writePieceBytesMin;
    this.#writingBytes = 0;
    this.#write();
    this.#onProgress();
  }

  /** Cuts `length` bytes off the front; without a copy if they are of one frame. */
  #take(length: number): Uint8Array {
    const first = this.#frames[0];
    if (first && first.length - this.#offset >= length) return this.#advance(length);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const part = this.#advance(length - at);
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** At most `length` bytes of the first frame. */
  #advance(length: number): Uint8Array {
    const first = this.#frames[0]!;
    const part = first.subarray(this.#offset, this.#offset + length);
    this.#offset += part.length;
    this.#waitingBytes -= part.length;
    if (this.#offset === first.length) {
      this.#frames.shift();
      this.#offset = 0;
    }
    return part;
  }
}
