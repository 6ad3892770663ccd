import type { LagGuard } from "../lib/lag_guard.ts";
import { creditMax, silentHeartbeatsMax, slowLinkBytesPerMs } from "../lib/limits.ts";
import { countOf, intersect, type Ranges, subtract, unite } from "../lib/ranges.ts";
import type { Settlement } from "./answers.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import { type Lease, leaseKey } from "./leases.ts";
import { bySeq, type Piece, seqsOf } from "./piece.ts";
import type { SlaveSession, SlaveSessions } from "./sessions.ts";
import type { Effect, RunEvent, RunSettings, SessionEnd } from "./types.ts";
import type { LeaseJobs, LeaseName } from "../protocol/messages.ts";

type Joined = Extract<RunEvent, { kind: "joined" }>;
type Answered = Extract<RunEvent, { kind: "answered" }>;

/**
 * A slave whose connection closed while a job ran alone there. It may come back until `untilMs` (lag-adjusted clock).
 */
type Absence = Readonly<{ slaveName: string; untilMs: number; at: string }>;

/** Added to twice the timeout: a slave that does not answer its oldest jobs for longer is stuck. */
const stuckMs = 10_000;

/** Most slaves for which a count of jobs begun for a dead master is remembered: far more than reconnect at once. */
const countedMax = 10_000;

/** In a stale answer, this many range bounds cost about as much as one message. */
const boundsPerWord = 100;

/** What happens to leases when slaves join, answer, fall silent and leave. */
export class Slaves {
  readonly #jobs: Jobs;
  readonly #sessions: SlaveSessions;
  readonly #answers: Settlement;
  readonly #lagGuard: LagGuard;
  readonly #silenceMs: number;
  /** After this long without a byte, a heartbeat is overdue. */
  readonly #quietMs: number;
  /**
   * Longest time without an answer for a slave's oldest lease; Infinity without `--timeout`. After it the slave is
   * stuck.
   */
  readonly #stuckMs: number;
  readonly #health: Health;
  readonly #absences = new Map<string, Absence>();
  readonly #emit: (effect: Effect) => void;
  /**
   * Time of the lag-adjusted clock when held jobs stop waiting for their slaves. Infinity while contact with all slaves
   * is lost: then no other slave could run them either.
   */
  #reclaimEndsMs: number;
  /** Time of the lag-adjusted clock before which no session can be silent. */
  #judgeAtMs = Infinity;
  readonly #masterId: string;
  /**
   * How many forgotten jobs were counted for a slave's latest `ready`, by slave id. A slave names the same jobs again
   * if it did not receive the answer.
   */
  #counted = new Map<string, number>();
  /** Some sessions are silent and the others are overdue: `endSilent` waits until all are silent, or one is heard. */
  #isInDoubt = false;

  constructor(
    parts: { jobs: Jobs; sessions: SlaveSessions; answers: Settlement; lagGuard: LagGuard; health: Health },
    { heartbeatMs, reclaimMs, timeoutMs, masterId }: Pick<
      RunSettings,
      "heartbeatMs" | "reclaimMs" | "timeoutMs" | "masterId"
    >,
    nowMs: number,
    emit: (effect: Effect) => void,
  ) {
    this.#jobs = parts.jobs;
    this.#sessions = parts.sessions;
    this.#answers = parts.answers;
    this.#lagGuard = parts.lagGuard;
    this.#masterId = masterId;
    this.#health = parts.health;
    this.#stuckMs = timeoutMs === 0 ? Infinity : 2 * timeoutMs + silentHeartbeatsMax * heartbeatMs + stuckMs;
    this.#reclaimEndsMs = nowMs + reclaimMs;
    this.#silenceMs = silentHeartbeatsMax * heartbeatMs;
    this.#quietMs = (silentHeartbeatsMax - 1) * heartbeatMs;
    this.#emit = emit;
  }

  /**
   * Adds a session. The slave gets back the named jobs that nobody else has, and drops the rest. Its older session, if
   * any, ends.
   */
  joined(joined: Joined, nowMs: number): SlaveSession {
    const { session: id, slaveId, slaveName, credit, held } = joined;
    const heardMs = this.#lagGuard.time(nowMs);
    if (this.#reclaimEndsMs === Infinity) this.#reclaimEndsMs = heardMs + this.#silenceMs;
    const session = this.#sessions.add(id, slaveId, slaveName, heardMs);
    this.#health.join(slaveId, slaveName);
    this.#absences.delete(slaveId);
    this.#judgeAtMs = Math.min(this.#judgeAtMs, heardMs + this.#silenceMs);
    const returned = this.#jobs.returned.leasesOf(slaveId);
    const kept = merged(held).map(({ lease, jobs }) => this.#reclaim(session, lease, jobs, returned))
      .filter(({ jobs }) => jobs.length > 0);
    for (const older of [...this.#sessions]) {
      if (older.slaveId === slaveId && older !== session) this.#end(older, "replaced");
    }
    this.#jobs.giveUpWaiting(this.#jobs.orphans.takeAll((waited) => waited === slaveId));
    this.#countForgotten(joined);
    this.#emit({ kind: "keep", session: id, leases: kept });
    const mode = this.#health.isQuarantined(slaveId) ? "quarantined" : "open";
    this.#sessions.change(session, { credit, held: this.#jobs.leases.heldBy(id), mode });
    return session;
  }

  /**
   * Counts jobs that this slave began under leases made by a dead master after its last save. The state does not
   * contain them, so the source yields them again under the same seqs. The count is capped at what a slave can hold,
   * because the named jobs are not verified.
   */
  #countForgotten({ slaveId, held, untouched = [] }: Joined): void {
    const behind: Ranges = [this.#jobs.handedOutBefore, Infinity];
    const idle = new Map(untouched.map(({ lease, jobs }) => [leaseKey(lease), jobs]));
    let began = 0;
    for (const { lease, jobs } of merged(held)) {
      if (lease.masterId === this.#masterId) continue;
      began += countOf(subtract(intersect(jobs, behind), idle.get(leaseKey(lease)) ?? []));
    }
    began = Math.min(began, creditMax);
    this.#jobs.countRepeated(Math.max(0, began - (this.#counted.get(slaveId) ?? 0)));
    this.#counted.delete(slaveId);
    if (began > 0) this.#counted.set(slaveId, began);
    const [oldest] = this.#counted.keys();
    if (this.#counted.size > countedMax) this.#counted.delete(oldest!);
  }

  #reclaim(session: SlaveSession, name: LeaseName, jobs: Ranges, returned: ReadonlySet<string>): LeaseJobs {
    const { leases, orphans } = this.#jobs;
    const { slaveId } = session;
    const lease = leases.find(name);
    // `concat`, not `push(...)`: there may be more pieces than a call can have arguments
    let pieces = orphans.take(name, slaveId, jobs);
    if (returned.has(leaseKey(name))) {
      pieces = pieces.concat(this.#jobs.returned.reclaim(name, slaveId, jobs));
    }
    if (lease !== undefined && lease.slaveId === slaveId) pieces = pieces.concat(this.#moveOut(lease, jobs));
    if (pieces.length > 0) this.#jobs.leaseReclaimed(name, session, pieces.sort(bySeq));
    return { lease: name, jobs: seqsOf(pieces) };
  }

  /** Takes the named jobs out of a lease of the slave's older session; the lease's other jobs are lost. */
  #moveOut(lease: Lease, jobs: Ranges): readonly Piece[] {
    const older = this.#sessions.get(lease.session)!;
    const pieces = this.#jobs.leases.take(lease, jobs);
    if (lease.count > 0) this.#jobs.lose(lease, false);
    this.#sessions.change(older, { held: this.#jobs.leases.heldBy(older.id) });
    return pieces;
  }

  /** Any byte proves that the slave is alive. */
  heard(session: SlaveSession, nowMs: number): void {
    session.heardMs = this.#lagGuard.time(nowMs);
    if (this.#isInDoubt) this.#judgeAtMs = session.heardMs;
  }

  /** An answer for a lease that this session does not hold is stale and changes nothing. */
  answered(session: SlaveSession, { number, answer, at }: Answered, nowMs: number): void {
    session.answered = Math.max(session.answered, number);
    const lease = this.#jobs.leases.find(answer.lease);
    if (lease === undefined || lease.session !== session.id) return this.#stale(session, answer, nowMs);
    const before = lease.count;
    const { slaveId, slaveName } = session;
    this.#answers.apply(lease, answer, { slaveId, slaveName, nowMs, at, tally: session.tally });
    if (lease.count === before) return this.#stale(session, answer, nowMs);
    const wasAlone = lease.alone === "in slave" && lease.count === 0;
    const held = session.held - (before - lease.count);
    this.#sessions.change(
      session,
      wasAlone && session.mode === "reserved" ? { held, mode: "open" } : { held },
    );
  }

  /**
   * A stale answer may be a repeated one. A session that sends them without end is closed: it would only keep this
   * master busy.
   */
  #stale(
    session: SlaveSession,
    { done, skipped, failed, released }: Answered["answer"],
    nowMs: number,
  ): void {
    const bounds = done.length + skipped.length + released.length;
    if (!session.stale.take(nowMs, 1 + failed.length + bounds / boundsPerWord)) {
      this.#end(session, "stale");
    }
  }

  leaving(session: SlaveSession): void {
    this.#sessions.change(session, { mode: "draining" });
  }

  drain(session: SlaveSession): void {
    this.#sessions.change(session, { mode: "draining" });
    this.#emit({ kind: "drain", session: session.id });
  }

  /**
   * The connection is gone. Its jobs become ready again at once, except a job that ran alone there if the connection
   * closed: it may have killed the slave, so it waits for the slave to come back.
   */
  left(session: SlaveSession, how: SessionEnd, at: string, nowMs: number): void {
    if (how === "closed") {
      for (const lease of this.#jobs.leases.ofSession(session.id)) {
        if (lease.alone !== "in slave") continue;
        this.#jobs.hold(lease);
        const untilMs = this.#lagGuard.time(nowMs) + this.#silenceMs;
        this.#absences.set(session.slaveId, { slaveName: session.slaveName, untilMs, at });
      }
    }
    this.#remove(session, how);
  }

  /** For slaves that did not come back in time: charges the job that ran alone there with the crash. */
  endAbsences(nowMs: number): void {
    if (this.#absences.size === 0 || !this.#lagGuard.mayJudge(nowMs)) return;
    const time = this.#lagGuard.time(nowMs);
    for (const [slaveId, { slaveName, untilMs, at }] of this.#absences) {
      if (time < untilMs) continue;
      this.#absences.delete(slaveId);
      for (const piece of this.#jobs.orphans.takeAll((waited) => waited === slaveId)) {
        this.#answers.crashWithSlave(piece, { slaveId, slaveName, nowMs, at, tally: null });
      }
    }
  }

  /**
   * Ends sessions that send heartbeats but no answer for their oldest lease, although no attempt may take that long.
   * Slaves begin jobs in order of arrival, so answers for later leases do not excuse this. Returns how many sessions
   * ended.
   */
  endStuck(nowMs: number): number {
    if (this.#stuckMs === Infinity || !this.#lagGuard.mayJudge(nowMs)) return 0;
    const time = this.#lagGuard.time(nowMs);
    let count = 0;
    for (const session of [...this.#sessions]) {
      const lease = this.#jobs.leases.oldestOf(session.id);
      const { front } = session;
      if (lease === undefined || lease !== front.lease || lease.count !== front.count) {
        session.front = { lease, count: lease?.count ?? 0, sinceMs: time };
      } else if (
        time - front.sinceMs >= this.#stuckMs && time - front.sinceMs >= this.#stuckMs + this.#linkMs(session)
      ) {
        this.#end(session, "stuck");
        count++;
      }
    }
    return count;
  }

  /** Longest time that the session's leases may take to reach the slave over a slow link, in ms. */
  #linkMs({ id }: SlaveSession): number {
    let bytes = 0;
    for (const { pieces } of this.#jobs.leases.ofSession(id)) {
      for (const { span } of pieces) bytes += span.bytes.length;
    }
    return bytes / slowLinkBytesPerMs;
  }

  /** Ends a session from this side: no job is charged. */
  #end(session: SlaveSession, how: "silent" | "replaced" | "stuck" | "stale"): void {
    this.#remove(session, how);
    this.#emit({ kind: "close", session: session.id, how });
  }

  /** All slaves fell silent, so this master is cut off. The slaves keep their jobs, and the jobs wait for them. */
  #endAll(): void {
    this.#reclaimEndsMs = Infinity;
    for (const session of [...this.#sessions]) {
      for (const lease of this.#jobs.leases.ofSession(session.id)) this.#jobs.hold(lease);
      this.#end(session, "silent");
    }
  }

  #remove(session: SlaveSession, how: SessionEnd): void {
    this.#sessions.remove(session);
    if (![...this.#sessions].some(({ slaveId }) => slaveId === session.slaveId)) {
      this.#health.leave(session.slaveId);
    }
    const isLost = how === "closed" || how === "silent" || how === "stuck";
    for (const lease of this.#jobs.leases.ofSession(session.id)) this.#jobs.lose(lease, isLost);
  }

  /**
   * Ends sessions that were silent for three heartbeats. If every other session is overdue too, waits at most one
   * heartbeat to see whether all fall silent: then this master is the one cut off. Returns how many sessions ended.
   */
  endSilent(nowMs: number): number {
    const time = this.#lagGuard.time(nowMs);
    if (time < this.#judgeAtMs || !this.#lagGuard.mayJudge(nowMs)) return 0;
    const all = [...this.#sessions];
    const isSilent = ({ heardMs }: SlaveSession) => heardMs + this.#silenceMs <= time;
    const silent = all.filter(isSilent);
    const others = all.filter((session) => !isSilent(session));
    const isCutOff = others.every(({ heardMs }) => heardMs + this.#quietMs <= time);
    this.#judgeAtMs = Math.min(...others.map(({ heardMs }) => heardMs + this.#silenceMs));
    this.#isInDoubt = silent.length > 0 && others.length > 0 && isCutOff;
    if (silent.length === 0 || this.#isInDoubt) return 0;
    if (isCutOff) this.#endAll();
    else for (const session of silent) this.#end(session, "silent");
    return silent.length;
  }

  /** Makes jobs ready whose slave did not come back and name them in time. */
  endOrphans(nowMs: number): void {
    const { orphans } = this.#jobs;
    if (orphans.count === 0 || !this.#lagGuard.mayJudge(nowMs)) return;
    if (this.#lagGuard.time(nowMs) < this.#reclaimEndsMs) return;
    this.#jobs.giveUpWaiting(orphans.takeAll((slaveId) => !this.#absences.has(slaveId)));
  }

  /**
   * When `endSilent`, `endAbsences` or `endOrphans` may have something to do, in real time; Infinity if only an event
   * can matter.
   */
  get nextWakeMs(): number {
    const { orphans } = this.#jobs;
    const isWaitedFor = orphans.count > 0 && orphans.some((slaveId) => !this.#absences.has(slaveId));
    let wakeMs = Math.min(this.#judgeAtMs, isWaitedFor ? this.#reclaimEndsMs : Infinity);
    for (const { untilMs } of this.#absences.values()) wakeMs = Math.min(wakeMs, untilMs);
    return wakeMs === Infinity ? Infinity : this.#lagGuard.realMs(wakeMs);
  }
}

/** Merges entries of the same lease. */
function merged(held: readonly LeaseJobs[]): readonly LeaseJobs[] {
  const leases = new Map<string, LeaseJobs>();
  for (const { lease, jobs } of held) {
    const before = leases.get(leaseKey(lease));
    leases.set(leaseKey(lease), { lease, jobs: before === undefined ? jobs : unite(before.jobs, jobs) });
  }
  return [...leases.values()];
}
