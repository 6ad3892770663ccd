import type { Socket } from "node:net";
import { clearTimeout, queueMicrotask, setTimeout } from "../lib/clock.ts";
import { LagGuard } from "../lib/lag_guard.ts";
import { connectionsMax, remarkCharsMax, unfinishedBytesMax } from "../lib/limits.ts";
import { DeadBuffers } from "../lib/runtime.ts";
import { printable } from "../lib/text.ts";
import { FrameReader } from "../protocol/frames.ts";
import type {
  ControlReply,
  ControlRequest,
  MasterMessage,
  Message,
  SlaveMessage,
} from "../protocol/messages.ts";
import { encodeParts } from "../protocol/parse.ts";

/**
 * Smaller incomplete frames are not counted: even with one per connection they stay within the limit. So a link of 1
 * KB/s keeps its small frames, whatever other connections do.
 */
const smallFrameBytes = unfinishedBytesMax / connectionsMax;
/** A frame may take any time while its bytes keep coming; this long without a byte closes the connection. */
const frameStallMs = 30_000;
/** Longest time without write progress if the peer is silent too. */
const writeStallMs = 10_000;
/**
 * Longest time without write progress if the peer is heard, so that its link is slow but alive. At 10 KB/s the longest
 * piece takes 105 s, and an operating system with 4 MiB of full buffers accepts nothing until a third of them has left.
 */
const heardWriteStallMs = 300_000;
/** Queued bytes at which the sender should pause. */
const sendQueuePauseBytes = 1 << 20;
/** Queued bytes at which the connection is closed. */
const sendQueueBytesMax = 8 << 20;
/** How long the last bytes may take to leave after a link closed. */
const lingerMs = 2_000;
/**
 * A slave's last answers are worth more time: it waits longer if the queue needs that at this rate, up to a maximum.
 */
const lingerBytesPerMs = 10, lingerMsMax = 30_000;
/** Size of the first write; doubles while the peer is fast. Small writes show the progress of a slow peer. */
const writePieceBytesMin = 16 << 10;
/** Largest write. */
const writePieceBytesMax = 1 << 20;

/** A write that ends within this time doubles the size of the next one. */
const quickMs = 100;
/** Parts of at least this size are written as they are; smaller ones are copied together. */
const largePartBytes = 128 << 10;
/** Most bytes copied together. Their buffer is reused: new memory would cost more than the copy. */
const togetherBytesMax = 256 << 10;

/**
 * The bytes queued for one socket. Frames of one turn of the event loop are written together. Only one write is in
 * flight at a time, and writes grow while the peer is fast: the end of a write is the only sign of progress that all
 * runtimes give.
 */
class Outbox {
  readonly #socket: Socket;
  /** A lag-adjusted clock: time in which this process stood still does not count against the peer. */
  readonly #nowMs: () => number;
  readonly #onProgress: () => void;
  /** Queued frames, or parts of frames, in order. */
  #parts: Uint8Array[] = [];
  /** Reused buffer for a write of several small parts. */
  #together: Uint8Array = new Uint8Array(0);
  /** How many bytes of the first part were written already. */
  #offset = 0;
  #waitingBytes = 0;
  /** Size of the write in flight; 0 if there is none. */
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

  /** Bytes pushed and not yet accepted by the operating system. */
  get queuedBytes(): number {
    return this.#waitingBytes + this.#writingBytes;
  }

  /** When the write in flight began, on the lag-adjusted clock; Infinity if there is none. */
  get beganAtMs(): number {
    return this.#writingBytes > 0 ? this.#beganAtMs : Infinity;
  }

  /** @param parts One frame, in parts; must not be changed until written. */
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

  /** Writes all queued bytes and ends the socket. */
  end(): void {
    const rest = new Uint8Array(this.#waitingBytes);
    this.#fill(rest);
    this.drop();
    if (rest.length > 0) this.#socket.end(rest);
    else this.#socket.end();
  }

  /** Discards all queued bytes and writes nothing any more. */
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
      // A plugin tampered with the runtime's sockets: close this one, or it would stay silent unnoticed.
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

  /**
   * Takes at most `bytesMax` bytes from the front: of one large part, or of the small parts before the next large one.
   */
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

  /** Moves bytes from the front of the queue until `space` is full. */
  #fill(space: Uint8Array): void {
    for (let at = 0; at < space.length;) {
      const part = this.#advance(space.length - at);
      space.set(part, at);
      at += part.length;
    }
  }

  /** Takes at most `length` bytes of the first part. */
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

/** Typed messages over one connection. The owner of the link decides whether a silent peer is dead. */
export interface Link<In, Out> {
  /**
   * Queues a message; messages of one turn of the event loop leave in one write. Ignored once closed.
   *
   * @param jobs The content of the message's `jobs`, in parts that must not be changed; its own `jobs` is then ignored.
   */
  send(message: Out, jobs?: readonly Uint8Array[]): void;
  /** Bytes sent and not yet accepted by the operating system. */
  readonly queuedBytes: number;
  /** The link was closed because the received bytes were not a valid message. */
  readonly hasRefused: boolean;
  /** The peer closed the link with a `bye`, of its own will; a connection that breaks has none. */
  readonly hasHeardBye: boolean;
  /** Whether so much is queued that the owner should pause; `onDrain` reports when to go on. */
  readonly isCongested: boolean;
  /** When bytes came last, on the owner's clock. */
  readonly lastHeardMs: number;
  /** Address of the peer, for people. */
  readonly peer: string;
  /** Called for each message. Messages that come before this is set are buffered. */
  onMessage: (message: In) => void;
  /** Called when bytes come, whether or not they complete a message. */
  onHeard: () => void;
  onDrain: () => void;
  /** Called once, whichever side closed, also from within `close`. No callback follows it. */
  onClose: (reason: string) => void;
  /**
   * Sends what is queued and a `bye` with the reason, then closes; further calls change nothing. Resolves when the
   * connection is gone.
   *
   * @param told The reason in the words for the peer. @default reason
   */
  close(reason: string, told?: string): Promise<void>;
  /** Does what is overdue (heartbeat, stalls) and returns when to call again at the latest. */
  tick(nowMs: number): number;
}

export type MasterLink = Link<SlaveMessage, MasterMessage>;
export type SlaveLink = Link<MasterMessage, SlaveMessage>;
/** A control connection as the client sees it; below, as the master sees it. */
export type ControlLink = Link<ControlReply, ControlRequest>;
export type ControlServerLink = Link<ControlRequest, ControlReply>;

type LinkOptions<In> = Readonly<{
  parse: (body: Uint8Array) => In;
  /** A heartbeat is sent after this long without sending; Infinity for never. */
  heartbeatMs: number;
  nowMs: () => number;
  /** Whether both sides send `bye` before they close. Supervisor and worker do not. @default false */
  saysBye?: boolean;
  /** Whether queued bytes are worth waiting for on a slow link when the connection closes. @default false */
  lingers?: boolean;
  /** Bytes received after the handshake. */
  received?: Uint8Array;
  /** Queued bytes at which the connection is closed, without the longest queued message. @default 8 MiB */
  queueBytesMax?: number;
  /** Limits the memory of incomplete frames over several connections. @default only the limit of each connection */
  unfinished?: UnfinishedFrames;
}>;

/** A connection with an incomplete frame. */
type Unfinished = Readonly<{
  /** Bytes of the frame received per ms. */
  pace: (nowMs: number) => number;
  end: (reason: string) => void;
}>;

/**
 * The incomplete frames of all connections of a listener. One may have 16 MiB, but their total is limited: beyond it
 * the connection with the slowest frame is closed, until there is room. Small frames are not counted.
 */
export class UnfinishedFrames {
  readonly #bytesOf = new Map<Unfinished, number>();
  readonly #bytesMax: number;
  /**
   * Receiving them leaves dead buffers, which may take far more memory than the frames: each chunk is a buffer, and a
   * growing frame outgrows its own.
   */
  readonly #deadBuffers = new DeadBuffers();
  #bytes = 0;

  constructor(bytesMax: number = unfinishedBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /** Memory of the frames in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Call when `bytes` bytes of such a frame were received. */
  came(bytes: number): void {
    this.#deadBuffers.made(2 * bytes);
  }

  /**
   * The incomplete frame of this connection takes `bytes` bytes now; 0 if it is complete. Closes the slowest
   * connections while the total is too large.
   */
  note(one: Unfinished, bytes: number, nowMs: number): void {
    this.#bytes += bytes - (this.#bytesOf.get(one) ?? 0);
    if (bytes === 0) this.#bytesOf.delete(one);
    else this.#bytesOf.set(one, bytes);
    while (this.#bytes > this.#bytesMax) this.#slowest(nowMs).end(crowdedOut);
  }

  #slowest(nowMs: number): Unfinished {
    const all = [...this.#bytesOf.keys()];
    return all.reduce((slowest, one) => one.pace(nowMs) < slowest.pace(nowMs) ? one : slowest);
  }
}

const crowdedOut =
  "frames that had begun took all the memory that there is for them, and its own came the slowest";

const nothing = new Uint8Array(0);

/**
 * A link over a connected socket.
 *
 *               close(), end, reset, stall, bad bytes
 *     OPEN ------------------------------------------> CLOSED
 *
 * OPEN: sends and receives. CLOSED: nothing is delivered any more; what was sent before `close` may still leave for two
 * seconds, or longer if the link lingers. `#finish` is the only way from one to the other. A `bye` of the peer closes
 * the link too: nothing follows it.
 */
export class SocketLink<In, Out extends Message> implements Link<In, Out> {
  readonly peer: string;
  readonly #socket: Socket;
  readonly #options: LinkOptions<In>;
  readonly #reader = new FrameReader();
  readonly #outbox: Outbox;
  readonly #gone: Promise<void>;
  #closedFor: string | null = null;
  #hasRefused = false;
  #hasHeardBye = false;
  #kept: In[] = [];
  #onMessage: ((message: In) => void) | null = null;
  #onClose: ((reason: string) => void) | null = null;
  #wasCongested = false;
  /**
   * Length of the longest queued message: a single message may be as long as a frame, whatever the limit of the queue.
   */
  #longestBytes = 0;
  #sentAtMs: number;
  #heardAtMs: number;
  /** When bytes came last, on the lag-adjusted clock. */
  #frameBytesTime: number;
  /** Counted memory of the incomplete frame; how much of it was received; and since when it is incomplete. */
  #unfinishedBytes = 0;
  #unfinishedFilled = 0;
  #unfinishedSinceMs = 0;
  readonly #unfinished: Unfinished;
  /** Excuses peers for time in which this process was blocked: they could make no progress. */
  readonly #lagGuard = new LagGuard();
  onHeard: () => void = () => {};
  onDrain: () => void = () => {};

  constructor(socket: Socket, options: LinkOptions<In>) {
    this.#socket = socket;
    this.#options = options;
    this.peer = peerOf(socket);
    this.#sentAtMs = this.#heardAtMs = this.#frameBytesTime = options.nowMs();
    this.#outbox = new Outbox(socket, () => this.#lagGuard.time(options.nowMs()), () => this.#drained());
    this.#gone = new Promise((resolve) => socket.once("close", () => resolve()));
    this.#unfinished = {
      pace: (nowMs) => this.#reader.filledBytes / Math.max(1, nowMs - this.#unfinishedSinceMs),
      end: (reason) => void this.close(`it was ended since ${reason}`, `ended since ${reason}`),
    };
    this.#listen();
    if (options.received?.length) queueMicrotask(() => this.#receive(options.received!));
  }

  get queuedBytes(): number {
    return this.#outbox.queuedBytes;
  }

  get hasRefused(): boolean {
    return this.#hasRefused;
  }

  get hasHeardBye(): boolean {
    return this.#hasHeardBye;
  }

  get isCongested(): boolean {
    return this.#outbox.queuedBytes >= sendQueuePauseBytes;
  }

  get lastHeardMs(): number {
    return this.#heardAtMs;
  }

  get onMessage(): (message: In) => void {
    return this.#onMessage ?? (() => {});
  }

  set onMessage(handler: (message: In) => void) {
    this.#onMessage = handler;
    if (this.#kept.length > 0) queueMicrotask(() => this.#deliverKept());
  }

  get onClose(): (reason: string) => void {
    return this.#onClose ?? (() => {});
  }

  set onClose(handler: (reason: string) => void) {
    const isFirst = this.#onClose === null;
    this.#onClose = handler;
    const reason = this.#closedFor;
    if (isFirst && reason !== null) queueMicrotask(() => handler(reason));
  }

  send(message: Out, jobs?: readonly Uint8Array[]): void {
    if (this.#closedFor !== null) return;
    const before = this.#outbox.queuedBytes;
    this.#outbox.push(encodeParts(message, jobs));
    const { queuedBytes } = this.#outbox;
    this.#sentAtMs = this.#options.nowMs();
    this.#longestBytes = Math.max(before === 0 ? 0 : this.#longestBytes, queuedBytes - before);
    if (this.isCongested) this.#wasCongested = true;
    if (queuedBytes - this.#longestBytes > (this.#options.queueBytesMax ?? sendQueueBytesMax)) {
      this.#fail(`it takes no bytes: ${queuedBytes} are queued`);
    }
  }

  close(reason: string, told = reason): Promise<void> {
    if (this.#closedFor !== null) return this.#gone;
    if (this.#options.saysBye) {
      this.#outbox.push(encodeParts({ kind: "bye", reason: printable(told, remarkCharsMax) }));
    }
    this.#end(reason);
    return this.#gone;
  }

  #lingerMs(queuedBytes: number): number {
    return this.#options.lingers
      ? Math.min(lingerMsMax, lingerMs + queuedBytes / lingerBytesPerMs)
      : lingerMs;
  }

  #end(reason: string): void {
    const linger = setTimeout(() => this.#socket.destroy(), this.#lingerMs(this.#outbox.queuedBytes));
    linger.unref();
    this.#outbox.end();
    this.#socket.once("close", () => clearTimeout(linger));
    this.#finish(reason);
  }

  tick(nowMs: number): number {
    if (this.#closedFor !== null) return Infinity;
    this.#lagGuard.note(nowMs);
    const time = this.#lagGuard.time(nowMs);
    const frameEndsTime = this.#reader.isInFrame ? this.#frameBytesTime + frameStallMs : Infinity;
    if (time >= frameEndsTime) void this.close("a frame began and did not go on for 30 s");
    const writeEndsTime = this.#outbox.beganAtMs + this.#writeStallMs(nowMs);
    if (time >= writeEndsTime) this.#fail(`it took no bytes for ${this.#writeStallMs(nowMs) / 1_000} s`);
    if (this.#closedFor !== null) return Infinity;
    if (nowMs >= this.#sentAtMs + this.#options.heartbeatMs) this.#beat(nowMs);
    const wakeMs = Math.min(
      this.#lagGuard.realMs(Math.min(frameEndsTime, writeEndsTime)),
      this.#sentAtMs + this.#options.heartbeatMs,
    );
    this.#lagGuard.expect(wakeMs);
    return wakeMs;
  }

  /**
   * Longest time without write progress. The operating system reports only that it has room again, not that bytes
   * leave. So a peer that takes no bytes is given up soon if it is silent too, and late if it is heard.
   */
  #writeStallMs(nowMs: number): number {
    const heardMs = Math.max(writeStallMs, 2 * this.#options.heartbeatMs);
    if (nowMs >= this.#heardAtMs + heardMs) return writeStallMs;
    return heardWriteStallMs;
  }

  /** Sends a heartbeat, unless bytes are queued: they prove life as well. */
  #beat(nowMs: number): void {
    if (this.#outbox.queuedBytes === 0) this.send({ kind: "beat" } as Out);
    this.#sentAtMs = nowMs;
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    socket.on(
      "end",
      () => this.#fail(this.#reader.isInFrame ? "it ended within a frame" : this.#silentEnd),
    );
    socket.on("error", (error) => this.#fail(error.message));
    socket.once("close", () => this.#fail("the connection is gone"));
  }

  get #silentEnd(): string {
    return `it ended the connection${this.#options.saysBye ? " without saying why" : ""}`;
  }

  #receive(chunk: Uint8Array): void {
    if (this.#closedFor !== null) return;
    this.#heardAtMs = this.#options.nowMs();
    this.#frameBytesTime = this.#lagGuard.time(this.#heardAtMs);
    this.onHeard();
    for (const message of this.#parse(chunk)) {
      if (this.#closedFor !== null) return;
      this.#deliver(message);
    }
    this.#noteUnfinished(chunk.length);
  }

  /**
   * Reports the memory of an incomplete frame. Nearly all frames arrive whole or are small: then there is nothing to
   * report.
   */
  #noteUnfinished(cameBytes: number): void {
    if (this.#closedFor !== null || this.#options.unfinished === undefined) return;
    const { heldBytes, filledBytes } = this.#reader;
    const bytes = heldBytes > smallFrameBytes ? heldBytes : 0;
    const isAnother = this.#unfinishedBytes === 0 || filledBytes < this.#unfinishedFilled;
    if (isAnother) this.#unfinishedSinceMs = this.#heardAtMs;
    if (bytes > 0) this.#options.unfinished.came(cameBytes);
    this.#unfinishedFilled = filledBytes;
    if (bytes === this.#unfinishedBytes) return;
    this.#unfinishedBytes = bytes;
    this.#options.unfinished.note(this.#unfinished, bytes, this.#heardAtMs);
  }

  /** Parses lazily, so that a message is delivered even if an invalid one follows. */
  *#parse(chunk: Uint8Array): Generator<In> {
    try {
      for (const body of this.#reader.push(chunk)) yield this.#options.parse(body);
      // A frame that is too long, after complete ones in the same chunk, is rejected by the next call.
      if (this.#reader.isInFrame) this.#reader.push(nothing);
    } catch (error) {
      this.#hasRefused = true;
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#options.saysBye) void this.close(reason);
      else this.#fail(reason);
    }
  }

  #deliver(message: In): void {
    if (this.#options.saysBye && isBye(message)) {
      this.#hasHeardBye = true;
      return this.#end(`it said: ${printable(message.reason, remarkCharsMax)}`);
    }
    if (this.#onMessage && this.#kept.length === 0) this.#onMessage(message);
    else this.#kept.push(message);
  }

  #deliverKept(): void {
    while (this.#kept.length > 0 && this.#onMessage && this.#closedFor === null) {
      this.#onMessage(this.#kept.shift()!);
    }
  }

  #drained(): void {
    if (
      !this.#wasCongested || this.#outbox.queuedBytes > sendQueuePauseBytes / 2 || this.#closedFor !== null
    ) return;
    this.#wasCongested = false;
    this.onDrain();
  }

  /** Closes without sending what is queued. */
  #fail(reason: string): void {
    if (this.#closedFor !== null) return;
    this.#outbox.drop();
    this.#socket.destroy();
    this.#finish(reason);
  }

  #finish(reason: string): void {
    this.#closedFor = reason;
    this.#reader.drop();
    if (this.#unfinishedBytes > 0) this.#options.unfinished?.note(this.#unfinished, 0, this.#heardAtMs);
    this.#unfinishedBytes = 0;
    this.#onClose?.(reason);
  }
}

function isBye(message: unknown): message is Readonly<{ kind: "bye"; reason: string }> {
  return (message as Message).kind === "bye";
}

/** The peer's address, such as `10.0.0.7:51234`; "local" for a Unix socket or pipe. */
export function peerOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (!remoteAddress) return "local";
  return remoteAddress.includes(":") ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}
