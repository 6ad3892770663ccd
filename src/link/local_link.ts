import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "../lib/clock.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/messages.ts";
import { parseSupervisorMessage, parseWorkerMessage } from "../protocol/parse.ts";
import { type Link, SocketLink } from "./link.ts";

/** The supervisor's end of the connection to one worker. */
export type SupervisorLink = Link<WorkerMessage, SupervisorMessage>;
/** The worker's end. */
export type WorkerLink = Link<SupervisorMessage, WorkerMessage>;

type LocalLinkOptions = Readonly<{
  nowMs: () => number;
  /** How often a worker says that its event loop turns. A supervisor sends no beats. @default never */
  heartbeatMs?: number;
  /** Bytes that came behind the proof. */
  received?: Uint8Array;
}>;

/**
 * The end of `side` over a connected Unix socket or pipe whose other end is known. However much
 * is queued, it is not given up: a supervisor always reads, and a worker reads once its handler lets it.
 */
export function localLink(socket: Socket, side: "supervisor", options: LocalLinkOptions): SupervisorLink;
export function localLink(socket: Socket, side: "worker", options: LocalLinkOptions): WorkerLink;
export function localLink(
  socket: Socket,
  side: "supervisor" | "worker",
  { nowMs, heartbeatMs = Infinity, received = none }: LocalLinkOptions,
): SupervisorLink | WorkerLink {
  const options = { queueBytesMax: Infinity, nowMs, received };
  if (side === "supervisor") {
    return new SocketLink<WorkerMessage, SupervisorMessage>(socket, {
      ...options,
      parse: parseWorkerMessage,
      heartbeatMs: Infinity,
    });
  }
  return new SocketLink<SupervisorMessage, WorkerMessage>(socket, {
    ...options,
    parse: parseSupervisorMessage,
    heartbeatMs,
  });
}

// What the two say before any frame. Each proves that it knows the worker's secret, and neither tells it:
//
//     worker      number (4 bytes), nonce (32)
//     supervisor  nonce (32), MAC "supervisor" (32)
//     worker      MAC "worker" (32)
//
// A MAC is HMAC-SHA256 with the secret over its side's name, the number and both nonces: what was recorded once is worth
// nothing another time, nor is one side's for the other. Until then no more is read than that, and nothing is decoded.

const none = new Uint8Array(0);
const nonceBytes = 32, macBytes = 32, secretBytes = 32;
const callBytes = 4 + nonceBytes;
const answerBytes = nonceBytes + macBytes;
/** How long either waits for the other, from the connection to the proof. */
export const proofMs = 10_000;

/** Of one worker, for its one connection. */
export function makeWorkerSecret(): Uint8Array {
  return new Uint8Array(randomBytes(secretBytes));
}

/** One connection of one worker, and what proves it. */
type Meeting = Readonly<{ secret: Uint8Array; call: Uint8Array; nonce: Uint8Array }>;

function macOf(side: "supervisor" | "worker", { secret, call, nonce }: Meeting): Uint8Array {
  const mac = createHmac("sha256", secret).update(`taskmaster local/1 ${side}\0`).update(call).update(nonce);
  return new Uint8Array(mac.digest());
}

/** Reads just so many bytes before it hands the socket on. */
class Reader {
  readonly #socket: Socket;
  readonly #take: (bytes: Uint8Array) => number;
  readonly #end: (reason: string) => void;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #data = (chunk: Uint8Array): void => this.#receive(chunk);
  readonly #error = (error: Error): void => this.fail(error.message);
  readonly #close = (): void => this.fail("the connection is gone");
  #bytes: Uint8Array = none;
  #isOver = false;

  /** @param take Takes bytes from the start, and says how many; 0 while more must come. */
  constructor(socket: Socket, take: (bytes: Uint8Array) => number, end: (reason: string) => void) {
    this.#socket = socket;
    this.#take = take;
    this.#end = end;
    this.#timer = setTimeout(() => this.fail("no proof came in time"), proofMs);
    socket.on("data", this.#data).on("error", this.#error).on("end", this.#close).on("close", this.#close);
  }

  /** The other one is known: what came behind its proof is the link's. */
  done(used: number): Uint8Array {
    this.#over();
    return this.#bytes.subarray(used);
  }

  fail(reason: string): void {
    if (this.#isOver) return;
    this.#over();
    this.#socket.on("error", () => {}).destroy();
    this.#end(reason);
  }

  #over(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const [event, listener] of [["data", this.#data], ["error", this.#error]] as const) {
      this.#socket.off(event, listener);
    }
    this.#socket.off("end", this.#close).off("close", this.#close);
  }

  #receive(chunk: Uint8Array): void {
    this.#bytes = this.#bytes.length === 0 ? chunk : new Uint8Array(Buffer.concat([this.#bytes, chunk]));
    for (let used = -1; used !== 0 && !this.#isOver;) {
      used = this.#take(this.#bytes);
      if (!this.#isOver) this.#bytes = this.#bytes.subarray(used);
    }
  }
}

type WorkerDoorman = Readonly<{
  /** Of a worker that is awaited; undefined of any other. */
  secretOf: (worker: number) => Uint8Array | undefined;
  /** This worker came in; it has not been let in before. */
  onWorker: (worker: number, link: SupervisorLink) => void;
  nowMs: () => number;
}>;

/**
 * The supervisor's half: who connects is let in as a worker that is awaited, or is a stranger, and is cut off.
 *
 *     CONNECTED -- number of one awaited --> ANSWERED -- its proof --> a worker
 *         '--------------------------------------'---- anything else, 10 s: cut off
 */
export function greetWorker(socket: Socket, { secretOf, onWorker, nowMs }: WorkerDoorman): void {
  let meeting: Meeting | null = null;
  let worker = 0;
  const reader: Reader = new Reader(socket, (bytes) => {
    if (meeting !== null) return prove(bytes, meeting);
    if (bytes.length < callBytes) return 0;
    const call = bytes.slice(0, callBytes);
    worker = new DataView(call.buffer).getUint32(0);
    const secret = secretOf(worker);
    // It has nothing to say before it was answered.
    if (secret === undefined || bytes.length > callBytes) return refuse();
    meeting = { secret, call, nonce: new Uint8Array(randomBytes(nonceBytes)) };
    socket.write(Buffer.concat([meeting.nonce, macOf("supervisor", meeting)]));
    return callBytes;
  }, () => {});

  function prove(bytes: Uint8Array, known: Meeting): number {
    if (bytes.length < macBytes) return 0;
    const holds = timingSafeEqual(bytes.subarray(0, macBytes), macOf("worker", known));
    // Somebody may have come in as the same meanwhile.
    if (!holds || secretOf(worker) !== known.secret) return refuse();
    onWorker(worker, localLink(socket, "supervisor", { nowMs, received: reader.done(macBytes) }));
    return 0;
  }

  function refuse(): number {
    reader.fail("it is no worker of this slave");
    return 0;
  }
}

export type WorkerCaller = Readonly<{
  worker: number;
  secret: Uint8Array;
  /** Whether what it has connected to is still where its supervisor listens: nobody can relay who cannot be there. */
  isInPlace: () => boolean;
  onLink: (link: WorkerLink) => void;
  /** The connection ended before the other side proved anything, or what it proved is wrong. */
  onEnd: (reason: string) => void;
  options: LocalLinkOptions;
}>;

/** Who is to answer proved nothing: it is told by its reason. */
export const notProved = "what answered there did not prove that it is this worker's supervisor";

/**
 * The worker's half: nothing that the other side says is read as a message before it has proved to be the supervisor.
 *
 *     CALLING -- proof of the supervisor --> a link
 *         '---- anything else, 10 s, the end: onEnd
 */
export function callSupervisor(socket: Socket, caller: WorkerCaller): void {
  const { worker, secret, isInPlace, onLink, onEnd, options } = caller;
  const call = new Uint8Array(callBytes);
  new DataView(call.buffer).setUint32(0, worker);
  call.set(randomBytes(nonceBytes), 4);
  const reader: Reader = new Reader(socket, (bytes) => {
    if (bytes.length < answerBytes) return 0;
    const meeting = { secret, call, nonce: bytes.slice(0, nonceBytes) };
    const holds = timingSafeEqual(bytes.subarray(nonceBytes, answerBytes), macOf("supervisor", meeting));
    if (!holds || !isInPlace()) {
      reader.fail(notProved);
      return 0;
    }
    socket.write(macOf("worker", meeting));
    onLink(localLink(socket, "worker", { ...options, received: reader.done(answerBytes) }));
    return 0;
  }, onEnd);
  socket.write(call);
}
