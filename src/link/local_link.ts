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
  /**
   * Interval of a worker's heartbeats, which show that its event loop runs. A supervisor sends none. @default never
   */
  heartbeatMs?: number;
  /** Bytes received after the proof. */
  received?: Uint8Array;
}>;

/**
 * One end of a link over a connected Unix socket or pipe whose peer is authenticated. Its queue has no limit: a
 * supervisor always reads, and a worker reads once its handler lets it.
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

// The exchange before any frame. Each side proves that it knows the worker's secret without revealing it:
//
//     worker      number (4 bytes), nonce (32)
//     supervisor  nonce (32), MAC "supervisor" (32)
//     worker      MAC "worker" (32)
//
// A MAC is HMAC-SHA256 with the secret over its side's name, the number and both nonces: a recorded exchange cannot be
// replayed, and one side's MAC is useless for the other. Before that no more bytes than these are read, and nothing is
// decoded.

const none = new Uint8Array(0);
const nonceBytes = 32, macBytes = 32, secretBytes = 32;
const callBytes = 4 + nonceBytes;
const answerBytes = nonceBytes + macBytes;
/** Longest time either side waits for the other, from the connection to the proof. */
export const proofMs = 10_000;

/** Makes the secret of one worker, for its one connection. */
export function makeWorkerSecret(): Uint8Array {
  return new Uint8Array(randomBytes(secretBytes));
}

/** One connection of one worker, and what both MACs cover. */
type WorkerProof = Readonly<{ secret: Uint8Array; call: Uint8Array; nonce: Uint8Array }>;

function macOf(side: "supervisor" | "worker", { secret, call, nonce }: WorkerProof): Uint8Array {
  const mac = createHmac("sha256", secret).update(`taskmaster local/1 ${side}\0`).update(call).update(nonce);
  return new Uint8Array(mac.digest());
}

/** Reads exactly the bytes of the exchange before it hands the socket on. */
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

  /** @param take Consumes bytes from the start and returns how many; 0 if more must come. */
  constructor(socket: Socket, take: (bytes: Uint8Array) => number, end: (reason: string) => void) {
    this.#socket = socket;
    this.#take = take;
    this.#end = end;
    this.#timer = setTimeout(() => this.fail("no proof came in time"), proofMs);
    socket.on("data", this.#data).on("error", this.#error).on("end", this.#close).on("close", this.#close);
  }

  /** The peer is authenticated: returns the bytes after its proof, for the link. */
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

type GreetWorkerOptions = Readonly<{
  /** The secret of an expected worker; undefined for any other number. */
  secretOf: (worker: number) => Uint8Array | undefined;
  /** This worker connected; called at most once per worker. */
  onWorker: (worker: number, link: SupervisorLink) => void;
  nowMs: () => number;
}>;

/**
 * The supervisor's half: admits a connection of an expected worker, and closes any other.
 *
 *     CONNECTED -- number of one awaited --> ANSWERED -- its proof --> a worker
 *         '--------------------------------------'---- anything else, 10 s: cut off
 */
export function greetWorker(socket: Socket, { secretOf, onWorker, nowMs }: GreetWorkerOptions): void {
  let meeting: WorkerProof | null = null;
  let worker = 0;
  const reader: Reader = new Reader(socket, (bytes) => {
    if (meeting !== null) return prove(bytes, meeting);
    if (bytes.length < callBytes) return 0;
    const call = bytes.slice(0, callBytes);
    worker = new DataView(call.buffer).getUint32(0);
    const secret = secretOf(worker);
    // A worker sends nothing before it is answered.
    if (secret === undefined || bytes.length > callBytes) return refuse();
    meeting = { secret, call, nonce: new Uint8Array(randomBytes(nonceBytes)) };
    socket.write(Buffer.concat([meeting.nonce, macOf("supervisor", meeting)]));
    return callBytes;
  }, () => {});

  function prove(bytes: Uint8Array, known: WorkerProof): number {
    if (bytes.length < macBytes) return 0;
    const holds = timingSafeEqual(bytes.subarray(0, macBytes), macOf("worker", known));
    // Another connection may have been admitted as this worker meanwhile.
    if (!holds || secretOf(worker) !== known.secret) return refuse();
    onWorker(worker, localLink(socket, "supervisor", { nowMs, received: reader.done(macBytes) }));
    return 0;
  }

  function refuse(): number {
    reader.fail("it is no worker of this slave");
    return 0;
  }
}

export type CallSupervisorOptions = Readonly<{
  worker: number;
  secret: Uint8Array;
  /** Whether the path still belongs to the supervisor's socket, so that nobody can relay the exchange from there. */
  isInPlace: () => boolean;
  onLink: (link: WorkerLink) => void;
  /** The connection ended before the peer proved anything, or its proof is wrong. */
  onEnd: (reason: string) => void;
  options: LocalLinkOptions;
}>;

/** The reason given if the peer proved nothing. */
export const notProved = "what answered there did not prove that it is this worker's supervisor";

/**
 * The worker's half: reads nothing as a message before the peer has proved to be the supervisor.
 *
 *     CALLING -- proof of the supervisor --> a link
 *         '---- anything else, 10 s, the end: onEnd
 */
export function callSupervisor(socket: Socket, caller: CallSupervisorOptions): void {
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
