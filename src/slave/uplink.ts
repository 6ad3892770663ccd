import { ConnectError } from "../base/errors.ts";
import { oldConnectionMs, silentHeartbeatsMax } from "../base/limits.ts";
import { formatDuration } from "../base/duration.ts";
import { silentWaitMs, since } from "../base/waits.ts";
import type { Log } from "../base/log.ts";
import { asClause } from "../base/printable.ts";
import type { SlaveLink } from "../link/link.ts";
import { StrangerError } from "../link/stranger.ts";
import type { MasterMessage, SlaveMessage, Welcome } from "../protocol/messages.ts";
import { Pauses } from "./reconnect.ts";

/** Until a master said otherwise. */
const heartbeatMsDefault = 5_000;
/** A master that drained this slave is left alone for so many heartbeats: it drains others still, or ends. */
const restHeartbeats = 2;
/** After this process itself was late by more, the master is not judged until it could be heard. */
const lagMsMax = 1_000;
/** While there is no connection, so many reasons for it are told; a server that says another thing each time must not fill the log. */
const reasonsSaidMax = 5;

export type UplinkHooks = Readonly<{
  /** Connects and proves the token; rejects with a `ConnectError` if trying again cannot help. */
  dial: (signal: AbortSignal) => Promise<{ link: SlaveLink; welcome: Welcome }>;
  /**
   * A master welcomed this slave; the old connection, if any, is gone. The first message sent must be `ready`,
   * unless the slave leaves at once.
   */
  onWelcome: (welcome: Welcome) => void;
  onMessage: (message: MasterMessage) => void;
  /** More may be sent. */
  onDrain: () => void;
  /** The master will never have this slave. */
  onRefused: (error: ConnectError) => void;
  random: () => number;
  nowMs: () => number;
  log: Log;
}>;

export type UplinkState = "connecting" | "connected" | "reconnecting";

/**
 * The one connection to the master, made again and again.
 *
 *               dialed, welcome                    three silent heartbeats
 *     DIALING -----------------------> CONNECTED -------------------------> DIALING beside the old one
 *       ^  |                              |  ^                                |            |
 *       |  | failed                closed |  '--- a byte came on the old -----'            |
 *       |  v                              v                                      dialed, welcome:
 *       '- PAUSING <----------------------'                                      the old one is closed
 *
 * The old connection is kept until a welcome came on the new one, or for two minutes: a master has not forgotten
 * its slave because the slave heard nothing.
 */
export class Uplink {
  readonly #hooks: UplinkHooks;
  readonly #pauses: Pauses;
  #link: SlaveLink | null = null;
  #welcome: Welcome | null = null;
  #welcomedAtMs = 0;
  /** The attempt under way. */
  #attempt: AbortController | null = null;
  /** When to dial; Infinity if not. */
  #dialAtMs = Infinity;
  /** Since when the connection counts as silent; null if it does not. */
  #silentAtMs: number | null = null;
  #quietSinceMs = 0;
  #tickedAtMs = Infinity;
  /** Why there was no connection, as far as it was said since the last one; more than a few reasons are not told apart. */
  readonly #said = new Set<string>();
  /** Since when there is no connection; null while there is one, and before the first attempt failed. */
  #failingSinceMs: number | null = null;
  #hasWarned = false;
  #isResting = false;
  #isOver = false;

  constructor(hooks: UplinkHooks) {
    this.#hooks = hooks;
    this.#pauses = new Pauses(hooks.random);
  }

  get state(): UplinkState {
    if (this.#link !== null && this.#silentAtMs === null) return "connected";
    return this.#welcome === null ? "connecting" : "reconnecting";
  }

  /** Whether what is sent may arrive. */
  get isOpen(): boolean {
    return this.#link !== null;
  }

  get isCongested(): boolean {
    return this.#link?.isCongested ?? false;
  }

  /** Who welcomed this slave last. */
  get welcome(): Welcome | null {
    return this.#welcome;
  }

  start(): void {
    this.#dial();
  }

  send(message: SlaveMessage): void {
    this.#link?.send(message);
  }

  /** Ends this connection, for now: after a pause it dials again. */
  async leave(reason: string, told = reason): Promise<void> {
    await this.#link?.close(reason, told);
  }

  /** As `leave`, but the pause is long: the master asked for it. */
  async rest(): Promise<void> {
    this.#isResting = true;
    await this.leave("the master drains", "drained, as the master asked");
  }

  /** The connection that there is stays, and is the last one. */
  dialNoMore(): void {
    this.#isOver = true;
    this.#dialAtMs = Infinity;
    this.#attempt?.abort();
  }

  /** Ends it for good; resolves when what was sent has left. */
  async close(reason: string): Promise<void> {
    this.dialNoMore();
    await this.#link?.close(reason);
  }

  /** Does what is overdue; returns when a beat is due, at the latest. */
  tick(nowMs: number): number {
    const lagMs = nowMs - this.#tickedAtMs;
    this.#tickedAtMs = nowMs;
    const wakeMs = this.#link?.tick(nowMs) ?? Infinity;
    if (this.#isOver) return wakeMs;
    if (nowMs >= this.#dialAtMs) this.#dial();
    if (this.#link === null) return Infinity;
    // What came while this process was stopped is still in the socket: read it before judging.
    if (lagMs > lagMsMax) this.#quietSinceMs = nowMs;
    this.#judge(nowMs);
    return wakeMs;
  }

  #judge(nowMs: number): void {
    const quietMs = nowMs - Math.max(this.#link!.lastHeardMs, this.#quietSinceMs);
    if (this.#silentAtMs === null && quietMs >= silentHeartbeatsMax * this.#heartbeatMs) {
      this.#silentAtMs = nowMs;
      this.#hooks.log("warn", `The master has been silent for ${Math.round(quietMs / 1000)} s: dialing anew`);
      this.#dialAtMs = nowMs;
    }
    if (this.#silentAtMs !== null && nowMs >= this.#silentAtMs + oldConnectionMs) {
      void this.#link!.close("silent for too long", "this master was silent for too long");
    }
  }

  #heard(): void {
    if (this.#silentAtMs === null) return;
    this.#silentAtMs = null;
    this.#dialAtMs = Infinity;
    this.#attempt?.abort();
    this.#attempt = null;
    this.#hooks.log("info", "The master speaks again");
  }

  async #dial(): Promise<void> {
    this.#dialAtMs = Infinity;
    if (this.#attempt !== null) return;
    const attempt = this.#attempt = new AbortController();
    try {
      const { link, welcome } = await this.#hooks.dial(attempt.signal);
      if (attempt.signal.aborted) return void link.close("given up");
      this.#attempt = null;
      this.#connected(link, welcome);
    } catch (error) {
      if (attempt.signal.aborted) return;
      this.#attempt = null;
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (error instanceof ConnectError) return this.#hooks.onRefused(error);
    const message = error instanceof Error ? error.message : String(error);
    const nowMs = this.#hooks.nowMs();
    this.#failingSinceMs ??= nowMs;
    const isLong = !this.#hasWarned && nowMs - this.#failingSinceMs >= silentWaitMs;
    if (isLong) {
      this.#hasWarned = true;
      this.#hooks.log(
        "warn",
        since(`There is no connection to the master (${message})`, this.#failingSinceMs, nowMs),
      );
    } else {
      const level = this.#isSaid(message) ? "debug" : error instanceof StrangerError ? "warn" : "info";
      this.#hooks.log(level, `${message}; trying again until there is a master`);
    }
    this.#said.add(message);
    this.#pause();
  }

  #isSaid(message: string): boolean {
    return this.#said.has(message) || this.#said.size >= reasonsSaidMax;
  }

  #pause(): void {
    if (this.#isOver) return;
    const pauseMs = this.#isResting
      ? restHeartbeats * this.#heartbeatMs
      : this.#pauses.next(this.#heartbeatMs);
    this.#isResting = false;
    this.#dialAtMs = this.#hooks.nowMs() + pauseMs;
  }

  #connected(link: SlaveLink, welcome: Welcome): void {
    const old = this.#link;
    if (old !== null) {
      old.onMessage = () => {};
      old.onHeard = () => {};
      old.onClose = () => {};
      void old.close("replaced by a new connection");
    }
    this.#link = link;
    this.#welcome = welcome;
    this.#welcomedAtMs = this.#hooks.nowMs();
    this.#quietSinceMs = this.#welcomedAtMs;
    this.#silentAtMs = null;
    this.#said.clear();
    this.#failingSinceMs = null;
    this.#hasWarned = false;
    link.onHeard = () => this.#heard();
    link.onDrain = () => this.#hooks.onDrain();
    link.onClose = (reason) => this.#closed(link, reason);
    this.#hooks.onWelcome(welcome);
    link.onMessage = (message) => {
      if (this.#link === link) this.#hooks.onMessage(message);
    };
  }

  #closed(link: SlaveLink, reason: string): void {
    if (this.#link !== link) return;
    this.#link = null;
    this.#silentAtMs = null;
    if (this.#isOver) return;
    this.#pauses.ended(this.#hooks.nowMs() - this.#welcomedAtMs);
    const when = this.#isResting ? ` in ${formatDuration(restHeartbeats * this.#heartbeatMs)}` : "";
    this.#hooks.log(
      link.hasRefused ? "warn" : "info",
      `The connection to the master ended: ${whyItEnded(reason)}; connecting again${when}`,
    );
    if (this.#attempt === null) this.#pause();
  }

  get #heartbeatMs(): number {
    return this.#welcome?.heartbeatMs ?? heartbeatMsDefault;
  }
}

/** A master that said why is told from one that died. */
function whyItEnded(reason: string): string {
  const isWordless =
    /^(?:it ended the connection|it ended within a frame|the connection is gone)|\bE[A-Z]{3,}\b/;
  const clause = asClause(reason);
  return clause.startsWith("it said: ") || !isWordless.test(clause)
    ? clause
    : `the master is gone (${clause})`;
}
