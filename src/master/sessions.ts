import type { Effect, RunEvent, SessionEnd, SessionId } from "../core/types.ts";
import { clearTimeout, isoTime, monotonicMs, setTimeout } from "../lib/clock.ts";
import { LagGuard } from "../lib/lag_guard.ts";
import {
  silentHeartbeatsMax,
  slaveWords,
  slaveWordsPerSecond,
  slowLinkBytesPerMs,
  tickMsMax,
} from "../lib/limits.ts";
import { countOf, type Ranges, rangesOf, unite } from "../lib/ranges.ts";
import { TokenBucket } from "../lib/token_bucket.ts";
import { asClause } from "../lib/text.ts";
import type { MasterLink } from "../link/link.ts";
import { masterRefusal, pluginRemark } from "../protocol/handshake.ts";
import type { Introduction, MasterMessage, SlaveMessage, Welcome } from "../protocol/messages.ts";
import { aborted } from "./finish.ts";
import type { Hub } from "../observe/hub.ts";

/** Longest a master waits for the slaves that it dismissed: 10 s for `teardown`, 5 s for what handlers left running. */
const goodbyeMs = 17_000;

type AnswerMessage = Extract<SlaveMessage, { kind: "answer" }>;
export type LeaseEffect = Extract<Effect, { kind: "lease" }>;

/** The functions of its link that a session uses. */
export interface Wire {
  send(message: MasterMessage, jobs?: readonly Uint8Array[]): void;
  close(reason: string, told?: string): Promise<void>;
  readonly isCongested: boolean;
  readonly peer: string;
}

/**
 * One slave's connection, from WELCOME to close: translates between its messages and the core's events.
 *
 *                 ready                leaving
 *     WELCOMED ----------> READY ----------------> LEAVING
 *         '------------------'------- close --------'-----> CLOSED
 *
 * WELCOMED: the core does not know it yet. READY: it holds leases. LEAVING: it takes nothing new.
 * CLOSED: nothing it sends is looked at any more.
 *
 * While the link is congested the core is told a credit of 0, and leases that it had made before it knew are handed
 * back to it untried: nothing waits here, other slaves get the jobs.
 */
export class Session {
  readonly id: SessionId;
  readonly intro: Introduction;
  readonly welcomedAtMs: number;
  readonly #wire: Wire;
  readonly #tell: (event: RunEvent) => void;
  #at: "welcomed" | "ready" | "leaving" | "closed" = "welcomed";
  /** Whether the session was closed because the slave broke a rule of the protocol. */
  hasOffended = false;
  /** What the slave says that it waits for; empty if it waits for nothing. */
  notice = "";
  /** When `notice` was last logged as a warning, in monotonic milliseconds. */
  noticeSaidAtMs = -Infinity;
  /** The credit that the slave said last. The core is told it again once the link is no longer congested. */
  #credit = 0;
  /** The credit that the core was told last: the slave's, or 0 while the link is congested. */
  #creditTold = 0;
  /** The number of the latest answer. */
  #answers = 0;
  /** Bounds the rate of the slave's messages other than answers. */
  readonly #chatter: TokenBucket;

  constructor(
    id: SessionId,
    intro: Introduction,
    wire: Wire,
    tell: (event: RunEvent) => void,
    nowMs: number,
  ) {
    this.id = id;
    this.intro = intro;
    this.welcomedAtMs = nowMs;
    this.#chatter = new TokenBucket(slaveWords, slaveWordsPerSecond, nowMs);
    this.#wire = wire;
    this.#tell = tell;
  }

  get at(): "welcomed" | "ready" | "leaving" | "closed" {
    return this.#at;
  }

  /** Whether the core knows this session. */
  get hasJoined(): boolean {
    return this.#at === "ready" || this.#at === "leaving";
  }

  /** One message of the slave. A message out of place costs the session, and nothing else. */
  receive(message: SlaveMessage, at: string): void {
    if (this.#at === "closed") return;
    const isAnytime = message.kind === "beat" || message.kind === "bye";
    if ((message.kind === "ready") === this.hasJoined && !isAnytime) {
      return this.#offend(`said "${message.kind}" ${this.hasJoined ? "twice" : 'before "ready"'}`);
    }
    if (message.kind !== "answer" && !this.#chatter.take(monotonicMs(), wordsOf(message))) {
      return this.#offend("said more beside answers than there can be to say");
    }
    switch (message.kind) {
      case "ready":
        return this.#join(message);
      case "credit":
        return this.#takeCredit(message.credit);
      case "answer":
        return this.#answer(message, at);
      case "leaving":
        return this.#leave();
      case "notice":
        this.notice = message.text;
        return;
      case "excused":
        return this.#tell({ kind: "excused", session: this.id, jobs: message.jobs });
      case "again":
        return this.#tell({ kind: "again", session: this.id, count: message.count });
      case "late":
        if (message.count < message.errors.length) this.#offend("counted fewer late errors than it named");
        return;
      case "bye":
      case "beat":
        return;
      default:
        return message satisfies never;
    }
  }

  /** Tells the core that bytes came, which proves that the slave is alive. */
  hear(): void {
    if (this.hasJoined) this.#tell({ kind: "heard", session: this.id });
  }

  send(message: MasterMessage, jobs?: readonly Uint8Array[]): void {
    if (this.#at === "closed") return;
    this.#wire.send(message, jobs);
    this.#tellCredit();
  }

  lease(effect: LeaseEffect): void {
    if (this.#at === "closed") return;
    if (!this.#wire.isCongested) {
      return this.send(
        toLeaseMessage(effect),
        effect.parts.map(({ bytes }) => bytes),
      );
    }
    // First, or the core would lease the same jobs to this session again.
    this.#tellCredit();
    this.#handBack(effect);
  }

  /** The link takes bytes again. */
  drained(): void {
    this.#tellCredit();
  }

  /** The connection is gone; the core hears of it, unless it was the core that ended it. `at` is the wall clock. */
  lost(at: string): void {
    if (this.hasJoined) this.#tell({ kind: "left", session: this.id, how: this.#howItEnds(), at });
    this.#close();
  }

  /** Ends the connection, without a word to the core. Resolves when it is gone. */
  async end(reason: string, told = reason): Promise<void> {
    if (this.#at === "closed") return;
    this.#close();
    await this.#wire.close(reason, told);
  }

  /** The slave broke a rule: `what` it did, as our log and its own are to say it. */
  #offend(what: string): void {
    this.hasOffended = true;
    void this.#wire.close(`it ${what}`, `this slave ${what}`);
  }

  #join(message: Extract<SlaveMessage, { kind: "ready" }>): void {
    this.#at = "ready";
    this.#credit = this.#creditTold = message.credit;
    const { slaveId, name } = this.intro;
    const { credit, held, untouched = [] } = message;
    this.#tell({ kind: "joined", session: this.id, slaveId, slaveName: name, credit, held, untouched });
  }

  #answer(message: AnswerMessage, at: string): void {
    // a number that was there before: the answer is given again, and is stale
    if (message.number < 1 || message.number > this.#answers + 1) {
      return this.#offend(`numbered its answer ${message.number}, behind ${this.#answers}`);
    }
    if (namesTwice(message)) return this.#offend(`named a job twice in answer ${message.number}`);
    this.#answers = Math.max(this.#answers, message.number);
    this.#tell({ kind: "answered", session: this.id, number: message.number, answer: message, at });
    this.#takeCredit(message.credit);
  }

  /** As if the slave had handed the whole lease back, in an answer of no number: it never heard of it. */
  #handBack({ lease, parts }: LeaseEffect): void {
    const released = [parts[0]!.seq, parts.at(-1)!.end];
    const answer = { lease, done: [], skipped: [], failed: [], crash: null, released };
    this.#tell({ kind: "answered", session: this.id, number: 0, answer, at: "" });
  }

  #leave(): void {
    this.#at = "leaving";
    this.#tell({ kind: "leaving", session: this.id });
  }

  #takeCredit(credit: number): void {
    this.#credit = credit;
    this.#tellCredit();
  }

  #tellCredit(): void {
    if (!this.hasJoined) return;
    const credit = this.#wire.isCongested ? 0 : this.#credit;
    if (credit === this.#creditTold) return;
    this.#creditTold = credit;
    this.#tell({ kind: "credit", session: this.id, credit });
  }

  #howItEnds(): SessionEnd {
    return this.#at === "leaving" ? "drained" : "closed";
  }

  #close(): void {
    this.#at = "closed";
  }
}

/** How much a message counts against the rate bound: a message with many entries counts more. */
function wordsOf(message: SlaveMessage): number {
  if (message.kind === "late") return 1 + message.errors.length / lateErrorsPerWord;
  return message.kind === "excused" ? 1 + message.jobs.length / excusedPerWord : 1;
}

/**
 * Late errors come in a few messages a second, of up to a hundred errors each; `excused` comes seldom, and may name
 * many jobs.
 */
const lateErrorsPerWord = 10, excusedPerWord = 200;

/** Whether a job stands in two fields of an answer, or fails twice: then the slave contradicts itself. */
export function namesTwice(
  { done, skipped, failed, crash, released }: Omit<AnswerMessage, "kind" | "number" | "credit">,
): boolean {
  const sets = [done, skipped, crash?.suspects ?? none, released].filter((set) => set.length > 0);
  if (sets.length + failed.length < 2) return false;
  const failures = failed.map(({ seq }) => seq).sort((a, b) => a - b);
  if (failures.some((seq, index) => seq === failures[index + 1])) return true;
  if (failures.length > 0) sets.push(rangesOf(failures));
  const all = sets.reduce<Ranges>((one, other) => unite(one, other), none);
  return countOf(all) < sets.reduce((sum, set) => sum + countOf(set), 0);
}

const none: Ranges = [];

/** Stands for the jobs in a lease message, since their bytes are sent as separate parts. */
const inParts = new Uint8Array(0);

function toLeaseMessage({ lease, parts, attempt, alone, probe }: LeaseEffect): MasterMessage {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  return {
    kind: "lease",
    number: lease.number,
    seq: parts[0]!.seq,
    count,
    attempt,
    alone,
    probe,
    jobs: inParts,
  };
}

/** Shortest time between two warnings about what one slave waits for, in milliseconds. */
const noticeSaidMs = 10_000;

type SessionsOptions = Readonly<{
  /** The master's own plugin: a slave's must be the same. */
  plugin: Pick<Welcome["plugin"], "name" | "hash">;
  heartbeatMs: number;
  /** Of the run's arguments, which make a WELCOME long: over a slow link it takes a while to arrive. @default 0 */
  argsBytes?: number;
  tell: (event: RunEvent) => void;
  hub: Pick<Hub, "emit" | "log" | "warn">;
}>;

/** All sessions with slaves, by number. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #sessions = new Map<SessionId, Session>();
  readonly #links = new Map<SessionId, MasterLink>();
  readonly #lagGuard = new LagGuard();
  /** Sessions that were dismissed and are still connected, with the function to call when they are gone. */
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

  /** What some slave says that it waits for; null if none waits. */
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

  /**
   * Returns whether the slave ends the connection by itself; until then late errors of its workers are still received.
   */
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
    this.#lagGuard.note(nowMs);
    let wakeAtMs = Infinity;
    for (const session of [...this.#sessions.values()]) {
      wakeAtMs = Math.min(wakeAtMs, this.#links.get(session.id)?.tick(nowMs) ?? Infinity);
      if (session.at !== "welcomed") continue;
      const endAtMs = Math.max(session.welcomedAtMs + readyMsMax, this.#lagGuard.judgeFromMs);
      if (nowMs >= endAtMs) {
        void this.#end(session, 'it said no "ready" in time', 'this slave said no "ready" in time');
      } else wakeAtMs = Math.min(wakeAtMs, endAtMs);
    }
    this.#lagGuard.expect(Math.min(wakeAtMs, nowMs + tickMsMax));
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
    this.#options.hub.emit({ kind: "late", slave: session.intro.name, errors, count });
  }

  /** A slave that begins to wait again and again must not fill the log. */
  #sayNotice(session: Session, text: string): void {
    const nowMs = monotonicMs();
    const isNews = nowMs >= session.noticeSaidAtMs + noticeSaidMs;
    if (isNews) session.noticeSaidAtMs = nowMs;
    this.#options.hub.log(isNews ? "warn" : "debug", `Slave '${session.intro.name}' waits: ${text}`);
  }

  #announce({ intro: { name, procs, version, plugin }, intro, id }: Session): void {
    const { hub } = this.#options;
    const event = { slave: name, procs, version, plugin: plugin?.name ?? null };
    hub.emit({ kind: "joined", session: id, ...event });
    const remark = pluginRemark(this.#options.plugin, intro);
    if (remark !== null) hub.warn(`Slave '${name}' ${remark}`);
  }

  /** Its WELCOME is under way, from which it learns the same. */
  #refuse(link: MasterLink, { name }: Introduction, why: string): void {
    void link.close("refused", `refused: ${why}`);
    this.#options.hub.warn(`Slave '${name}' is refused: ${why}.`);
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

  /** Of each that joined it is an event that it left; of one that never said ready, a line of the log. */
  #forget({ id, intro: { name } }: Session, hasJoined: boolean, reason: string, isOffence = false): void {
    if (!this.#sessions.delete(id)) return;
    this.#links.delete(id);
    const { hub } = this.#options;
    if (hasJoined) return hub.emit({ kind: "left", session: id, slave: name, reason, isOffence });
    if (isOffence) hub.warn(`Slave '${name}' broke the protocol, and was closed: ${asClause(reason)}.`);
    else hub.log("info", `Slave '${name}' left: ${asClause(reason)}.`);
  }
}

/** Why the core ended a session, as a statement about the slave. */
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
