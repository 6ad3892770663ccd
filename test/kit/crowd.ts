import { setTimeout as sleep } from "node:timers/promises";
import type { SlaveLink } from "../../src/link/link.ts";
import { ReconnectBackoff } from "../../src/slave/uplink.ts";
import { dialAs } from "./fake_slave.ts";
import { tokenText } from "./scenario.ts";
import { until } from "./until.ts";

/** A slave without workers: it connects again for ever, as a real one does, says `ready`, and takes nothing. */
class LightSlave {
  readonly #name: string;
  readonly #port: number;
  readonly #abort = new AbortController();
  readonly #backoff = new ReconnectBackoff(Math.random);
  #link: SlaveLink | null = null;
  /** How often it was welcome. */
  sessions = 0;

  constructor(name: string, port: number) {
    this.#name = name;
    this.#port = port;
    void this.#live();
  }

  get isJoined(): boolean {
    return this.#link !== null;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#link?.close("the test is over");
  }

  async #live(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.#session().catch(() => {});
      this.#link = null;
      await sleep(this.#backoff.next(1_000), undefined, { signal }).catch(() => {});
    }
  }

  async #session(): Promise<void> {
    const { link } = await dialAs({ host: "127.0.0.1", port: this.#port }, {
      token: new TextEncoder().encode(tokenText),
      slaveId: this.#name,
      name: this.#name,
      procs: 0,
      signal: this.#abort.signal,
    });
    this.#link = link;
    this.sessions++;
    link.send({ kind: "ready", credit: 0, held: [] });
    const beat = setInterval(() => link.tick(performance.now()), 100);
    await new Promise<void>((resolve) => link.onClose = () => resolve());
    clearInterval(beat);
  }
}

/** So many light slaves of one master, and of whoever comes in its place. Real processes would need 100 MB each. */
export class Crowd {
  readonly #slaves: readonly LightSlave[];

  /** @param name Begins the name of each. */
  constructor(port: number, count: number, name = "light") {
    this.#slaves = Array.from({ length: count }, (_, index) => new LightSlave(`${name}${index}`, port));
  }

  /** Waits until each is joined, and was joined so many times; rejects after a minute, or what is given. */
  async joined(times: number, msMax = 60_000): Promise<void> {
    const missing = () => this.#slaves.filter(({ isJoined, sessions }) => !isJoined || sessions < times);
    await until(() => missing().length === 0, `all ${this.#slaves.length} slaves are joined`, msMax);
  }

  async leave(): Promise<void> {
    await Promise.all(this.#slaves.map((slave) => slave.stop()));
  }
}
