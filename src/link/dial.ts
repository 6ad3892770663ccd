import { clearTimeout, setTimeout } from "../base/clock.ts";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { ConnectError } from "../base/errors.ts";
import { handshakeBytesMax } from "../base/limits.ts";
import { printable } from "../base/printable.ts";
import { dialMs, nameCharsMax, remarkCharsMax } from "../base/wire_limits.ts";
import { encode } from "../protocol/codec.ts";
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
import type { Introduction, MasterMessage, SlaveMessage, Welcome } from "../protocol/messages.ts";
import { encodeMessage, parseIntroduction, parseMasterMessage } from "../protocol/parse.ts";
import { FrameError } from "../protocol/frame_error.ts";
import { type SlaveLink, SocketLink } from "./link.ts";
import { RefusedError, SlaveHandshake } from "./slave_handshake.ts";
import { askStranger } from "./stranger.ts";
import type { TlsClient } from "./tls_client.ts";
import { hopelessTlsFault } from "./tls_fault.ts";

export { RefusedError } from "./slave_handshake.ts";

/** A master greets at once, as a rule; what has said nothing for so long is asked what it is, which takes 1.4 s at most. */
const silentMs = 3_000;
/** What is left of AUTH for its info: beside its head stand a nonce, a MAC and the role, which is one byte. */
const infoBytesMax = handshakeBytesMax - headerBytes - nonceBytes - macBytes - 1;

export type DialOptions = Readonly<{
  host: string;
  port: number;
  /** Null: the master runs with `--insecure` too. */
  token: Uint8Array | null;
  /** Undefined: without TLS. */
  tls?: TlsClient | undefined;
  intro: Introduction;
  role: Role;
  nowMs: () => number;
  /** Aborting it gives the attempt up. */
  signal: AbortSignal;
  /** It connected, and nothing came for some seconds: a sentence about what that may be. It is waited on. */
  onSilent?: (sentence: string) => void;
}>;

/**
 * Connects to a master and proves the token, both ways; within 15 s, and with TLS as long again.
 *
 * @throws {RefusedError} if trying again cannot help: another token, version or certificate. Its `final` is true.
 * @throws {ConnectError} if the plugin's names are too long to introduce this slave.
 * @throws {Error} if it may: refused or reset connection, a busy master, none in time.
 */
export function dial(options: DialOptions): Promise<Joined> {
  const where = `${options.host.includes(":") ? `[${options.host}]` : options.host}:${options.port}`;
  if (options.signal.aborted) return Promise.reject(abandoned(where));
  return new Promise((resolve, reject) => converse(options, where, resolve, reject));
}

type Joined = { link: SlaveLink; welcome: Welcome };

function converse(
  options: DialOptions,
  where: string,
  resolve: (joined: Joined) => void,
  reject: (error: unknown) => void,
): void {
  const { host, port, tls } = options;
  const info = toInfo(options.intro, where);
  let handshake = tls ? null : begin();
  const secured = tls?.connect(host, port);
  const socket = secured ?? connect({ host, port, noDelay: true });
  const onLate = () => {
    const missing = handshake === null ? "TLS" : "welcome";
    fail(new Error(`Cannot join ${where}: no ${missing} within ${dialMs / 1000} s`));
  };
  let timer = setTimeout(onLate, dialMs);
  const onAbort = () => fail(abandoned(where));
  const onData = (chunk: Uint8Array) => attempt(() => advance(chunk));
  const onEnd = () => fail(new Error(`Cannot join ${where}: the connection ended before the welcome`));
  const onError = (error: Error) => fail(connectionFault(where, error, tls !== undefined));

  function begin(certificateHash?: Uint8Array): SlaveHandshake {
    const secret = new Secret(options.token);
    const { role } = options;
    return new SlaveHandshake({ where, secret, role, nonce: randomBytes(nonceBytes), info, certificateHash });
  }
  function detach(): void {
    clearTimeout(timer);
    stopWatch();
    options.signal.removeEventListener("abort", onAbort);
    socket.off("data", onData).off("end", onEnd).off("close", onEnd);
  }
  function fail(error: unknown): void {
    detach();
    socket.destroy();
    reject(error);
  }
  function attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      // The master's log is to say which side is wrong.
      if (error instanceof RefusedError && error.cause instanceof FrameError) {
        socket.write(handshake?.isProved ? goodbye(error.message) : encodeRefusal(refusalOf(error.cause)));
      }
      fail(error);
    }
  }
  function trust(): void {
    secured!.setNoDelay(true);
    const judged = tls!.judge(secured!, host);
    if ("fault" in judged) throw refused(where, judged.fault);
    handshake = begin(judged.hash);
    clearTimeout(timer);
    timer = setTimeout(onLate, dialMs);
  }
  function advance(chunk: Uint8Array): void {
    if (handshake === null) return;
    const next = handshake.push(chunk);
    if (next.send) socket.write(next.send);
    if (!next.welcome) return;
    detach();
    socket.off("error", onError);
    resolve({ link: slaveLink(socket, options, next.welcome, next.rest), welcome: next.welcome });
  }
  const stopWatch = watchSilence(socket, options, where, fail);
  options.signal.addEventListener("abort", onAbort, { once: true });
  secured?.once("secureConnect", () => attempt(trust));
  socket.on("data", onData).on("end", onEnd).on("close", onEnd).on("error", onError);
}

/**
 * Asks what is there if nothing comes for some seconds, and gives up if it is no master. Returns how to stop that.
 */
function watchSilence(
  socket: Socket,
  { host, port, tls, onSilent }: DialOptions,
  where: string,
  giveUp: (error: Error) => void,
): () => void {
  let isOver = false;
  const timer = setTimeout(() => void ask(), silentMs);
  const stop = () => {
    isOver = true;
    clearTimeout(timer);
  };
  async function ask(): Promise<void> {
    if (socket.connecting) return;
    const what = tls === undefined ? await askStranger(host, port) : null;
    if (isOver) return;
    if (what !== null) {
      return giveUp(
        new Error(`Cannot join ${where}: what answers there ${what}, and is no taskmaster master`),
      );
    }
    onSilent?.(
      `${where} accepts connections, and has said nothing for ${
        silentMs / 1_000
      } s: a master that is busy, or ` +
        "something else (an HTTP server, a database)? Waiting for it",
    );
  }
  socket.once("data", stop);
  return stop;
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

/** What system errors of a connection mean to a person. */
const inWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the other side cut the connection",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "its name cannot be looked up now",
  EHOSTUNREACH: "that machine cannot be reached",
  ENETUNREACH: "there is no network that leads there",
  ETIMEDOUT: "no answer came",
};

function refused(where: string, why: string, cause?: unknown): RefusedError {
  return new RefusedError(`Cannot join the master at ${where}: ${why}`, { cause });
}

/**
 * AUTH's info. A name for people is cut where all would be too long; the plugin's is needed to compare.
 *
 * @throws {ConnectError} if that does not help.
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

/** A master would refuse it, and say so in its own log only. */
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

function slaveLink(socket: Socket, options: DialOptions, welcome: Welcome, received: Uint8Array): SlaveLink {
  return new SocketLink<MasterMessage, SlaveMessage>(socket, {
    parse: parseMasterMessage,
    heartbeatMs: welcome.heartbeatMs,
    nowMs: options.nowMs,
    saysBye: true,
    lingers: true,
    received,
  });
}

function abandoned(where: string): Error {
  return new Error(`Cannot join ${where}: given up`);
}
