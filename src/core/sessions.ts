import { slaveWords, slaveWordsPerSecond } from "../lib/limits.ts";
import { TokenBucket } from "../lib/token_bucket.ts";
import type { Lease } from "./leases.ts";
import type { SessionId } from "./types.ts";

/**
 * One slave's connection, from `joined` to its end.
 *
 *   QUARANTINED <-- fails everything -- OPEN --leaving or stop--> DRAINING --> gone
 *        '------- one success ----------> |  ^                        ^
 *                                         |  '-- its job ended --.    |
 *                                         '-- for one job alone --> RESERVED
 *
 * - OPEN: gets leases within its credit.
 * - RESERVED: gets no lease until it holds no job, then one job alone, then is open again.
 * - QUARANTINED: gets only probes, one a second.
 * - DRAINING: gets nothing more.
 */
export type SlaveSession = {
  readonly id: SessionId;
  readonly slaveId: string;
  readonly slaveName: string;
  /** How many jobs the session may hold in all, as the shell said last; 0 while its link is congested. */
  credit: number;
  /**
   * Jobs leased to the session and not answered: what `LeaseTable.heldBy` counts. It is kept here because dispatch
   * compares it with the credit for each lease, and which sessions have credit left follows from both.
   */
  held: number;
  mode: "open" | "reserved" | "quarantined" | "draining";
  /** For the status: jobs done or skipped, and failed attempts. */
  readonly tally: SessionTally;
  /** When bytes came last, on the lag-adjusted clock. */
  heardMs: number;
  /** Its oldest lease and the jobs unanswered in it, and since when (lag-adjusted) neither has changed. */
  front: Readonly<{ lease: Lease | undefined; count: number; sinceMs: number }>;
  /** Number of the latest answer, and of the latest one covered by a durable state. */
  answered: number;
  covered: number;
  /** Limits the rate of answers that changed nothing. */
  readonly stale: TokenBucket;
};

export type SessionTally = { settled: number; failures: number };

/** All sessions, and which of them have credit left. */
export class SlaveSessions {
  #all = new Map<SessionId, SlaveSession>();
  /** Open sessions with credit left, in the order in which they are served. */
  #withCredit = new Set<SlaveSession>();
  /** Sessions whose mode is `reserved`; likewise `quarantined`. */
  readonly reserved: Set<SlaveSession> = new Set();
  readonly quarantined: Set<SlaveSession> = new Set();

  get count(): number {
    return this.#all.size;
  }

  /** How many sessions have credit left. */
  get withCreditCount(): number {
    return this.#withCredit.size;
  }

  get(id: SessionId): SlaveSession | undefined {
    return this.#all.get(id);
  }

  add(id: SessionId, slaveId: string, slaveName: string, heardMs: number): SlaveSession {
    const session: SlaveSession = {
      id,
      slaveId,
      slaveName,
      credit: 0,
      held: 0,
      mode: "open",
      tally: { settled: 0, failures: 0 },
      heardMs,
      front: { lease: undefined, count: 0, sinceMs: heardMs },
      answered: 0,
      covered: 0,
      stale: new TokenBucket(slaveWords, slaveWordsPerSecond, heardMs),
    };
    this.#all.set(id, session);
    return session;
  }

  remove(session: SlaveSession): void {
    this.#all.delete(session.id);
    this.#withCredit.delete(session);
    this.reserved.delete(session);
    this.quarantined.delete(session);
  }

  /** The next session to serve: one of a slave other than `avoid` if there is one with credit left. */
  nextWithCredit(avoid = ""): SlaveSession | undefined {
    let second: SlaveSession | undefined;
    for (const session of this.#withCredit) {
      if (avoid === "" || session.slaveId !== avoid) return session;
      second ??= session;
    }
    return second;
  }

  /** Whether another slave may get jobs, now or once it has credit left. */
  hasOther(slaveId: string): boolean {
    for (const { mode, slaveId: other } of this.#all.values()) {
      if (other !== slaveId && (mode === "open" || mode === "reserved")) return true;
    }
    return false;
  }

  /** Jobs held by quarantined slaves. */
  get quarantinedHeld(): number {
    let held = 0;
    for (const session of this.quarantined) held += session.held;
    return held;
  }

  /** Jobs held by sessions that have credit left. */
  heldWithCredit(): number {
    let held = 0;
    for (const session of this.#withCredit) held += session.held;
    return held;
  }

  /** The session got `jobs` jobs: moves it to the end of the queue if it has credit left. */
  served(session: SlaveSession, jobs: number): void {
    this.#withCredit.delete(session);
    this.change(session, { held: session.held + jobs });
  }

  /**
   * The only way to change credit, held jobs or mode. A session that keeps having credit left keeps its place in the
   * queue.
   */
  change(session: SlaveSession, change: Partial<Pick<SlaveSession, "credit" | "held" | "mode">>): void {
    Object.assign(session, change);
    if (session.mode === "open" && session.credit > session.held) this.#withCredit.add(session);
    else this.#withCredit.delete(session);
    if (session.mode === "reserved") this.reserved.add(session);
    else this.reserved.delete(session);
    if (session.mode === "quarantined") this.quarantined.add(session);
    else if (this.quarantined.size > 0) this.quarantined.delete(session);
  }

  [Symbol.iterator](): IterableIterator<SlaveSession> {
    return this.#all.values();
  }
}
