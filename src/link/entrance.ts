import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { isGreeting, isTlsRecord, strangerOf } from "./stranger.ts";
import type { TlsGate } from "./tls_gate.ts";

/** How a connection left the entrance. Without `why` there is nothing to log. */
export type Entered =
  | Readonly<{ kind: "secured"; socket: TLSSocket; fault: string | undefined }>
  | Readonly<{ kind: "stranger"; about: string; why?: string }>;

/**
 * A client of TLS speaks first, and at once. After this long it is told that this port speaks TLS.
 */
const silentMs = 2_000;

/** Bytes after which it is clear who speaks: a greeting's magic, an HTTP verb. */
const clearBytes = 10;

/**
 * A TLS record that says "internal error": a client of TLS that was slow tries again, and a slave without TLS, which
 * waits for a HELLO, learns from it what this port speaks.
 */
const alert = Uint8Array.of(0x15, 3, 3, 0, 2, 2, 80);

/**
 * A new connection to a port that speaks TLS, until it does.
 *
 *              first byte of TLS            established
 *     SILENT --------------------> SECURING ------------> secured
 *       |  '-- 2 s --> WARNED ---- anything else -------> stranger
 *       '------------------------- anything else ------------^
 *
 * WARNED: it was told that this port speaks TLS. All of it within the time its owner has set.
 */
export class Entrance {
  readonly #socket: Socket;
  readonly #gate: TlsGate;
  readonly #onEntered: (entered: Entered) => void;
  #state: "silent" | "warned" | "securing" | "over" = "silent";
  #bytes = Buffer.alloc(0);
  readonly #onData = (chunk: Uint8Array): void => this.#receive(chunk);

  constructor(socket: Socket, gate: TlsGate, onEntered: (entered: Entered) => void) {
    this.#socket = socket;
    this.#gate = gate;
    this.#onEntered = onEntered;
    socket.on("data", this.#onData);
  }

  /** TLS began, and is not established. */
  get isSecuring(): boolean {
    return this.#state === "securing";
  }

  /** @param waitedMs Since the connection could have spoken. */
  tick(waitedMs: number): void {
    if (this.#state !== "silent" || this.#bytes.length > 0 || waitedMs < silentMs) return;
    this.#state = "warned";
    this.#socket.write(alert);
  }

  /** Ends the connection, without a word of this project's protocol: nobody could read it. */
  turnAway(): void {
    if (this.#state === "silent") this.#socket.end(alert);
    if (this.#state === "securing") this.#socket.destroy();
    else this.#socket.destroySoon();
    this.#state = "over";
  }

  #receive(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    if (isTlsRecord(this.#bytes) && this.#state === "silent") return this.#secure();
    const stranger = strangerOf(this.#bytes);
    if (stranger === "HTTP") this.#leave("HTTPS", httpMistake);
    else if (isGreeting(this.#bytes)) this.#leave("plain", plainMistake);
    else if (stranger || this.#bytes.length >= clearBytes) this.#leave("malformed");
  }

  #secure(): void {
    this.#state = "securing";
    this.#socket.off("data", this.#onData);
    // TLS is to read what was read already.
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
