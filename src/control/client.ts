import { clearInterval, clearTimeout, monotonicMs, setInterval, setTimeout } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { asClause, printable } from "../lib/text.ts";
import { formatAddress } from "../lib/units.ts";
import { dialControl, type DialOptions, heartbeatOf, RefusedError } from "../link/dial.ts";
import type { ControlLink } from "../link/link.ts";
import { controlFeature } from "../protocol/handshake.ts";
import type { Welcome } from "../protocol/messages.ts";

/** A master that is stopped, or whose plugin holds its thread, may take a while to answer. */
const answerMs = 30_000;

/** The master ended the connection and said so: it leaves. */
export class MasterLeftError extends ConnectError {}

type Pending = Readonly<
  { resolve: (result: unknown) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }
>;

/** Whoever asks a running master how it does, or tells it what to do. */
export class ControlClient {
  readonly welcome: Welcome;
  readonly #link: ControlLink;
  readonly #where: string;
  readonly #pending = new Map<number, Pending>();
  readonly #beats: NodeJS.Timeout;
  #ids = 0;
  #closedFor: string | null = null;

  private constructor(link: ControlLink, welcome: Welcome, where: string) {
    this.#link = link;
    this.#where = where;
    this.welcome = welcome;
    this.#beats = setInterval(() => void link.tick(monotonicMs()), heartbeatOf(welcome));
    link.onClose = (reason) => this.#closed(reason);
    link.onMessage = (message) => {
      if (message.kind === "answer") this.#take(message.id)?.resolve(message.result);
      else if (message.kind === "refused") this.#take(message.id)?.reject(new ConnectError(message.message));
    };
  }

  /**
   * Connects to a master, both sides proving the token.
   *
   * @throws {ConnectError} in a sentence, if there is none, if it refuses, or takes no commands.
   */
  static async connect(options: Omit<DialOptions, "nowMs" | "signal">): Promise<ControlClient> {
    const where = formatAddress(options);
    const { link, welcome } = await dialControl({
      ...options,
      nowMs: monotonicMs,
      signal: new AbortController().signal,
    }).catch((error: unknown) => {
      if (error instanceof RefusedError || !(error instanceof Error)) throw error;
      throw new ConnectError(`${asClause(error.message)}.`, { cause: error });
    });
    if (!welcome.features.includes(controlFeature)) {
      void link.close("it takes no commands");
      throw new ConnectError(`The master at ${where} is of an older version, which takes no commands.`);
    }
    return new ControlClient(link, welcome, where);
  }

  /** @throws {ConnectError} in a sentence: refused, no answer in time, or the connection ended. */
  ask(command: string, value: string | null = null): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closedFor !== null) return reject(this.#gone());
      const id = ++this.#ids;
      const timer = setTimeout(() => this.#take(id)?.reject(this.#late()), answerMs);
      this.#pending.set(id, { resolve, reject, timer });
      this.#link.send({ kind: "ask", id, command, value });
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#beats);
    await this.#link.close("done");
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending !== undefined) clearTimeout(pending.timer);
    return pending;
  }

  #closed(reason: string): void {
    this.#closedFor = reason;
    clearInterval(this.#beats);
    for (const id of [...this.#pending.keys()]) this.#take(id)!.reject(this.#gone());
  }

  #gone(): ConnectError {
    const why = printable(asClause(this.#closedFor ?? "it was closed"), 200);
    const sentence = `The connection to the master at ${this.#where} ended: ${why}.`;
    return this.#link.hasHeardBye ? new MasterLeftError(sentence) : new ConnectError(sentence);
  }

  #late(): ConnectError {
    return new ConnectError(
      `The master at ${this.#where} has not answered for ${
        answerMs / 1_000
      } s: it is stopped, or its plugin holds its ` +
        "thread. What was asked may still be done.",
    );
  }
}
