import { slaveWords, slaveWordsPerSecond } from "../lib/limits.ts";
import { RateBound } from "../lib/rate_bound.ts";
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
 * - OPEN: gets leases as far as it has credit.
 * - RESERVED: gets nothing until it holds nothing, then one job, then is open again.
 * - QUARANTINED: gets a probe now and then.
 * - DRAINING: gets nothing more.
 */
export type SlaveSession = {
  readonly id: SessionId;
  readonly slaveId: string;
  readonly slaveName: string;
  credit: number;
  /** Jobs leased to it and not answered. */
  held: number;
  mode: "open" | "reserved" | "quarantined" | "draining";
  /** For whoever watches: jobs done or skipped, and attempts that failed. */
  readonly tally: SessionTally;
  /** On the patient clock. */
  heardMs: number;
  /** The oldest lease that it has not answered in full, as it was seen last, and since when on the patient clock. */
  front: Readonly<{ lease: Lease | undefined; count: number; sinceMs: number }>;
  /** Number of the latest answer, and of the latest one known to be covered by a durable state. */
  answered: number;
  covered: number;
  /** Answers that changed nothing. */
  readonly stale: RateBound;
};

export type SessionTally = { settled: number; failures: number };

/** All sessions, and which of them have credit. */
export class SlaveSessions {
  #all = new Map<SessionId, SlaveSession>();
  /** In the order in which they are to be served. */
  #hungry = new Set<SlaveSession>();
  /** Those that are reserved. */
  readonly reserved: Set<SlaveSession> = new Set();
  readonly quarantined: Set<SlaveSession> = new Set();

  get count(): number {
    return this.#all.size;
  }

  /** How many sessions have credit. */
  get hungryCount(): number {
    return this.#hungry.size;
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
      stale: new RateBound(slaveWords, slaveWordsPerSecond, heardMs),
    };
    this.#all.set(id, session);
    return session;
  }

  remove(session: SlaveSession): void {
    this.#all.delete(session.id);
    this.#hungry.delete(session);
    this.reserved.delete(session);
    this.quarantined.delete(session);
  }

  /** The next session to serve; another one than that of slave `avoid`, if there is one with credit. */
  nextHungry(avoid = ""): SlaveSession | undefined {
    let second: SlaveSession | undefined;
    for (const session of this.#hungry) {
      if (avoid === "" || session.slaveId !== avoid) return session;
      second ??= session;
    }
    return second;
  }

  /** Whether a slave other than this one may get jobs, now or once it has credit. */
  hasOther(slaveId: string): boolean {
    for (const { mode, slaveId: other } of this.#all.values()) {
      if (other !== slaveId && (mode === "open" || mode === "reserved")) return true;
    }
    return false;
  }

  /** Jobs that slaves in quarantine hold. */
  get quarantinedHeld(): number {
    let held = 0;
    for (const session of this.quarantined) held += session.held;
    return held;
  }

  /** Jobs that those with credit hold already. */
  hungryHeld(): number {
    let held = 0;
    for (const session of this.#hungry) held += session.held;
    return held;
  }

  /** It was served with so many jobs: behind the others in the line, if it has credit left. */
  served(session: SlaveSession, jobs: number): void {
    this.#hungry.delete(session);
    this.change(session, { held: session.held + jobs });
  }

  /** The one door for changes of what a session may get; one that has credit, and had, keeps its place in the line. */
  change(session: SlaveSession, change: Partial<Pick<SlaveSession, "credit" | "held" | "mode">>): void {
    Object.assign(session, change);
    if (session.mode === "open" && session.credit > session.held) this.#hungry.add(session);
    else this.#hungry.delete(session);
    if (session.mode === "reserved") this.reserved.add(session);
    else this.reserved.delete(session);
    if (session.mode === "quarantined") this.quarantined.add(session);
    else if (this.quarantined.size > 0) this.quarantined.delete(session);
  }

  [Symbol.iterator](): IterableIterator<SlaveSession> {
    return this.#all.values();
  }
}
