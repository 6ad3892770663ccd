import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/**
 * A TCP relay between slaves and a master. On hold it carries nothing either way and accepts all the same, as a
 * network that went dark: no side is told. What was sent meanwhile arrives when the hold ends.
 */
export class Relay {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #isHeld = false;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async to(port: number): Promise<Relay> {
    const server = createServer((near) => relay.#join(near, connect(port, "127.0.0.1")));
    const relay = new Relay(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return relay;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  hold(): void {
    this.#isHeld = true;
    for (const socket of this.#sockets()) socket.pause();
  }

  /** What slaves send arrives no more; what the master sends does. */
  deafen(): void {
    for (const [near] of this.#pairs) near.pause();
  }

  release(): void {
    this.#isHeld = false;
    for (const socket of this.#sockets()) socket.resume();
  }

  /** Both ends of every connection see a reset. */
  reset(): void {
    for (const socket of this.#sockets()) socket.resetAndDestroy();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets()) socket.destroy();
  }

  #join(near: Socket, far: Socket): void {
    const pair: [Socket, Socket] = [near, far];
    this.#pairs.add(pair);
    for (const [from, to] of [pair, [far, near] as const]) {
      from.setNoDelay(true);
      from.on("data", (bytes) => to.write(bytes));
      from.on("end", () => to.end());
      from.on("error", () => {});
      from.on("close", () => {
        this.#pairs.delete(pair);
        to.destroySoon();
      });
      if (this.#isHeld) from.pause();
    }
  }

  *#sockets(): Iterable<Socket> {
    for (const pair of [...this.#pairs]) yield* pair;
  }
}
