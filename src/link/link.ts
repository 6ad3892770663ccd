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
 * A frame that takes less is none of those: if each connection had one, they would not be more than the bound. So a link of
 * 1 KB/s keeps its small frames, whatever others do.
 */
const smallFrameBytes = unfinishedBytesMax / connectionsMax;
/** A frame may take as long as bytes keep coming; this long without one ends it. */
const frameStallMs = 30_000;
/** Longest a peer that says nothing may take no bytes of what is queued for it. */
const writeStallMs = 10_000;
/**
 * The same for one that is heard, so that its link is slow, and not dead: at 10 KB/s the longest piece that is written takes
 * 105 s, and a system whose 4 MiB are full takes no more before a third of them has left.
 */
const heardWriteStallMs = 300_000;
/** Bytes queued for a peer at which its sender pauses. */
const sendQueuePauseBytes = 1 << 20;
/** Bytes queued for a peer at which its connection is ended. */
const sendQueueBytesMax = 8 << 20;
/** How long what was sent last may take to leave after a link closed. */
const lingerMs = 2_000;
/** A slave, whose last answers are worth work, waits longer if so many bytes a millisecond need that, but not for ever. */
const lingerBytesPerMs = 10, lingerMsMax = 30_000;
/** First piece of what is written at once; doubles while the peer is quick, so that a slow one shows progress. */
const writePieceBytesMin = 16 << 10;
/** Longest piece. */
const writePieceBytesMax = 1 << 20;

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
class Outbox {
  readonly #socket: Socket;
  /** A patient clock: what this process did not do while it stood still is not its peer's to answer for. */
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

  /** When the write under way began, of the patient clock; Infinity if there is none. */
  get beganAtMs(): number {
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

/** Typed messages over one connection. Judging a peer's silence is the owner's. */
export interface Link<In, Out> {
  /** Queues a message; those of one turn of the event loop leave in one write. Ignored once closed. */
  /** @param jobs What `jobs` of the message are, in parts that nobody changes; its own are then not looked at. */
  send(message: Out, jobs?: readonly Uint8Array[]): void;
  /** Bytes sent and not yet taken by the system. */
  readonly queuedBytes: number;
  /** It was ended because what came is no message. */
  readonly hasRefused: boolean;
  /** Whether so much is queued that the owner should pause; `onDrain` says when to go on. */
  readonly isCongested: boolean;
  /** When bytes came last, of the owner's clock. */
  readonly lastHeardMs: number;
  /** Address of the other side, for people. */
  readonly peer: string;
  /** One message. Those that come before this is set are kept for it. */
  onMessage: (message: In) => void;
  /** Bytes came, whether or not they complete a message. */
  onHeard: () => void;
  onDrain: () => void;
  /** Once, whoever closed it; nothing is called afterwards. Called from within `close` as well. */
  onClose: (reason: string) => void;
  /**
   * Sends what is queued, and a `bye` with the reason, and ends; further calls change nothing. Resolves when the
   * connection is gone.
   *
   * @param told The reason as the other side should read it. @default reason
   */
  close(reason: string, told?: string): Promise<void>;
  /** Does what is overdue (beat, stalls) and returns when to call again, at the latest. */
  tick(nowMs: number): number;
}

export type MasterLink = Link<SlaveMessage, MasterMessage>;
export type SlaveLink = Link<MasterMessage, SlaveMessage>;
/** A control connection, as the client has it, and as the master has it. */
export type ControlLink = Link<ControlReply, ControlRequest>;
export type ControlServerLink = Link<ControlRequest, ControlReply>;

type LinkOptions<In> = Readonly<{
  parse: (body: Uint8Array) => In;
  /** Sent after so long without sending; Infinity for never. */
  heartbeatMs: number;
  nowMs: () => number;
  /** Whether both sides say `bye` before they close. Supervisor and worker do not. @default false */
  saysBye?: boolean;
  /** Whether what is queued when it closes is worth waiting for on a slow link. @default false */
  lingers?: boolean;
  /** Bytes that came behind the handshake. */
  received?: Uint8Array;
  /** Bytes queued at which the connection is ended, beside a message that found nothing queued. @default 8 MiB */
  queueBytesMax?: number;
  /** Bounds the unfinished frames of several connections together. @default each has its own limit only */
  unfinished?: UnfinishedFrames;
}>;

/** A connection with a frame that has begun and not ended. */
type Unfinished = Readonly<{
  /** Bytes of it that came, a millisecond. */
  pace: (nowMs: number) => number;
  end: (reason: string) => void;
}>;

/**
 * The frames of all connections of a listener that have begun and not ended. Each may have 16 MiB, but all together have a bound:
 * where it is reached, whoever takes longest over his loses the connection, until there is room. Small frames do not count.
 */
export class UnfinishedFrames {
  readonly #bytesOf = new Map<Unfinished, number>();
  readonly #bytesMax: number;
  /** Their bytes come in buffers of their own, and they outgrow others: all that is dead, and may be far more than they are. */
  readonly #deadBuffers = new DeadBuffers();
  #bytes = 0;

  constructor(bytesMax: number = unfinishedBytesMax) {
    this.#bytesMax = bytesMax;
  }

  /** Memory that they take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** So many bytes came of one. */
  came(bytes: number): void {
    this.#deadBuffers.made(2 * bytes);
  }

  /** The frame of this connection takes so much now; 0 if it has ended. */
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
 * A link over a socket that is connected.
 *
 *               close(), end, reset, stall, bad bytes
 *     OPEN ------------------------------------------> CLOSED
 *
 * OPEN: sends and receives. CLOSED: nothing is delivered any more; what was sent before `close` may still leave,
 * for two seconds. There is one way from one to the other, `#finish`. A `bye` of the other side closes it too: nothing
 * comes behind it.
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
  #kept: In[] = [];
  #onMessage: ((message: In) => void) | null = null;
  #onClose: ((reason: string) => void) | null = null;
  #wasCongested = false;
  /** The longest message of those queued: one may be as long as a frame, whatever the limit of the queue. */
  #longestBytes = 0;
  #sentAtMs: number;
  #heardAtMs: number;
  /** As `#heardAtMs`, but of the patient clock. */
  #frameBytesTime: number;
  /** What the frame that has begun takes, as far as it counts; how much of it had come, and since when it counts. */
  #unfinishedBytes = 0;
  #unfinishedFilled = 0;
  #unfinishedSinceMs = 0;
  readonly #unfinished: Unfinished;
  /** While this process was stopped, its peers could not go on. */
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
   * The system says only when there is room for more, and not that bytes leave. So one that takes none is given up soon
   * if it says nothing either, and late if it is heard.
   */
  #writeStallMs(nowMs: number): number {
    const heardMs = Math.max(writeStallMs, 2 * this.#options.heartbeatMs);
    if (nowMs >= this.#heardAtMs + heardMs) return writeStallMs;
    return heardWriteStallMs;
  }

  /** Bytes that are queued already will be heard as well as a beat. */
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

  /** Frames are whole or small, nearly always: then there is nothing to note. */
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

  /** Lazily, so that a message is delivered although a bad one follows. */
  *#parse(chunk: Uint8Array): Generator<In> {
    try {
      for (const body of this.#reader.push(chunk)) yield this.#options.parse(body);
      // A frame too long that came behind complete ones is refused by the next look.
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

  /** Ends without sending what is queued. */
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

/** `10.0.0.7:51234`; "local" for a Unix socket or a pipe. */
export function peerOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (!remoteAddress) return "local";
  return remoteAddress.includes(":") ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}
