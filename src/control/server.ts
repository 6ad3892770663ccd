import { monotonicMs } from "../lib/clock.ts";
import { LagGuard } from "../lib/lag_guard.ts";
import { silentHeartbeatsMax, tickMsMax } from "../lib/limits.ts";
import { TokenBucket } from "../lib/token_bucket.ts";
import { isLoopback } from "../lib/units.ts";
import type { ControlServerLink } from "../link/link.ts";
import type { Hub } from "../observe/hub.ts";
import type { ControlRequest, Introduction } from "../protocol/messages.ts";
import { controlCommands, isControlCommand, type Steered, verbs } from "./commands.ts";

/** Most control connections at once: a few people and their scripts. */
const connectionsMax = 32;
/** Questions of one connection: a burst, and those a second; beyond it the connection ends. */
const asksBurst = 200, asksPerSecond = 50;
/** Answers of one connection that are under way. */
const pendingMax = 16;

type Ask = Extract<ControlRequest, { kind: "ask" }>;

type Client = {
  readonly link: ControlServerLink;
  /** As it calls itself. */
  readonly by: string;
  readonly asks: TokenBucket;
  pending: number;
};

type ControlServerOptions = Readonly<{
  master: Steered;
  hub: Pick<Hub, "emit">;
  heartbeatMs: number;
  /** No token was asked for: then only this machine may ask. */
  isInsecure: boolean;
}>;

/** Who asks a master how it does, or tells it what to do: control connections, each with a few questions at once. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #clients = new Set<Client>();
  readonly #lagGuard = new LagGuard();
  #isOpen = true;

  constructor(options: ControlServerOptions) {
    this.#options = options;
  }

  /** Takes over a connection that was sent WELCOME. */
  accept(link: ControlServerLink, { name }: Introduction): void {
    if (!this.#isOpen) return void link.close("the master leaves");
    if (this.#clients.size >= connectionsMax) {
      return void link.close(
        `${connectionsMax} others ask already`,
        `${connectionsMax} others ask this master already`,
      );
    }
    const asks = new TokenBucket(asksBurst, asksPerSecond, monotonicMs());
    const client: Client = { link, by: name, asks, pending: 0 };
    this.#clients.add(client);
    link.onClose = () => void this.#clients.delete(client);
    link.onMessage = (message) => {
      if (message.kind === "ask") this.#ask(client, message);
    };
  }

  /** Lets each link do what is overdue, and ends those that fell silent. Returns when to call next. */
  tick(nowMs: number): number {
    this.#lagGuard.note(nowMs);
    let wakeAtMs = Infinity;
    for (const { link } of [...this.#clients]) {
      const silentAtMs = Math.max(
        link.lastHeardMs + silentHeartbeatsMax * this.#options.heartbeatMs,
        this.#lagGuard.judgeFromMs,
      );
      if (nowMs >= silentAtMs) void link.close("it was silent for too long");
      else wakeAtMs = Math.min(wakeAtMs, silentAtMs, link.tick(nowMs));
    }
    this.#lagGuard.expect(Math.min(wakeAtMs, nowMs + tickMsMax));
    return wakeAtMs;
  }

  /** Ends all connections, and takes no new one. */
  async close(): Promise<void> {
    this.#isOpen = false;
    await Promise.all([...this.#clients].map(({ link }) => link.close("the master leaves")));
  }

  #ask(client: Client, ask: Ask): void {
    const { link, asks } = client;
    if (!asks.take(monotonicMs()) || client.pending >= pendingMax) {
      return void link.close("it asks too much", "this client asks too much");
    }
    client.pending++;
    void this.#answer(client, ask).finally(() => client.pending--);
  }

  async #answer({ link, by }: Client, { id, command, value }: Ask): Promise<void> {
    try {
      link.send({ kind: "answer", id, result: await this.#execute(link, command, value, by) });
    } catch (error) {
      link.send({ kind: "refused", id, message: error instanceof Error ? error.message : String(error) });
    }
  }

  async #execute(link: ControlServerLink, name: string, value: string | null, by: string): Promise<unknown> {
    const { isInsecure, hub, master } = this.#options;
    if (isInsecure && !isLocal(link.peer)) {
      throw new Error("This master runs with --insecure, and takes commands from its own machine only.");
    }
    if (!isControlCommand(name)) {
      throw new Error(
        `This master knows no command "${name.slice(0, 60)}", but status, ${verbs.join(", ")}.`,
      );
    }
    if (value !== null) throw new Error(`The command ${name} takes no value.`);
    const { apply, isQuestion }: { apply: (master: Steered) => unknown; isQuestion?: true } =
      controlCommands[name];
    if (isQuestion !== true) hub.emit({ kind: "control", command: name, value, by });
    return await apply(master);
  }
}

/** Whether a peer, `HOST:PORT`, is of this machine; an IPv4 address may come in the form of an IPv6 one. */
function isLocal(peer: string): boolean {
  return isLoopback(peer.replace(/:\d+$/, "").replace(/^\[(?:::ffff:)?(.*)\]$/i, "$1"));
}
