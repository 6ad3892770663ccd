import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "./clock.ts";

/**
 * Grace after the deadline: if this process was blocked, data that came in time is read only after the overdue timer.
 */
const settleMs = 100;

export type UnprovenLimits = Readonly<{
  /** Most connections at once. */
  connectionsMax: () => number;
  /** Longest time to prove its identity. @default no limit here; the reader sets one */
  msMax?: number;
}>;

/**
 * Connections to a local socket whose peer has not proved its identity. Any user of the machine can open them, so they
 * are few and short-lived: a new one replaces the oldest when there are too many. The reader limits what they may send.
 */
export class UnprovenConnections {
  readonly #limits: UnprovenLimits;
  /** In order of arrival. */
  readonly #timers = new Map<Socket, ReturnType<typeof setTimeout> | null>();

  constructor(limits: UnprovenLimits) {
    this.#limits = limits;
  }

  /** Adds a new connection. It is closed unless `proved` is called in time. */
  admit(socket: Socket): void {
    // The connection may be gone already.
    socket.on("error", () => {});
    const { connectionsMax, msMax } = this.#limits;
    for (const oldest of this.#timers.keys()) {
      if (this.#timers.size < connectionsMax()) break;
      this.#end(oldest);
    }
    this.#timers.set(socket, null);
    if (msMax !== undefined) {
      this.#wait(socket, msMax, () => this.#wait(socket, settleMs, () => this.#end(socket)));
    }
    socket.once("close", () => this.proved(socket));
  }

  /** The peer has proved its identity, or is gone: no longer tracked here. */
  proved(socket: Socket): void {
    clearTimeout(this.#timers.get(socket) ?? undefined);
    this.#timers.delete(socket);
  }

  /** Closes all tracked connections. */
  close(): void {
    for (const socket of this.#timers.keys()) this.#end(socket);
  }

  #wait(socket: Socket, ms: number, then: () => void): void {
    const timer = setTimeout(then, ms);
    timer.unref();
    this.#timers.set(socket, timer);
  }

  #end(socket: Socket): void {
    this.proved(socket);
    socket.destroy();
  }
}
