import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { clearTimeout, setTimeout } from "../lib/clock.ts";
import { printable } from "../lib/text.ts";
import type { TlsGate } from "./tls.ts";

/** What became of a connection. Without `why` there is nothing to log. */
export type SniffOutcome =
  | Readonly<{ kind: "secured"; socket: TLSSocket; fault: string | undefined }>
  | Readonly<{ kind: "stranger"; about: string; why?: string }>;

/** A TLS client speaks first, and at once. A client silent for this long is told that this port speaks TLS. */
const silentMs = 2_000;

/** Bytes after which the protocol is clear: a handshake's magic, an HTTP verb. */
const clearBytes = 10;

/**
 * A TLS alert "internal error": a slow TLS client tries again, and a slave without TLS, which waits for HELLO, learns
 * from it that this port speaks TLS.
 */
const alert = Uint8Array.of(0x15, 3, 3, 0, 2, 2, 80);

/**
 * A new connection to a port that speaks TLS, until TLS is established.
 *
 *              first byte of TLS            established
 *     SILENT --------------------> SECURING ------------> secured
 *       |  '-- 2 s --> WARNED ---- anything else -------> stranger
 *       '------------------------- anything else ------------^
 *
 * WARNED: the client was told that this port speaks TLS. The owner sets the deadline for all of it.
 */
export class ProtocolSniffer {
  readonly #socket: Socket;
  readonly #gate: TlsGate;
  readonly #onEntered: (entered: SniffOutcome) => void;
  #state: "silent" | "warned" | "securing" | "over" = "silent";
  #bytes = Buffer.alloc(0);
  readonly #onData = (chunk: Uint8Array): void => this.#receive(chunk);

  constructor(socket: Socket, gate: TlsGate, onEntered: (entered: SniffOutcome) => void) {
    this.#socket = socket;
    this.#gate = gate;
    this.#onEntered = onEntered;
    socket.on("data", this.#onData);
  }

  /** TLS began and is not established yet. */
  get isSecuring(): boolean {
    return this.#state === "securing";
  }

  /** @param waitedMs Time since the connection could have spoken. */
  tick(waitedMs: number): void {
    if (this.#state !== "silent" || this.#bytes.length > 0 || waitedMs < silentMs) return;
    this.#state = "warned";
    this.#socket.write(alert);
  }

  /** Closes the connection without a message of this protocol, which the peer could not read. */
  turnAway(): void {
    if (this.#state === "silent") this.#socket.end(alert);
    if (this.#state === "securing") this.#socket.destroy();
    else this.#socket.destroySoon();
    this.#state = "over";
  }

  #receive(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (isTlsRecord(this.#bytes) && this.#state === "silent") return this.#secure();
    const stranger = otherProtocolOf(this.#bytes);
    if (stranger === "HTTP") this.#leave("HTTPS", httpMistake);
    else if (isGreeting(this.#bytes)) this.#leave("plain", plainMistake);
    else if (stranger || this.#bytes.length >= clearBytes) this.#leave("malformed");
  }

  #secure(): void {
    this.#state = "securing";
    this.#socket.off("data", this.#onData);
    // TLS must read these bytes again.
    this.#socket.pause();
    this.#socket.unshift(this.#bytes);
    this.#gate.pass(this.#socket, (socket, fault) => {
      if (this.#state !== "securing") return void socket.destroy();
      this.#state = "over";
      this.#onEntered({ kind: "secured", socket, fault });
    });
  }

  #leave(about: string, why?: string): void {
    this.#socket.off("data", this.#onData);
    this.#onEntered({ kind: "stranger", about, ...(why === undefined ? {} : { why }) });
  }
}

const httpMistake =
  "An HTTP request without TLS came to the TLS port for slaves: point browsers and health checks elsewhere";
const plainMistake =
  "A slave without TLS came to this master's TLS port: start it with the line that this master printed, or with --tls-pin or --tls";

const httpVerb = /^(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|TRACE|PRI) |^HTTP\//;

/** Which other protocol the bytes belong to: "HTTP" or "TLS"; undefined if unknown. */
export function otherProtocolOf(bytes: Uint8Array): "HTTP" | "TLS" | undefined {
  if (bytes[1] === 3 && (isTlsRecord(bytes) || bytes[0] === 0x15)) return "TLS";
  const begin = String.fromCharCode(...bytes.subarray(0, 8));
  return httpVerb.test(begin) ? "HTTP" : undefined;
}

/** Whether a client's first bytes begin a TLS handshake. */
function isTlsRecord(bytes: Uint8Array): boolean {
  return bytes[0] === 0x16;
}

/** Whether the bytes begin a handshake message of this protocol. */
export function isGreeting(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes.subarray(0, 10)) === "taskmaster";
}

/** What answers is not a master. A master may be there later, if another program had its port. */
export class OtherProtocolError extends Error {
  override readonly name = "StrangerError";
}

/** PostgreSQL's request for TLS: it answers with one letter, while other servers wait for more or hang up. */
const sslRequest = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);
/** As long as the preface of an HTTP/2 client, because such a server waits for all of it. */
const lines = Buffer.from("HELP what answers here?\r\n\r\n");
/** Longest wait for an answer to a probe. */
const answerMs = 1_200;

/** The first bytes of a server; or that it closed or cannot be reached; or that it stays silent. */
type SniffedReply = Uint8Array | "over" | "silent";

type Whom = Readonly<{
  host: string;
  port: number;
  /** Whether TLS was spoken to the server, and how to open another TLS connection, if it is trusted. */
  speaksTls: boolean;
  openTls?: (() => TLSSocket) | undefined;
}>;

/**
 * Identifies a server that is silent or hangs up, as the end of "what answers there ..."; null if that is impossible,
 * or it is only a slow master. Opens its own connections and sends one probe on each, of bytes that a master drops
 * without an answer.
 */
export async function probeServer({ host, port, speaksTls, openTls }: Whom): Promise<string | null> {
  const open = () => connect({ host, port, noDelay: true });
  const asked = [sslRequest, lines].map(async (question) => {
    const answer = await ask(open(), "connect", question);
    // If TLS is spoken, this answer says nothing new, not even of a master.
    return speaksTls && typeof answer !== "string" && otherProtocolOf(answer) === "TLS" ? "over" : answer;
  });
  if (openTls) asked.push(ask(openTls(), "secureConnect", lines));
  const said = await firstBytes(asked);
  if (said !== null) return isGreeting(said) ? null : serverOf(said);
  // A server that closes on everything but TLS may be waiting for TLS. A master is not probed like this: it would log
  // it.
  const hangsUp = (await Promise.all(asked)).every((answer) => answer === "over");
  return !speaksTls && hangsUp && await answersTls(host, port) ? "speaks TLS" : null;
}

/** The first bytes of the first answer; null if nothing came. */
async function firstBytes(asked: readonly Promise<SniffedReply>[]): Promise<Uint8Array | null> {
  return await new Promise((resolve) => {
    for (const one of asked) void one.then((answer) => typeof answer !== "string" && resolve(answer));
    void Promise.all(asked).then(() => resolve(null));
  });
}

function ask(
  socket: Socket,
  ready: "connect" | "secureConnect",
  question: Uint8Array,
): Promise<SniffedReply> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => settle("silent"), answerMs);
    function settle(answer: SniffedReply): void {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    }
    socket.once(ready, () => socket.write(question)).once("data", settle);
    socket.on("error", () => settle("over")).on("close", () => settle("over")).on(
      "end",
      () => settle("over"),
    );
  });
}

function answersTls(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectTls({ host, port, rejectUnauthorized: false });
    const timer = setTimeout(() => settle(false), answerMs);
    function settle(speaks: boolean): void {
      clearTimeout(timer);
      socket.destroy();
      resolve(speaks);
    }
    socket.once("secureConnect", () => settle(true));
    socket.on("error", () => settle(false)).on("close", () => settle(false));
  });
}

/** Identifies a server by its first bytes, as the end of "what answers there ...". */
export function serverOf(bytes: Uint8Array): string {
  const begin = Buffer.from(bytes.subarray(0, 200)).toString("latin1");
  const [line = ""] = begin.split(/[\r\n]/);
  if (bytes[0] === 0x15 && bytes[1] === 3) return "speaks TLS";
  if (begin.startsWith(String.fromCharCode(...sslRequest)) || begin.startsWith(String(lines).slice(0, 8))) {
    return "sends back what it is sent";
  }
  if (isHttp2Settings(bytes)) return "is an HTTP/2 server";
  if (isMysql(bytes)) return "is a MySQL server";
  const known = banners.find(([beginning]) => beginning.test(begin));
  if (known) return `is ${known[1]}${known[2] ? ` (${printable(line, 60)})` : ""}`;
  return `speaks another protocol (it began with "${printable(line || begin, 60)}")`;
}

/** How servers begin a text answer, and whether their first line is worth showing. */
const banners: readonly (readonly [RegExp, string, boolean])[] = [
  [/^HTTP\/|^\s*<(!doctype|html)/i, "an HTTP server", false],
  [/^SSH-/, "an SSH server", true],
  [/^[245]\d\d[ -]/, "a mail or FTP server", true],
  [/^\* (OK|BYE|PREAUTH)\b/, "an IMAP server", true],
  [/^-(ERR|NOAUTH|DENIED|LOADING|MISCONF)\b/, "a Redis server", false],
  [/^\+OK/, "a POP3 server", true],
  [/^ERROR\r?\n/, "a memcached server", false],
  [/^[NS]$/, "a PostgreSQL server", false],
  [/^RFB \d/, "a VNC server", true],
  [/^AMQP/, "an AMQP server", false],
  [/^INFO \{/, "a NATS server", false],
  [/^\xff[\xfb-\xfe]/, "a Telnet server", false],
];

/** Whether the first frame is SETTINGS of HTTP/2: three bytes of length, the type, flags, and stream 0. */
function isHttp2Settings(bytes: Uint8Array): boolean {
  return bytes.length >= 9 && bytes[0] === 0 && bytes[3] === 4 &&
    bytes.subarray(5, 9).every((byte) => byte === 0);
}

/**
 * Whether it is a MySQL packet: up to 1,023 bytes, the first in sequence, a greeting (version 10) or an error (255).
 */
function isMysql(bytes: Uint8Array): boolean {
  return bytes[1]! < 4 && bytes[2] === 0 && bytes[3] === 0 && (bytes[4] === 10 || bytes[4] === 255);
}
