import { setTimeout as sleep } from "node:timers/promises";
import { dial } from "../../src/link/dial.ts";
import type { SlaveLink } from "../../src/link/link.ts";
import { ReconnectBackoff } from "../../src/slave/uplink.ts";
import { token } from "../kit/scenario.ts";
import { Field } from "./field.ts";

/** A slave without workers: it connects again for ever, as a real one does, says `ready`, and takes nothing. */
class LightSlave {
  readonly #name: string;
  readonly #port: number;
  readonly #abort = new AbortController();
  readonly #backoff = new ReconnectBackoff(Math.random);
  #link: SlaveLink | null = null;

  constructor(name: string, port: number) {
    this.#name = name;
    this.#port = port;
    void this.#live();
  }

  get isJoined(): boolean {
    return this.#link !== null;
  }

  stop(): void {
    this.#abort.abort();
    void this.#link?.close("the test is over");
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
    const { link } = await dial({
      host: "127.0.0.1",
      port: this.#port,
      token: new TextEncoder().encode(token),
      intro: {
        slaveId: this.#name,
        name: this.#name,
        version: "0",
        procs: 0,
        plugin: null,
        runtime: "light",
        features: [],
      },
      role: "slave",
      nowMs: () => performance.now(),
      signal: this.#abort.signal,
    });
    this.#link = link;
    link.send({ kind: "ready", credit: 0, held: [] });
    const beat = setInterval(() => link.tick(performance.now()), 100);
    await new Promise<void>((resolve) => link.onClose = () => resolve());
    clearInterval(beat);
  }
}

export type Storm = Readonly<{
  slaves: number;
  /** From the first line of the second master to the last of them being back. */
  backMs: number;
  /** Sessions that the second master gave up for silence meanwhile, and in five seconds more. */
  silent: number;
  ratePerSecond: number;
}>;

/** A master is killed while so many slaves are connected, and started again in its place. */
export async function reconnectStorm(count: number): Promise<Storm> {
  const field = await Field.open();
  const slaves = Array.from({ length: count }, (_, index) => new LightSlave(`light${index}`, field.port));
  try {
    await allJoined(slaves);
    await field.restart();
    const startMs = Date.now();
    await allJoined(slaves);
    const backMs = Date.now() - startMs;
    const { ratePerSecond } = await field.watch(5);
    const silent = field.master.events("left").filter(({ reason }) => /silent/.test(String(reason))).length;
    return { slaves: count, backMs, silent, ratePerSecond };
  } finally {
    for (const slave of slaves) slave.stop();
    await field.end();
  }
}

async function allJoined(slaves: readonly LightSlave[]): Promise<void> {
  for (const deadlineMs = Date.now() + 60_000; !slaves.every(({ isJoined }) => isJoined);) {
    const missing = slaves.filter(({ isJoined }) => !isJoined).length;
    if (Date.now() > deadlineMs) {
      throw new Error(`${missing} of ${slaves.length} slaves did not join within a minute`);
    }
    await sleep(20);
  }
}
