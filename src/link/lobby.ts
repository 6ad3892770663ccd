import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { connectionsMax, handshakeMs, handshakesMax } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { StallWatch } from "../base/stall_watch.ts";
import { handshakeCrowdedMs, strangerLogMs } from "../base/wire_limits.ts";
import { nonceBytes, type Role, type Secret } from "../protocol/handshake.ts";
import type { Introduction, MasterMessage, SlaveMessage, Welcome } from "../protocol/messages.ts";
import { parseSlaveMessage } from "../protocol/parse.ts";
import { Arrival, type Outcome } from "./arrival.ts";
import { type MasterLink, SocketLink, UnfinishedFrames } from "./link.ts";
import type { TlsGate } from "./tls_gate.ts";

type LobbyOptions = Readonly<{
  secret: Secret;
  /** Undefined without TLS. */
  gate?: TlsGate | undefined;
  welcome: (intro: Introduction) => Welcome;
  nowMs: () => number;
  log: Log;
  onSession(link: MasterLink, intro: Introduction, role: Role): void;
  /** Most connections of any kind. @default connectionsMax */
  placesMax?: number;
}>;

/** `sinceMs`: when it connected. Its time counts from there, however long it waits for its greeting. */
type Waiting = Readonly<{ socket: Socket; sinceMs: number }>;

/** Between two looks at who waits, while anybody does. */
const lookMs = 250;

/**
 * Everybody who connected and has not proved the token.
 *
 *                 room                    proof
 *     WAITING ------------> GREETED -----------------> a session
 *        '---------------------'---- late, refused, crowded out
 *
 * Late is who has not proved it within 5 s; within 15 s, once it speaks TLS. At most 64 are greeted at once. The
 * others wait, the newest first in line, for a slave that had to wait long dials anew anyway; while any waits, the
 * oldest greeted one is closed after half a second. So those that never prove anything hold up a real slave by no more
 * than that. Nor can they shut it out: when all places are taken, the one that waits longest makes room. After a stall
 * of this process nobody is called late at once.
 */
export class Lobby {
  readonly #options: LobbyOptions;
  /** And when; in that order. */
  readonly #greeted = new Map<Arrival, number>();
  /** Of all sessions together. */
  readonly #unfinished = new UnfinishedFrames();
  /** In order of arrival. */
  readonly #waiting: Waiting[] = [];
  readonly #stalls = new StallWatch();
  readonly #placesMax: number;
  /** Strangers must leave room for those that wait, or there would be nobody whose place a slave could take. */
  readonly #greetedMax: number;
  #sessions = 0;
  #isClosed = false;
  /** When each kind of stranger was last logged. */
  readonly #loggedAtMs = new Map<string, number>();

  constructor(options: LobbyOptions) {
    this.#options = options;
    this.#placesMax = options.placesMax ?? connectionsMax;
    this.#greetedMax = Math.min(handshakesMax, Math.ceil(this.#placesMax / 2));
  }

  /** Takes a new connection. */
  admit(socket: Socket): void {
    socket.on("error", () => {});
    if (this.#isClosed || !this.#hasPlace()) return void socket.destroy();
    const nowMs = this.#options.nowMs();
    this.#waiting.push({ socket, sinceMs: nowMs });
    this.#makeRoom(nowMs);
  }

  /** The system could not accept a connection. */
  acceptFailed(error: Error): void {
    this.#logSeldom(
      "accept",
      `Cannot accept a connection: ${error.message}; raise the limit of open files (ulimit -n)`,
    );
  }

  tick(nowMs: number): number {
    if (nowMs >= this.#stalls.judgeFrom(nowMs)) this.#endLate(nowMs);
    this.#makeRoom(nowMs);
    const wakeAtMs = this.#greeted.size + this.#waiting.length > 0 ? nowMs + lookMs : Infinity;
    this.#stalls.expect(nowMs, wakeAtMs);
    return wakeAtMs;
  }

  close(): void {
    this.#isClosed = true;
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
    for (const arrival of this.#greeted.keys()) arrival.refuse("ending");
  }

  /** Whether one more can be kept: when all places are taken, the one that waits longest loses its own. */
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
    // Not in order of arrival: the newest are greeted first.
    for (const arrival of [...this.#greeted.keys()]) {
      if (nowMs >= arrival.lateAtMs) arrival.refuse("late");
      else arrival.tick(nowMs);
    }
    while (this.#waiting[0] && nowMs >= this.#waiting[0].sinceMs + handshakeMs) {
      this.#waiting.shift()!.socket.destroy();
    }
  }

  #makeRoom(nowMs: number): void {
    while (this.#waiting.length > 0 && this.#greeted.size < this.#greetedMax) {
      this.#greet(this.#waiting.pop()!, nowMs);
    }
    const [oldest] = this.#greeted;
    if (this.#waiting.length === 0 || !oldest) return;
    const [arrival, greetedAtMs] = oldest;
    // Its end makes room and comes back here.
    if (nowMs >= Math.max(greetedAtMs + handshakeCrowdedMs, this.#stalls.judgeFrom(nowMs))) {
      arrival.refuse("busy");
    }
  }

  #greet({ socket, sinceMs }: Waiting, nowMs: number): void {
    if (socket.destroyed) return;
    const { secret, gate } = this.#options;
    const arrival = new Arrival(
      socket,
      { secret, nonce: randomBytes(nonceBytes), sinceMs, greetedAtMs: nowMs, gate },
      (outcome) => {
        this.#greeted.delete(arrival);
        this.#settle(arrival, outcome);
        if (!this.#isClosed) this.#makeRoom(this.#options.nowMs());
      },
    );
    this.#greeted.set(arrival, nowMs);
    arrival.greet();
  }

  #settle(arrival: Arrival, outcome: Outcome): void {
    if (outcome.kind === "proved") this.#begin(arrival, outcome);
    if (outcome.kind === "refused" && outcome.why) {
      this.#logSeldom(outcome.about, `${outcome.why} (${arrival.peer})`);
    }
  }

  #begin(arrival: Arrival, { intro, role }: Extract<Outcome, { kind: "proved" }>): void {
    const { welcome, nowMs, onSession } = this.#options;
    const told = welcome(intro);
    arrival.welcome(told);
    const { socket } = arrival;
    this.#sessions++;
    socket.once("close", () => this.#sessions--);
    const { heartbeatMs } = told;
    onSession(
      new SocketLink<SlaveMessage, MasterMessage>(socket, {
        parse: parseSlaveMessage,
        heartbeatMs,
        nowMs,
        saysBye: true,
        unfinished: this.#unfinished,
      }),
      intro,
      role,
    );
  }

  /** A port scan, a health check or a flood must not fill the log. */
  #logSeldom(about: string, message: string): void {
    const nowMs = this.#options.nowMs();
    if (nowMs < (this.#loggedAtMs.get(about) ?? -Infinity) + strangerLogMs) return;
    this.#loggedAtMs.set(about, nowMs);
    this.#options.log("warn", message);
  }
}
