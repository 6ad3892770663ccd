import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setImmediate } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { LagGuard } from "../lib/lag_guard.ts";
import { connectionsMax, handshakeMs, strangerLogMs, tickMsMax } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { nonceBytes, Secret } from "../protocol/handshake.ts";
import type { ControlReply, ControlRequest, Introduction, Welcome } from "../protocol/messages.ts";
import { parseControlRequest, parseSlaveMessage } from "../protocol/parse.ts";
import { type ControlServerLink, type MasterLink, SocketLink, UnfinishedFrames } from "./link.ts";
import { type HandshakeOutcome, MasterHandshake } from "./master_handshake.ts";
import { type MasterTls, TlsGate } from "./tls.ts";

/** Most connections in a handshake at once. */
export const handshakesMax = 64;
/** While other connections wait, the oldest handshake is ended after this long. */
const handshakeCrowdedMs = 500;

/** File descriptors that a master may need for other things: its state, its plugin's connections, the runtime. */
const otherFiles = 128;

/**
 * Most connections that leave enough file descriptors for everything else. A process without descriptors can neither
 * save nor accept a slave, and under Deno never accepts again, even once some are free. Known on Linux only.
 */
export function connectionsAllowed(): number {
  return placesFor(filesMax());
}

/** @param filesMax File descriptors that the process may open. */
export function placesFor(filesMax: number): number {
  return Math.min(connectionsMax, Math.max(filesMax - otherFiles, Math.floor(filesMax / 2)));
}

function filesMax(): number {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    return Infinity;
  }
}

type HandshakeQueueOptions = Readonly<{
  secret: Secret;
  /** Undefined without TLS. */
  gate?: TlsGate | undefined;
  welcome: (intro: Introduction) => Welcome;
  nowMs: () => number;
  log: Log;
  onSession(link: MasterLink, intro: Introduction): void;
  onControl?(link: ControlServerLink, intro: Introduction): void;
  /** Most connections of any kind. @default connectionsMax */
  placesMax?: number;
}>;

/** `sinceMs`: when it connected. Deadlines count from then, however long it waits for its handshake. */
type Waiting = Readonly<{ socket: Socket; sinceMs: number }>;

/** Interval between checks while any connection waits. */
const lookMs = 250;

/**
 * The connections that have not proved the token yet.
 *
 *                 room                    proof
 *     WAITING ------------> GREETED -----------------> a session
 *        '---------------------'---- late, refused, crowded out
 *
 * A connection is late if it has not proved the token within 5 s; within 15 s once it speaks TLS. At most 64 are
 * greeted at once. The others wait, and the newest is served first, because a slave that had to wait long dials again
 * anyway. While any waits, the oldest greeted one is closed after half a second, so unproven connections delay a real
 * slave by no more than that. They cannot lock it out either: when all places are taken, the connection that has waited
 * longest is closed. After a stall of this process no connection is judged late at once.
 */
export class HandshakeQueue {
  readonly #options: HandshakeQueueOptions;
  /** The greeted connections and when each was greeted, oldest first. */
  readonly #greeted = new Map<MasterHandshake, number>();
  /** Shared by all sessions. */
  readonly #unfinished = new UnfinishedFrames();
  /** In order of arrival. */
  readonly #waiting: Waiting[] = [];
  readonly #lagGuard = new LagGuard();
  readonly #placesMax: number;
  /** Unproven connections must leave places for waiting ones, whose place a slave can take. */
  readonly #greetedMax: number;
  #sessions = 0;
  #isClosed = false;
  /** When each kind of unproven connection was last logged. */
  readonly #loggedAtMs = new Map<string, number>();

  constructor(options: HandshakeQueueOptions) {
    this.#options = options;
    this.#placesMax = options.placesMax ?? connectionsMax;
    this.#greetedMax = Math.min(handshakesMax, Math.ceil(this.#placesMax / 2));
  }

  /** Adds a new connection, or closes it if there is no place. */
  admit(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#isClosed || !this.#hasPlace()) return void socket.destroy();
    const nowMs = this.#options.nowMs();
    this.#waiting.push({ socket, sinceMs: nowMs });
    this.#makeRoom(nowMs);
  }

  /** The operating system could not accept a connection. */
  acceptFailed(error: Error): void {
    this.#logSeldom(
      "accept",
      `Cannot accept a connection: ${error.message}; raise the limit of open files (ulimit -n)`,
    );
  }

  tick(nowMs: number): number {
    this.#lagGuard.note(nowMs);
    if (this.#lagGuard.mayJudge(nowMs)) this.#endLate(nowMs);
    this.#makeRoom(nowMs);
    const wakeAtMs = this.#greeted.size + this.#waiting.length > 0 ? nowMs + lookMs : Infinity;
    this.#lagGuard.expect(Math.min(wakeAtMs, nowMs + tickMsMax));
    return wakeAtMs;
  }

  close(): void {
    this.#isClosed = true;
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
    for (const handshake of this.#greeted.keys()) handshake.refuse("ending");
  }

  /**
   * Whether there is a place for one more connection. If all are taken, closes the connection that has waited longest.
   */
  #hasPlace(): boolean {
    if (this.#greeted.size + this.#waiting.length + this.#sessions < this.#placesMax) return true;
    const oldest = this.#waiting.shift();
    oldest?.socket.destroy();
    if (oldest === undefined) {
      this.#logSeldom("full", `Cannot take another connection: ${this.#placesMax} are open`);
    }
    return oldest !== undefined;
  }

  #endLate(nowMs: number): void {
    // The map is not in order of arrival, because the newest are greeted first.
    for (const handshake of [...this.#greeted.keys()]) {
      if (nowMs >= handshake.lateAtMs) handshake.refuse("late");
      else handshake.tick(nowMs);
    }
    while (this.#waiting[0] && nowMs >= this.#waiting[0].sinceMs + handshakeMs) {
      this.#waiting.shift()!.socket.destroy();
    }
  }

  #makeRoom(nowMs: number): void {
    this.#lagGuard.note(nowMs);
    while (this.#waiting.length > 0 && this.#greeted.size < this.#greetedMax) {
      this.#greet(this.#waiting.pop()!, nowMs);
    }
    const [oldest] = this.#greeted;
    if (this.#waiting.length === 0 || !oldest) return;
    const [handshake, greetedAtMs] = oldest;
    // `refuse` removes it and calls `#makeRoom` again.
    if (nowMs >= Math.max(greetedAtMs + handshakeCrowdedMs, this.#lagGuard.judgeFromMs)) {
      handshake.refuse("busy");
    }
  }

  #greet({ socket, sinceMs }: Waiting, nowMs: number): void {
    if (socket.destroyed) return;
    const { secret, gate } = this.#options;
    const handshake = new MasterHandshake(
      socket,
      { secret, nonce: randomBytes(nonceBytes), sinceMs, greetedAtMs: nowMs, gate },
      (outcome) => {
        this.#greeted.delete(handshake);
        this.#settle(handshake, outcome);
        if (!this.#isClosed) this.#makeRoom(this.#options.nowMs());
      },
    );
    this.#greeted.set(handshake, nowMs);
    handshake.greet();
  }

  #settle(handshake: MasterHandshake, outcome: HandshakeOutcome): void {
    if (outcome.kind === "proved") this.#begin(handshake, outcome);
    if (outcome.kind === "refused" && outcome.why) {
      this.#logSeldom(outcome.about, `${outcome.why} (${handshake.peer})`);
    }
  }

  #begin(handshake: MasterHandshake, { intro, role }: Extract<HandshakeOutcome, { kind: "proved" }>): void {
    const { welcome, nowMs, onSession, onControl } = this.#options;
    const told = welcome(intro);
    handshake.welcome(told);
    const { socket } = handshake;
    this.#sessions++;
    socket.once("close", () => this.#sessions--);
    const { heartbeatMs } = told;
    const options = { heartbeatMs, nowMs, saysBye: true, unfinished: this.#unfinished };
    if (role === "slave") onSession(new SocketLink(socket, { ...options, parse: parseSlaveMessage }), intro);
    else {
      const link = new SocketLink<ControlRequest, ControlReply>(socket, {
        ...options,
        parse: parseControlRequest,
      });
      if (onControl === undefined) void link.close("it was told which run this is");
      else onControl(link, intro);
    }
  }

  /** Logs at most one line of each kind in a while: a port scan, health check or flood must not fill the log. */
  #logSeldom(about: string, message: string): void {
    const nowMs = this.#options.nowMs();
    if (nowMs < (this.#loggedAtMs.get(about) ?? -Infinity) + strangerLogMs) return;
    this.#loggedAtMs.set(about, nowMs);
    this.#options.log("warn", message);
  }
}

export type ListenOptions = Readonly<{
  host: string;
  /** 0 for any free port. */
  port: number;
  /** Null for `--insecure`: nobody proves anything. */
  token: Uint8Array | null;
  /** Undefined: the traffic is not encrypted. */
  tls?: MasterTls | undefined;
  /** The body of WELCOME for a slave that proved the token. */
  welcome: (intro: Introduction) => Welcome;
  nowMs: () => number;
  log: Log;
  /** A session with a slave began: its WELCOME is being sent. */
  onSession(link: MasterLink, intro: Introduction): void;
  /** The same for a control client. @default it is closed after WELCOME */
  onControl?(link: ControlServerLink, intro: Introduction): void;
}>;

export interface Listener {
  /** The address actually bound. */
  readonly address: Readonly<{ host: string; port: number }>;
  /** Stops accepting and ends handshakes; the owner of the sessions must end those. */
  close(): Promise<void>;
  /** Ends overdue handshakes; returns when to call again at the latest. */
  tick(nowMs: number): number;
}

/**
 * Listens for slaves and admits those that prove the token.
 *
 * @throws {ConnectError} if it cannot listen there, or the certificate cannot be used.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const gate = options.tls && new TlsGate(options.tls);
  const secret = new Secret(options.token);
  const queue = new HandshakeQueue({ ...options, secret, gate, placesMax: connectionsAllowed() });
  const server = createServer((socket) => queue.admit(socket));
  await bound(server, options);
  // Out of file descriptors: the system keeps new connections waiting, and sessions go on.
  server.on("error", (error) => queue.acceptFailed(error));
  const { address, port } = server.address() as AddressInfo;
  return {
    address: { host: address, port },
    tick: (nowMs) => queue.tick(nowMs),
    close: async () => {
      server.close();
      queue.close();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

function bound(server: Server, { host, port }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(cannotListen(host, port, error)));
    server.listen({ host, port, backlog: 511 }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function cannotListen(host: string, port: number, error: NodeJS.ErrnoException): ConnectError {
  const where = `${host}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new ConnectError(
        `Cannot listen on ${where}: the port is taken; is another master running? Choose another port with --host.`,
        { cause: error },
      );
    case "EACCES":
      return new ConnectError(
        `Cannot listen on ${where}: not allowed; choose a port above 1023 with --host.`,
        { cause: error },
      );
    case "EADDRNOTAVAIL":
      return new ConnectError(
        `Cannot listen on ${where}: this machine has no such address; use 0.0.0.0, or one of its own.`,
        { cause: error },
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ConnectError(
        `Cannot listen on ${where}: there is no host of that name; use 0.0.0.0, or an address of this machine.`,
        { cause: error },
      );
    default:
      return new ConnectError(`Cannot listen on ${where}: ${error.message}`, { cause: error });
  }
}
