import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "./clock.ts";

/** After a stall of this process, what a connection said in time may still wait behind the timer that calls it late. */
const settleMs = 100;

export type UnprovenLimits = Readonly<{
  /** Most connections at once. */
  connectionsMax: () => number;
  /** Longest that one may take to show who it is. @default as long as whoever reads it lets it */
  msMax?: number;
}>;

/**
 * Connections to a socket of this machine whose other end has not shown who it is. Any user of the machine can make them,
 * so there are few at once, and each for a short time: a new one takes the place of the one that has waited longest. What
 * they may send is bounded by whoever reads it.
 */
export class UnprovenConnections {
  readonly #limits: UnprovenLimits;
  /** In order of arrival. */
  readonly #timers = new Map<Socket, ReturnType<typeof setTimeout> | null>();

  constructor(limits: UnprovenLimits) {
    this.#limits = limits;
  }

  /** Takes a new connection, which is ended unless it is `proved` in time. */
  admit(socket: Socket): void {
    // It may be gone already.
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

  /** It is no concern of this class any more. */
  proved(socket: Socket): void {
    clearTimeout(this.#timers.get(socket) ?? undefined);
    this.#timers.delete(socket);
  }

  /** Ends those that wait. */
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
