import { clearTimeout, isoTime, monotonicMs, setTimeout } from "../base/clock.ts";
import { silentHeartbeatsMax, slowLinkBytesPerMs } from "../base/limits.ts";
import { goodbyeMs } from "../base/run_limits.ts";
import type { Log } from "../base/log.ts";
import { asClause } from "../base/printable.ts";
import { StallWatch } from "../base/stall_watch.ts";
import type { RunEvent, SessionEnd, SessionId } from "../core/types.ts";
import type { MasterLink } from "../link/link.ts";
import type { Introduction, SlaveMessage, Welcome } from "../protocol/messages.ts";
import { masterRefusal, pluginRemark } from "../protocol/plugin_match.ts";
import { aborted } from "./finish.ts";
import { Session } from "./session.ts";
import type { MasterEvent } from "./types.ts";

/** What a slave waits for is a warning so often at most. */
const noticeSaidMs = 10_000;

export type SessionsOptions = Readonly<{
  /** The master's own plugin: a slave's must be the same. */
  plugin: Pick<Welcome["plugin"], "name" | "hash">;
  heartbeatMs: number;
  /** Of the run's arguments, which make a WELCOME long: over a slow link it takes a while to arrive. @default 0 */
  argsBytes?: number;
  tell: (event: RunEvent) => void;
  log: Log;
  onEvent: (event: MasterEvent) => void;
}>;

/** All sessions with slaves, by number. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #links = new Map<SessionId, MasterLink>();
  readonly #stalls = new StallWatch();
  /** Dismissed, and not gone: what to call when they are. */
  readonly #leaving = new Map<SessionId, () => void>();
  #count = 0;
  #isOpen = true;

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(id: SessionId): Session | undefined {
    return this.#sessions.get(id);
  }

  /** What a slave waits for, in its words; null if none said so. */
  get notice(): string | null {
    for (const { notice } of this.#sessions.values()) if (notice !== "") return notice;
    return null;
  }

  /** Takes over a connection whose slave was sent WELCOME. */
  accept(link: MasterLink, intro: Introduction): void {
    if (!this.#isOpen) return void link.close("the master leaves");
    const refusal = masterRefusal(this.#options.plugin, intro);
    if (refusal !== null) return this.#refuse(link, intro, refusal);
    const session = new Session(++this.#count, intro, link, this.#options.tell, monotonicMs());
    this.#sessions.set(session.id, session);
    this.#links.set(session.id, link);
    link.onHeard = () => session.hear();
    link.onDrain = () => session.drained();
    link.onClose = (reason) => this.#lose(session, reason);
    link.onMessage = (message) => this.#receive(session, message);
  }

  /** Ends one connection because the core said so. */
  close(id: SessionId, how: SessionEnd): void {
    const session = this.#sessions.get(id);
    if (session !== undefined) {
      void this.#end(session, `it ${endReasons[how]}`, `this slave ${endReasons[how]}`);
    }
  }

  /**
   * Takes no new connection and ends all. `isComplete` dismisses the slaves: those that say goodbye are awaited, until
   * `hurry` is aborted. Resolves when what was queued for them was written, within two seconds.
   */
  async closeAll(isComplete: boolean, hurry: AbortSignal): Promise<void> {
    this.#isOpen = false;
    const reason = isComplete ? "the run is complete" : "the master leaves";
    const sessions = [...this.#sessions.values()];
    const leaving = isComplete ? sessions.filter((session) => this.#dismiss(session)) : [];
    const ended = sessions.filter((session) => !leaving.includes(session))
      .map((session) => this.#end(session, reason));
    if (leaving.length > 0) await this.#goodbyes(leaving, hurry);
    await Promise.all([...ended, ...leaving.map((session) => this.#end(session, reason))]);
  }

  /** Returns whether the slave ends the connection by itself: what goes wrong in its workers until then is still heard. */
  #dismiss(session: Session): boolean {
    session.send({ kind: "dismiss" });
    return session.hasJoined && session.intro.features.includes("goodbye");
  }

  async #goodbyes(leaving: readonly Session[], hurry: AbortSignal): Promise<void> {
    const gone = Promise.all(
      leaving.map(({ id }) => new Promise<void>((resolve) => this.#leaving.set(id, resolve))),
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, goodbyeMs));
    await Promise.race([gone, late, aborted(hurry)]);
    clearTimeout(timer);
  }

  /** Lets each link do what is overdue, and ends those that never said ready. Returns when to wake next. */
  tick(nowMs: number): number {
    const { heartbeatMs, argsBytes = 0 } = this.#options;
    const readyMsMax = silentHeartbeatsMax * heartbeatMs + argsBytes / slowLinkBytesPerMs;
    const judgeFromMs = this.#stalls.judgeFrom(nowMs);
    let wakeAtMs = Infinity;
    for (const session of [...this.#sessions.values()]) {
      wakeAtMs = Math.min(wakeAtMs, this.#links.get(session.id)?.tick(nowMs) ?? Infinity);
      if (session.at !== "welcomed") continue;
      const endAtMs = Math.max(session.welcomedAtMs + readyMsMax, judgeFromMs);
      if (nowMs >= endAtMs) {
        void this.#end(session, 'it said no "ready" in time', 'this slave said no "ready" in time');
      } else wakeAtMs = Math.min(wakeAtMs, endAtMs);
    }
    this.#stalls.expect(nowMs, wakeAtMs);
    return wakeAtMs;
  }

  #receive(session: Session, message: SlaveMessage): void {
    if (message.kind === "notice" && session.hasJoined && session.notice === "" && message.text !== "") {
      this.#sayNotice(session, message.text);
    }
    session.receive(message, message.kind === "answer" && needsTime(message) ? isoTime() : "");
    if (message.kind === "ready" && session.hasJoined) this.#announce(session);
    if (message.kind !== "late" || !session.hasJoined) return;
    const { errors, count } = message;
    this.#options.onEvent({ kind: "late", slave: session.intro.name, errors, count });
  }

  /** A slave that begins to wait again and again must not fill the log. */
  #sayNotice(session: Session, text: string): void {
    const nowMs = monotonicMs();
    const isNews = nowMs >= session.noticeSaidAtMs + noticeSaidMs;
    if (isNews) session.noticeSaidAtMs = nowMs;
    this.#options.log(isNews ? "warn" : "debug", `Slave '${session.intro.name}' waits: ${text}`);
  }

  #announce({ intro, id }: Session): void {
    const { log, onEvent, plugin } = this.#options;
    log("info", `Slave '${intro.name}' joined, ${runsWhat(intro)}.`, {
      procs: intro.procs,
      version: intro.version,
    });
    onEvent({ kind: "joined", session: id, slave: intro.name, procs: intro.procs });
    const remark = pluginRemark(plugin, intro);
    if (remark !== null) this.#warn(`Slave '${intro.name}' ${remark}`);
  }

  /** Its WELCOME is under way, from which it learns the same. */
  #refuse(link: MasterLink, { name }: Introduction, why: string): void {
    void link.close("refused", `refused: ${why}`);
    this.#warn(`Slave '${name}' is refused: ${why}.`);
  }

  #warn(message: string): void {
    this.#options.log("warn", message);
    this.#options.onEvent({ kind: "warning", message });
  }

  #lose(session: Session, reason: string): void {
    if (session.at === "closed") return;
    const { hasJoined } = session;
    const isOffence = session.hasOffended || (this.#links.get(session.id)?.hasRefused ?? false);
    session.lost(isoTime());
    const why = this.#leaving.has(session.id) ? "the run is complete" : whyItLeft(reason);
    this.#forget(session, hasJoined, why, isOffence);
    this.#leaving.get(session.id)?.();
  }

  /** Ends a session from our side. Resolves when its connection is gone. */
  #end(session: Session, reason: string, told = reason): Promise<void> {
    const { hasJoined } = session;
    const ended = session.end(reason, told);
    this.#forget(session, hasJoined, reason);
    return ended;
  }

  /** Of each that joined it is said once that it left; of one that never said ready, only in the log. */
  #forget({ id, intro: { name } }: Session, hasJoined: boolean, reason: string, isOffence = false): void {
    if (!this.#sessions.delete(id)) return;
    this.#links.delete(id);
    const { log, onEvent } = this.#options;
    if (isOffence) log("warn", `Slave '${name}' broke the protocol, and was closed: ${asClause(reason)}.`);
    else log("info", `Slave '${name}' left: ${asClause(reason)}.`);
    if (hasJoined) onEvent({ kind: "left", session: id, slave: name, reason });
  }
}

/** What the slave did. */
const endReasons: Readonly<Record<SessionEnd, string>> = {
  stuck: "beats, but says nothing of its oldest jobs, though none may take so long (--timeout)",
  stale: "answers for jobs that it does not have, again and again",
  closed: "closed its connection",
  silent: "was silent for too long",
  drained: "has drained",
  replaced: "came back on another connection",
};

/** System errors, and ends of a connection, that nobody explained. */
const wordless = /^(?:it ended the connection|it ended within a frame|the connection is gone)|\bE[A-Z]{3,}\b/;

/** Why the other side ended, in one line: a slave that drained is told from one that was killed. */
function whyItLeft(reason: string): string {
  if (reason.startsWith("it said: ") || !wordless.test(reason)) return reason;
  const error = /\bE[A-Z]{3,}\b/.test(reason) ? ` (${asClause(reason)})` : "";
  return `its connection closed without a word${error}: it was killed, or its machine or the network failed`;
}

/** The time is only shown in dead letters; making its text for each answer would cost more than the answer. */
function needsTime({ failed, crash }: Extract<SlaveMessage, { kind: "answer" }>): boolean {
  return failed.length > 0 || crash !== null;
}

function runsWhat({ plugin }: Introduction): string {
  return plugin === null ? "without a plugin of its own" : `running '${plugin.name}'`;
}
