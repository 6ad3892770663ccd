import { setTimeout as sleep } from "node:timers/promises";
import { token } from "../kit/scenario.ts";
import { FakeSlave } from "../master/fake_slave.ts";

/** So many slaves beside the real ones; they take no jobs. Real processes of that number would need 30 GB. */
const crowd = 300;
/** All must be welcome again by then. */
const reconnectMsMax = 20_000;
const pauseMsMin = 250, pauseMsMax = 1_000;

/** A crowd of slaves that all reconnect at once, with the pauses of `docs/protocol.md`. */
export class Storm {
  readonly #port: number;
  #slaves: FakeSlave[] = [];

  constructor(port: number) {
    this.#port = port;
  }

  async gather(): Promise<void> {
    this.#slaves = await Promise.all(Array.from({ length: crowd }, () => this.#join(Infinity)));
  }

  /** To be called when the master that they were joined to is gone. Throws if they are not all back in time. */
  async reconnect(): Promise<void> {
    await this.disperse();
    const deadline = performance.now() + reconnectMsMax;
    this.#slaves = await Promise.all(Array.from({ length: crowd }, () => this.#join(deadline)));
  }

  async disperse(): Promise<void> {
    await Promise.all(this.#slaves.map(({ link }) => link.close("the storm is over")));
    this.#slaves = [];
  }

  async #join(deadline: number): Promise<FakeSlave> {
    for (;;) {
      await sleep(pauseMsMin + Math.random() * (pauseMsMax - pauseMsMin));
      const slave = await FakeSlave.join({ host: "127.0.0.1", port: this.#port }, {
        token: new TextEncoder().encode(token),
        name: "storm:0",
        credit: 0,
      }).catch(() => null);
      if (slave !== null) return slave;
      if (performance.now() > deadline) {
        throw new Error(`Of ${crowd} slaves not all were welcome within ${reconnectMsMax} ms`);
      }
    }
  }
}
