import { ConnectError } from "../lib/errors.ts";
import { LagGuard } from "../lib/lag_guard.ts";
import { silentHeartbeatsMax } from "../lib/limits.ts";
import { type Log, silentWaitMs, since } from "../lib/log.ts";
import { asClause } from "../lib/text.ts";
import { backoffMs, formatDuration } from "../lib/units.ts";
import { heartbeatOf, RefusedError } from "../link/dial.ts";
import type { SlaveLink } from "../link/link.ts";
import { OtherProtocolError } from "../link/protocol_sniffer.ts";
import type { MasterMessage, SlaveMessage, Welcome } from "../protocol/messages.ts";

/** How long a slave keeps an old connection while it dials anew. */
const oldConnectionMs = 120_000;

/** Shortest pause before dialing again. */
const firstPauseMs = 250;
/** Longest, however rarely the master beats. */
const longestPauseMs = 60_000;
/** Connected for this long, the pauses start over. */
const steadyMs = 60_000;
/** A session that was shorter is brief; so many of them in a row, and the next ones are no longer hurried to. */
const briefMs = 5_000;
const briefMax = 10;
const briefPauseMs = 10_000;

/**
 * Pauses between attempts to connect: random, up to a bound that doubles from 0.5 s to two heartbeats, a minute at most. Where a
 * master welcomes a slave again and again and no session lasts, the bound is 10 s, whatever the heartbeat.
 */
export class ReconnectBackoff {
  readonly #random: () => number;
  #tries = 0;
  #brief = 0;

  /** @param random In [0, 1). */
  constructor(random: () => number) {
    this.#random = random;
  }

  /** No session lasts, of late: what is said of each is not news any more. */
  get isFlapping(): boolean {
    return this.#brief >= briefMax;
  }

  /** Milliseconds to wait before the next attempt. */
  next(heartbeatMs: number): number {
    const bound = backoffMs(this.#tries, 2 * firstPauseMs, Math.min(longestPauseMs, 2 * heartbeatMs));
    const longest = Math.max(firstPauseMs, bound, this.isFlapping ? briefPauseMs : 0);
    this.#tries = Math.min(this.#tries + 1, 30);
    return firstPauseMs + this.#random() * (longest - firstPauseMs);
  }

  /** The same where the connection is only silent: one that lasted is dialed anew at once. */
  nextBeside(connectedMs: number, heartbeatMs: number): number {
    return connectedMs >= briefMs ? 0 : this.next(heartbeatMs);
  }

  /** A connection ended that had lasted this long. */
  ended(connectedMs: number): void {
    if (connectedMs >= steadyMs) this.#tries = 0;
    this.#brief = connectedMs < briefMs ? this.#brief + 1 : 0;
  }
}

/** Until a master said otherwise. */
const heartbeatMsDefault = 5_000;
/** A master that drained this slave is left alone for so many heartbeats: it drains others still, or ends. */
const restHeartbeats = 2;
/** Longest that a slave stays away, however rarely the master beats. */
const restMsMax = 60_000;
/** That the master is silent is a warning so often at most: one that falls silent again and again must not fill the log. */
const silenceSaidMs = 10_000;
/** While there is no connection, so many reasons for it are told; a server that says another thing each time must not fill the log. */
const reasonsSaidMax = 5;

type UplinkHooks = Readonly<{
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
  /** The master will never have this slave: it said so before it ever welcomed it, or has proved that it is the master. */
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
  readonly #backoff: ReconnectBackoff;
  #link: SlaveLink | null = null;
  #welcome: Welcome | null = null;
  #welcomedAtMs = 0;
  /** The attempt under way. */
  #attempt: AbortController | null = null;
  /** When to dial; Infinity if not. */
  #dialAtMs = Infinity;
  /** Since when the connection counts as silent; null if it does not. */
  #silentAtMs: number | null = null;
  #silenceSaidAtMs = -Infinity;
  #quietSinceMs = 0;
  readonly #lagGuard = new LagGuard();
  /** Why there was no connection, as far as it was said since the last one; more than a few reasons are not told apart. */
  readonly #said = new Set<string>();
  /** Since when there is no connection; null while there is one, and before the first attempt failed. */
  #failingSinceMs: number | null = null;
  #hasWarned = false;
  #isResting = false;
  #isOver = false;

  constructor(hooks: UplinkHooks) {
    this.#hooks = hooks;
    this.#backoff = new ReconnectBackoff(hooks.random);
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

  /** The master welcomes it again and again, and no session lasts. */
  get isFlapping(): boolean {
    return this.#backoff.isFlapping;
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
    // What came while this process was stopped is still in the socket: it is read before the master is judged.
    if (this.#lagGuard.note(nowMs) > 0) this.#quietSinceMs = nowMs;
    this.#lagGuard.expect(nowMs);
    const wakeMs = this.#link?.tick(nowMs) ?? Infinity;
    if (this.#isOver) return wakeMs;
    if (nowMs >= this.#dialAtMs) this.#dial();
    if (this.#link === null) return Infinity;
    this.#judge(nowMs);
    return wakeMs;
  }

  #judge(nowMs: number): void {
    const quietMs = nowMs - Math.max(this.#link!.lastHeardMs, this.#quietSinceMs);
    if (this.#silentAtMs === null && quietMs >= silentHeartbeatsMax * this.#heartbeatMs) {
      this.#silentAtMs = nowMs;
      this.#saySilent(nowMs, quietMs);
      // One that welcomes and falls silent at once is not hurried to again and again.
      this.#dialAtMs = nowMs + this.#backoff.nextBeside(nowMs - this.#welcomedAtMs, this.#heartbeatMs);
    }
    if (this.#silentAtMs !== null && nowMs >= this.#silentAtMs + oldConnectionMs) {
      void this.#link!.close("silent for too long", "this master was silent for too long");
    }
  }

  #saySilent(nowMs: number, quietMs: number): void {
    const isNews = nowMs >= this.#silenceSaidAtMs + silenceSaidMs;
    if (isNews) this.#silenceSaidAtMs = nowMs;
    this.#hooks.log(
      isNews ? "warn" : "debug",
      `The master has been silent for ${Math.round(quietMs / 1000)} s: dialing anew`,
    );
  }

  #heard(): void {
    if (this.#silentAtMs === null) return;
    this.#silentAtMs = null;
    this.#dialAtMs = Infinity;
    this.#attempt?.abort();
    this.#attempt = null;
    const isNews = this.#hooks.nowMs() < this.#silenceSaidAtMs + silenceSaidMs;
    this.#hooks.log(isNews ? "info" : "debug", "The master speaks again");
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
    const isDoubtful = this.#isDoubtful(error);
    if (error instanceof ConnectError && !isDoubtful) return this.#hooks.onRefused(error);
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
      const isOdd = isDoubtful || error instanceof OtherProtocolError;
      const level = this.#isSaid(message) ? "debug" : isOdd ? "warn" : "info";
      const more = isDoubtful ? doubt : "trying again until there is a master";
      this.#hooks.log(level, `${asClause(message)}; ${more}`);
    }
    this.#said.add(message);
    this.#pause();
  }

  /**
   * A refusal of somebody who has proved nothing, though a master that did has welcomed this slave before. The master may have
   * died, and any program of this machine may have taken its port: it must not end a slave, nor what runs here.
   */
  #isDoubtful(error: unknown): boolean {
    return this.#welcome !== null && error instanceof RefusedError && !error.isProved;
  }

  #isSaid(message: string): boolean {
    return this.#said.has(message) || this.#said.size >= reasonsSaidMax;
  }

  #pause(): void {
    if (this.#isOver) return;
    const pauseMs = this.#backoff.next(this.#heartbeatMs);
    this.#dialAtMs = this.#hooks.nowMs() + Math.max(pauseMs, this.#isResting ? this.#restMs : 0);
    this.#isResting = false;
  }

  #connected(link: SlaveLink, welcome: Welcome): void {
    const old = this.#link;
    if (old !== null) {
      this.#ended();
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
    this.#ended();
    const when = this.#isResting ? ` in ${formatDuration(this.#restMs)}` : "";
    this.#hooks.log(
      this.isFlapping ? "debug" : link.hasRefused ? "warn" : "info",
      `The connection to the master ended: ${whyItEnded(reason)}; connecting again${when}`,
    );
    if (this.#attempt === null) this.#pause();
  }

  /** A session ended. That none lasts is said once. */
  #ended(): void {
    const wasFlapping = this.isFlapping;
    this.#backoff.ended(this.#hooks.nowMs() - this.#welcomedAtMs);
    if (wasFlapping || !this.isFlapping) return;
    this.#hooks.log(
      "warn",
      "The master welcomes this slave again and again, and no session lasts 5 s: connecting again only every few seconds, and " +
        "saying no more of it until one does",
    );
  }

  get #heartbeatMs(): number {
    return this.#welcome === null ? heartbeatMsDefault : heartbeatOf(this.#welcome);
  }

  get #restMs(): number {
    return Math.min(restMsMax, restHeartbeats * this.#heartbeatMs);
  }
}

/** What is said of a refusal that is not taken at its word. */
const doubt =
  "but it has not proved that it is the master, and one that did has welcomed this slave before: what runs here goes on; " +
  "trying again until the master is back";

/** A master that said why is told from one that died. */
function whyItEnded(reason: string): string {
  const isWordless =
    /^(?:it ended the connection|it ended within a frame|the connection is gone)|\bE[A-Z]{3,}\b/;
  const clause = asClause(reason);
  return clause.startsWith("it said: ") || !isWordless.test(clause)
    ? clause
    : `the master is gone (${clause})`;
}
