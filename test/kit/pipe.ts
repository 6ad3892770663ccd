import type { Socket } from "node:net";
import type { Unit } from "./units.ts";
import { UnitReader } from "./units.ts";

/** What a link does to one direction of its bytes. It may be changed at any time, and holds for what is under way. */
export type Conditions = {
  latencyMs: number;
  /** Infinity: no limit. */
  bytesPerSecond: number;
  /** Most bytes in one write; Infinity: as they come. */
  sliceBytes: number;
  /** Nothing gets through, neither bytes nor the end of the stream. */
  isHeld: boolean;
};

export const undisturbed: Readonly<Conditions> = {
  latencyMs: 0,
  bytesPerSecond: Infinity,
  sliceBytes: Infinity,
  isHeld: false,
};

/** Bytes on their way at which the sender is paused: what the buffers of a network hold. */
const queueBytesMax = 1 << 20;
/** A limited link is given its bytes for this long at once. */
const burstMs = 20;

export type PipeHooks = Readonly<{
  /** Sees each unit before it is sent on, and may give another in its place. */
  onUnit: (unit: Unit) => Buffer;
  /** The limit of `cutAfter` was reached. */
  onCut: () => void;
}>;

/** One direction of a connection: reads from `from`, writes to `to`, as its conditions say. */
export class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #link: Readonly<Conditions>;
  readonly #hooks: PipeHooks;
  /** Null: the bytes are passed as they come, and no unit is seen. */
  readonly #reader: UnitReader | null;
  /** This connection alone is held, whatever the link does. */
  isHeld = false;
  #queue: { bytes: Buffer; dueAtMs: number }[] = [];
  #queued = 0;
  #isEnded = false;
  #isBlocked = false;
  #freeAtMs = 0;
  #left = Infinity;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;

  /** @param greetings How many greetings come before frames; null if the bytes are none of this protocol, as with TLS. */
  constructor(
    from: Socket,
    to: Socket,
    link: Readonly<Conditions>,
    greetings: number | null,
    hooks: PipeHooks,
  ) {
    this.#from = from;
    this.#to = to;
    this.#link = link;
    this.#hooks = hooks;
    this.#reader = greetings === null ? null : new UnitReader(greetings);
    from.on("data", (chunk: Buffer) => this.#receive(chunk));
    from.on("end", () => {
      this.#isEnded = true;
      this.pump();
    });
    to.on("drain", () => {
      this.#isBlocked = false;
      this.pump();
    });
  }

  /** Ends the connection once so many more bytes have passed. */
  cutAfter(bytes: number): void {
    this.#left = bytes;
  }

  /** Puts a whole unit behind those that are under way. */
  inject(bytes: Buffer): void {
    this.#push(bytes);
    this.pump();
  }

  /** Sends what may be sent now. To be called when conditions change. */
  pump(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (!this.#isClosed && !this.isHeld && !this.#link.isHeld && !this.#isBlocked) {
      const waitMs = this.#waitMs();
      if (waitMs === null) return;
      if (waitMs > 0) return void (this.#timer = setTimeout(() => this.pump(), waitMs));
      this.#sendSlice();
      // each slice is to be a segment of its own
      if (this.#link.sliceBytes < 64) return void (this.#timer = setTimeout(() => this.pump(), 0));
    }
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #receive(chunk: Buffer): void {
    if (this.#reader === null) this.#push(chunk);
    else for (const unit of this.#reader.push(chunk)) this.#push(this.#hooks.onUnit(unit));
    if (this.#queued > queueBytesMax) this.#from.pause();
    this.pump();
  }

  #push(bytes: Buffer): void {
    this.#queue.push({ bytes, dueAtMs: performance.now() + this.#link.latencyMs });
    this.#queued += bytes.length;
  }

  /** Until the next bytes may leave; null if there are none. Ends the stream behind the last ones. */
  #waitMs(): number | null {
    const first = this.#queue[0];
    if (first === undefined) {
      if (this.#isEnded) this.#to.end();
      return null;
    }
    return Math.ceil(Math.max(first.dueAtMs, this.#freeAtMs) - performance.now());
  }

  #sendSlice(): void {
    const { bytesPerSecond, sliceBytes } = this.#link;
    const first = this.#queue[0]!;
    const burst = Math.max(1, Math.floor(bytesPerSecond * burstMs / 1000));
    const length = Math.min(first.bytes.length, sliceBytes, burst, this.#left);
    const slice = first.bytes.subarray(0, length);
    if (length === first.bytes.length) this.#queue.shift();
    else first.bytes = first.bytes.subarray(length);
    this.#queued -= length;
    this.#left -= length;
    this.#freeAtMs = Math.max(this.#freeAtMs, performance.now()) + length * 1000 / bytesPerSecond;
    if (length > 0) this.#isBlocked = !this.#to.write(slice);
    if (this.#queued <= queueBytesMax && this.#from.isPaused()) this.#from.resume();
    if (this.#left <= 0) this.#hooks.onCut();
  }
}
