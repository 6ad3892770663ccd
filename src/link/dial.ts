import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { clearTimeout, monotonicMs, setTimeout } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { handshakeBytesMax, nameCharsMax, remarkCharsMax, slowLinkBytesPerMs } from "../lib/limits.ts";
import { printable } from "../lib/text.ts";
import { encode, FrameError } from "../protocol/cbor.ts";
import {
  encodeRefusal,
  headerBytes,
  macBytes,
  nonceBytes,
  OtherVersionError,
  type RefusalCode,
  type Role,
  Secret,
} from "../protocol/handshake.ts";
import type {
  ControlReply,
  ControlRequest,
  Introduction,
  MasterMessage,
  SlaveMessage,
  Welcome,
} from "../protocol/messages.ts";
import {
  encodeMessage,
  parseControlReply,
  parseIntroduction,
  parseMasterMessage,
} from "../protocol/parse.ts";
import { type ControlLink, type SlaveLink, SocketLink } from "./link.ts";
import { OtherProtocolError, probeServer } from "./protocol_sniffer.ts";
import { RefusedError, SlaveHandshake } from "./slave_handshake.ts";
import { hopelessTlsFault, type TlsClient } from "./tls.ts";
export { RefusedError } from "./slave_handshake.ts";

/** Limits of the heartbeat that a slave keeps; a master's value outside them is replaced by the nearer one. */
const heartbeatMsMin = 50, heartbeatMsMax = 3_600_000;
/**
 * Longest time from dialing to WELCOME: the master's five seconds plus slow round trips. With TLS this applies twice:
 * until TLS is established, and again until WELCOME.
 */
const dialMs = 15_000;

/**
 * A master normally sends its greeting at once. A peer silent for this long is probed to find out what it is, which
 * takes 1.2 s or 2.4 s. Longer than a TLS master takes to tell a slave without TLS.
 */
const silentMs = 2_500;
/** Bytes left for AUTH's info: its head also holds a nonce, a MAC and the role of one byte. */
const infoBytesMax = handshakeBytesMax - headerBytes - nonceBytes - macBytes - 1;

export type DialOptions = Readonly<{
  host: string;
  port: number;
  /** Null: the master runs with `--insecure` too. */
  token: Uint8Array | null;
  /** Where the token was given, for error messages, if it was: then a token file beside the binary does not count. */
  tokenFrom?: string | undefined;
  /** Undefined: without TLS. */
  tls?: TlsClient | undefined;
  intro: Introduction;
  nowMs: () => number;
  /** Aborts the attempt. */
  signal: AbortSignal;
  /**
   * Called if the peer accepted the connection but has been silent for some seconds, with a sentence about what it may
   * be. The attempt goes on.
   */
  onSilent?: (sentence: string) => void;
}>;

/**
 * Connects to a master and authenticates both sides. Takes at most 15 s, twice that with TLS; a long WELCOME may take
 * longer while it makes progress.
 *
 * @throws {RefusedError} if another try cannot help: wrong token, version or certificate. Its `final` is true.
 * @throws {ConnectError} if the plugin's names are too long to introduce this slave.
 * @throws {Error} if another try may help: connection refused or reset, master busy, no answer in time.
 */
export async function dial(options: DialOptions): Promise<{ link: SlaveLink; welcome: Welcome }> {
  const { socket, welcome, received } = await reach(options, "slave");
  const link = new SocketLink<MasterMessage, SlaveMessage>(socket, {
    ...linkOptions(options, welcome, received),
    parse: parseMasterMessage,
    lingers: true,
  });
  return { link, welcome };
}

/** The same for a control client. @throws as `dial`. */
export async function dialControl(options: DialOptions): Promise<{ link: ControlLink; welcome: Welcome }> {
  const { socket, welcome, received } = await reach(options, "control");
  const link = new SocketLink<ControlReply, ControlRequest>(socket, {
    ...linkOptions(options, welcome, received),
    parse: parseControlReply,
  });
  return { link, welcome };
}

function linkOptions({ nowMs }: DialOptions, welcome: Welcome, received: Uint8Array) {
  return { heartbeatMs: heartbeatOf(welcome), nowMs, saysBye: true, received };
}

/** A connection to an authenticated master. `received`: the bytes after its WELCOME. */
type Joined = Readonly<{ socket: Socket; welcome: Welcome; received: Uint8Array }>;

function reach(options: DialOptions, role: Role): Promise<Joined> {
  const where = `${options.host.includes(":") ? `[${options.host}]` : options.host}:${options.port}`;
  if (options.signal.aborted) return Promise.reject(abandoned(where));
  return new Promise((resolve, reject) => new Dialing(options, role, where, resolve, reject).begin());
}

/**
 * One attempt to connect.
 *
 *                 bytes                       welcome
 *     UNHEARD ------------> HEARD ------------------------> joined
 *        |  '-- 2.5 s: what is there is asked --> named: failed
 *        '-- ended, or no TLS: asked ------------------> failed
 */
class Dialing {
  readonly #options: DialOptions;
  readonly #role: Role;
  readonly #where: string;
  readonly #resolve: (joined: Joined) => void;
  readonly #reject: (error: unknown) => void;
  readonly #secret: Secret;
  readonly #info: Uint8Array;
  readonly #secured: TLSSocket | undefined;
  readonly #socket: Socket;
  /** Null until the TLS certificate is trusted. */
  #handshake: SlaveHandshake | null = null;
  #isHeard = false;
  #isOver = false;
  #hasSaidSilent = false;
  /** What the peer seems to be; null until it is probed. */
  #asked: Promise<string | null> | null = null;
  readonly #beganAtMs = monotonicMs();
  #lateAtMs: number;
  #lateTimer: NodeJS.Timeout;
  #silentTimer: NodeJS.Timeout;
  readonly #onAbort = () => this.#fail(abandoned(this.#where));
  readonly #onData = (chunk: Uint8Array) => this.#attempt(() => this.#advance(chunk));
  readonly #onEnd = () => this.#ended();
  readonly #onError = (error: Error) => this.#broken(error);

  constructor(
    options: DialOptions,
    role: Role,
    where: string,
    resolve: (joined: Joined) => void,
    reject: (error: unknown) => void,
  ) {
    const { host, port, tls } = options;
    this.#options = options;
    this.#role = role;
    this.#where = where;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#info = toInfo(options.intro, where);
    this.#secret = new Secret(options.token);
    this.#secured = tls?.connect(host, port);
    this.#socket = this.#secured ?? connect({ host, port, noDelay: true });
    this.#lateTimer = setTimeout(() => this.#late(), dialMs);
    this.#lateAtMs = monotonicMs() + dialMs;
    this.#silentTimer = setTimeout(() => void this.#silent(), silentMs);
  }

  begin(): void {
    if (!this.#secured) this.#greet();
    this.#secured?.once("secureConnect", () => this.#attempt(() => this.#trust()));
    this.#options.signal.addEventListener("abort", this.#onAbort, { once: true });
    const socket = this.#socket;
    socket.on("data", this.#onData).on("end", this.#onEnd).on("close", this.#onEnd).on(
      "error",
      this.#onError,
    );
  }

  #greet(certificateHash?: Uint8Array): void {
    this.#handshake = new SlaveHandshake({
      where: this.#where,
      secret: this.#secret,
      tokenFrom: this.#options.tokenFrom,
      role: this.#role,
      nonce: randomBytes(nonceBytes),
      info: this.#info,
      certificateHash,
    });
  }

  #trust(): void {
    const { tls, host } = this.#options;
    this.#secured!.setNoDelay(true);
    const judged = tls!.judge(this.#secured!, host);
    if ("fault" in judged) throw refused(this.#where, judged.fault);
    this.#greet(judged.hash);
    this.#allowUntil(monotonicMs() + dialMs);
  }

  #allowUntil(atMs: number): void {
    this.#lateAtMs = atMs;
    clearTimeout(this.#lateTimer);
    this.#lateTimer = setTimeout(() => this.#late(), Math.max(0, atMs - monotonicMs()));
  }

  #advance(chunk: Uint8Array): void {
    if (this.#handshake === null) return;
    this.#isHeard = true;
    // A WELCOME with many arguments may take longer: each chunk extends the deadline.
    this.#allowUntil(this.#lateAtMs + chunk.length / slowLinkBytesPerMs);
    clearTimeout(this.#silentTimer);
    this.#silentTimer = setTimeout(() => void this.#silent(), silentMs);
    const next = this.#handshake.push(chunk);
    if (next.send) this.#socket.write(next.send);
    if (!next.welcome) return;
    this.#detach();
    this.#socket.off("error", this.#onError);
    this.#resolve({ socket: this.#socket, welcome: next.welcome, received: next.rest });
  }

  #attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      // Tells the master, so that its log shows which side is wrong.
      if (error instanceof RefusedError && error.cause instanceof FrameError) {
        const isProved = this.#handshake?.isProved;
        this.#socket.write(isProved ? goodbye(error.message) : encodeRefusal(refusalOf(error.cause)));
      }
      this.#fail(error);
    }
  }

  get #allowedS(): number {
    return Math.round((this.#lateAtMs - this.#beganAtMs) / 1_000);
  }

  #late(): void {
    const missing = this.#socket.connecting ? "connection" : this.#handshake === null ? "TLS" : "welcome";
    this.#fail(new Error(`Cannot join ${this.#where}: no ${missing} within ${this.#allowedS} s`));
  }

  /** The peer has been silent for some seconds. */
  async #silent(): Promise<void> {
    const { connecting } = this.#socket;
    if (!connecting && !this.#isHeard && await this.#ask() !== null) return;
    if (this.#isOver || this.#hasSaidSilent) return;
    this.#hasSaidSilent = true;
    const waitedMs = `${silentMs / 1_000} s`;
    this.#options.onSilent?.(
      connecting
        ? `${this.#where} has not answered for ${waitedMs}: is that machine off, or its address another one, or does ` +
          "something on the way drop what is sent there? Waiting for it"
        : this.#isHeard
        ? `${this.#where} began to greet, and has said nothing more for ${waitedMs}: a master that is stopped or busy, ` +
          "or a network that fails? Waiting for it"
        : `${this.#where} accepts connections, and has said nothing for ${waitedMs}: a master that is stopped or busy, ` +
          "or something else that waits to be spoken to? Waiting for it",
    );
  }

  #ended(): void {
    this.#socket.destroy();
    const error = new Error(
      this.#isHeard
        ? `Cannot join ${this.#where}: the connection ended before the welcome`
        : `Cannot join ${this.#where}: it ended the connection before it said anything, as a master does only while it has as many as it takes`,
    );
    if (this.#isHeard) this.#fail(error);
    else void this.#failNamed(error);
  }

  #broken(error: NodeJS.ErrnoException): void {
    const fault = connectionFault(this.#where, error, this.#secured !== undefined);
    const isUnheard = !this.#isHeard && !this.#socket.connecting && !nothingToAsk.has(error.code ?? "");
    if (isUnheard) void this.#failNamed(fault);
    else this.#fail(fault);
  }

  /** A peer that hung up, or does not speak TLS, may be identified by a probe. */
  async #failNamed(error: Error): Promise<void> {
    this.#socket.off("end", this.#onEnd).off("close", this.#onEnd);
    if (await this.#ask() === null) this.#fail(error);
  }

  /** Probes what the peer seems to be. If that is found, the attempt fails with it. */
  async #ask(): Promise<string | null> {
    const { host, port, tls } = this.#options;
    const openTls = tls && this.#handshake ? () => openTrusted(tls, host, port) : undefined;
    this.#asked ??= probeServer({ host, port, speaksTls: tls !== undefined, openTls });
    const what = await this.#asked;
    if (what !== null) {
      this.#fail(
        new OtherProtocolError(
          `Cannot join ${this.#where}: what answers there ${what}, and is no taskmaster master`,
        ),
      );
    }
    return what;
  }

  #fail(error: unknown): void {
    this.#detach();
    this.#socket.destroy();
    this.#reject(error);
  }

  #detach(): void {
    this.#isOver = true;
    clearTimeout(this.#lateTimer);
    clearTimeout(this.#silentTimer);
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#socket.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onEnd);
  }
}

/** Opens a connection for a probe with TLS: nothing is sent unless its certificate is trusted. */
function openTrusted(tls: TlsClient, host: string, port: number): TLSSocket {
  const socket = tls.connect(host, port);
  socket.once("secureConnect", () => "fault" in tls.judge(socket, host) && socket.destroy());
  return socket;
}

function refusalOf(error: FrameError): RefusalCode {
  return error instanceof OtherVersionError ? "version" : "malformed";
}

function goodbye(reason: string): Uint8Array {
  return encodeMessage({ kind: "bye", reason: printable(reason, remarkCharsMax) });
}

function connectionFault(where: string, error: NodeJS.ErrnoException, isTls: boolean): Error {
  const fault = isTls ? hopelessTlsFault(error.code) : undefined;
  if (fault !== undefined) return refused(where, fault, error);
  const words = inWords[error.code ?? ""];
  const why = words === undefined ? error.message : `${words} (${error.code})`;
  return new Error(`Cannot join ${where}: ${why}`, { cause: error });
}

/** What system errors of a connection mean, in words for people. */
const inWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the other side cut the connection",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "its name cannot be looked up now",
  EHOSTUNREACH: "that machine cannot be reached",
  ENETUNREACH: "there is no network that leads there",
  ETIMEDOUT: "no answer came",
};

/**
 * Errors for which a probe is useless: nobody is there to answer, or the peer speaks TLS and only its certificate is
 * wrong.
 */
const nothingToAsk = new Set([
  "ERR_SSL_BAD_SIGNATURE",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED",
  "ERR_SSL_TLSV1_ALERT_CERTIFICATE_REQUIRED",
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT",
  "EADDRNOTAVAIL",
]);

function refused(where: string, why: string, cause?: unknown): RefusedError {
  return new RefusedError(`Cannot join the master at ${where}: ${why}`, { cause });
}

/**
 * Encodes AUTH's info. Shortens the name for people if the whole is too long; the plugin's names are needed for
 * comparison.
 *
 * @throws {ConnectError} if that is not enough.
 */
function toInfo(intro: Introduction, where: string): Uint8Array {
  const chars = [...intro.name.slice(0, nameCharsMax)];
  for (;; chars.pop()) {
    const info = encode({ ...intro, name: chars.join("") });
    if (info.length <= infoBytesMax) return checkedInfo(info, where);
    if (chars.length > 0) continue;
    throw new ConnectError(
      `Cannot join ${where}: this slave's introduction has ${info.length} bytes, and a master reads at most ` +
        `${infoBytesMax} before the proof; give the plugin's file or export a shorter name`,
    );
  }
}

/** Checks the info as a master would: it would refuse it, but report that only in its own log. */
function checkedInfo(info: Uint8Array, where: string): Uint8Array {
  try {
    parseIntroduction(info);
    return info;
  } catch (error) {
    throw new ConnectError(
      `Cannot join ${where}: what this slave would say of itself is not what the protocol allows. ${
        error instanceof Error ? error.message : error
      }`,
      { cause: error },
    );
  }
}

/** The heartbeat that a slave keeps, limited to a sensible range whatever its master says. */
export function heartbeatOf({ heartbeatMs }: Pick<Welcome, "heartbeatMs">): number {
  return Math.min(heartbeatMsMax, Math.max(heartbeatMsMin, heartbeatMs));
}

function abandoned(where: string): Error {
  return new Error(`Cannot join ${where}: given up`);
}
