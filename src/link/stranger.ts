import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { clearTimeout, setTimeout } from "../base/clock.ts";
import { printable } from "../base/printable.ts";

const httpVerb = /^(GET|POST|PUT|HEAD|DELETE|OPTIONS|PATCH|CONNECT|TRACE|PRI) |^HTTP\//;

/** What bytes that are no greeting seem to be: "HTTP", "TLS", or nothing known. */
export function strangerOf(bytes: Uint8Array): "HTTP" | "TLS" | undefined {
  if (bytes[1] === 3 && (isTlsRecord(bytes) || bytes[0] === 0x15)) return "TLS";
  const begin = String.fromCharCode(...bytes.subarray(0, 8));
  return httpVerb.test(begin) ? "HTTP" : undefined;
}

/** Whether a client's first bytes begin a TLS handshake. */
export function isTlsRecord(bytes: Uint8Array): boolean {
  return bytes[0] === 0x16;
}

/** Whether they begin a message of this project's handshake. */
export function isGreeting(bytes: Uint8Array): boolean {
  return String.fromCharCode(...bytes.subarray(0, 10)) === "taskmaster";
}

/** What PostgreSQL is asked before TLS; it answers with one letter, and others wait for more, or hang up. */
const sslRequest = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);
/** A server of lines answers these with an error, as HTTP and Redis do. */
const emptyLines = Buffer.from("\r\n\r\n");
/** After so long without an answer the lines follow, and after so long nothing is expected any more. */
const linesAfterMs = 400, answerMs = 1_400;

/**
 * What a server that waits for its client to speak seems to be, as the end of "what answers there ..."; null if that cannot
 * be told, or it is a master that was only slow. Asks by a connection of its own, with bytes that a master drops without a word.
 */
export function askStranger(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, noDelay: true });
    const timers = [
      setTimeout(() => socket.write(emptyLines), linesAfterMs),
      setTimeout(() => settle(null), answerMs),
    ];
    function settle(what: string | null): void {
      for (const timer of timers) clearTimeout(timer);
      socket.destroy();
      resolve(what);
    }
    socket.on("connect", () => socket.write(sslRequest));
    socket.on("data", (bytes: Uint8Array) => settle(isGreeting(bytes) ? null : serverOf(bytes) ?? null));
    socket.on("error", () => settle(null)).on("close", () => settle(null));
  });
}

/** What a server's first bytes say that it is, as the end of "what answers there ..."; undefined if nothing known. */
export function serverOf(bytes: Uint8Array): string | undefined {
  const begin = Buffer.from(bytes.subarray(0, 200)).toString("latin1");
  const [line = ""] = begin.split(/[\r\n]/);
  if (/^HTTP\/|^\s*<(!doctype|html)/i.test(begin)) return "is an HTTP server";
  if (/^SSH-/.test(begin)) return `is an SSH server (${printable(line, 60)})`;
  if (/^220[ -]/.test(begin)) return `is a mail or FTP server (${printable(line, 60)})`;
  if (/^-ERR |^\+OK/.test(begin)) return "is a Redis or POP3 server";
  if (begin === "N" || begin === "S") return "is a PostgreSQL server";
  if (bytes[1] === 0 && bytes[2] === 0 && bytes[3] === 0 && bytes[4] === 10) return "is a MySQL server";
  if (begin.startsWith(String.fromCharCode(...sslRequest))) return "sends back what it is sent";
  if (bytes[0] === 0x15 && bytes[1] === 3) return "speaks TLS";
  return undefined;
}
