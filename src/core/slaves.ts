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

/** A slave whose connection closed while a job ran there alone. On the patient clock: until when it may come back. */
type Absence = Readonly<{ slaveName: string; untilMs: number; at: string }>;

/** Of a slave that says nothing of its oldest jobs for two of its timeouts and so much more, nothing is to be expected. */
const stuckMs = 10_000;

/** Slaves of which it is known how many jobs they began for a dead master: far more than come back at once. */
const countedMax = 10_000;

/** So many bounds of ranges in a stale answer cost about as much as a word. */
const boundsPerWord = 100;

/** What becomes of leases when slaves come, answer, fall silent and go. */
export class Slaves {
  readonly #jobs: Jobs;
  readonly #sessions: SlaveSessions;
  readonly #answers: Settlement;
  readonly #lagGuard: LagGuard;
  readonly #silenceMs: number;
  /** So long without a byte, a beat is overdue. */
  readonly #quietMs: number;
  /** So long without an answer of a slave for its oldest lease, though each job may take but `--timeout`: it is stuck. */
  readonly #stuckMs: number;
  readonly #health: Health;
  readonly #absences = new Map<string, Absence>();
  readonly #emit: (effect: Effect) => void;
  /**
   * On the patient clock: when jobs stop waiting for the slaves that had them. Infinity while nobody is heard: then
   * there is nobody else to run them either.
   */
  #reclaimEndsMs: number;
  /** On the patient clock: nobody can be silent before. */
  #judgeAtMs = Infinity;
  readonly #masterId: string;
  /** By slave id: how many jobs its latest `ready` was counted for. It names them again if it did not hear the answer. */
  #counted = new Map<string, number>();
  /** Some are silent, and it is not clear yet whether all are: one that is heard tells. */
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

  /** A slave gets back what it names and still may have; it drops the rest. Its older session, if any, ends. */
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
   * Counts what this slave began under leases that a dead master made after its last save: the state does not know
   * of these jobs, so the source yields them again, under the same numbers. At most as many as a slave can hold: what it
   * names is not checked, and a count must stay one.
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
    // they may be more than the arguments of a call
    let pieces = orphans.take(name, slaveId, jobs);
    if (returned.has(leaseKey(name))) {
      pieces = pieces.concat(this.#jobs.returned.reclaim(name, slaveId, jobs));
    }
    if (lease !== undefined && lease.slaveId === slaveId) pieces = pieces.concat(this.#moveOut(lease, jobs));
    if (pieces.length > 0) this.#jobs.leaseReclaimed(name, session, pieces.sort(bySeq));
    return { lease: name, jobs: seqsOf(pieces) };
  }

  /** Takes the named jobs out of a lease of the slave's older session; the rest is lost with that. */
  #moveOut(lease: Lease, jobs: Ranges): readonly Piece[] {
    const older = this.#sessions.get(lease.session)!;
    const pieces = this.#jobs.leases.take(lease, jobs);
    if (lease.count > 0) this.#jobs.lose(lease, false);
    this.#sessions.change(older, { held: this.#jobs.leases.heldBy(older.id) });
    return pieces;
  }

  /** Any byte proves life. */
  heard(session: SlaveSession, nowMs: number): void {
    session.heardMs = this.#lagGuard.time(nowMs);
    if (this.#isInDoubt) this.#judgeAtMs = session.heardMs;
  }

  /** An answer for a lease that this session does not hold is stale: it changes nothing. */
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

  /** It may be an answer given again. Whoever says nothing else, and without end, would but keep this master busy. */
  #stale(
    session: SlaveSession,
    { done, skipped, failed, released }: Answered["answer"],
    nowMs: number,
  ): void {
    const bounds = done.length + skipped.length + released.length;
    if (session.stale.isTooMuch(nowMs, 1 + failed.length + bounds / boundsPerWord)) {
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
   * The connection is gone: what it holds is ready again at once. But for a job that ran alone there, if it closed: that
   * may have ended the slave's process. It waits whether the slave comes back.
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

  /** Slaves that are not back: what ran alone there is charged with their end. */
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
   * Ends sessions that beat, but say nothing of their oldest lease although no attempt may take so long: jobs are begun in
   * the order in which they came, so whatever else is answered does not excuse that. Returns how many.
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

  /** How long what the session holds may be on its way to the slave. */
  #linkMs({ id }: SlaveSession): number {
    let bytes = 0;
    for (const { pieces } of this.#jobs.leases.ofSession(id)) {
      for (const { span } of pieces) bytes += span.bytes.length;
    }
    return bytes / slowLinkBytesPerMs;
  }

  /** Ends a session from our side: nobody is charged for that. */
  #end(session: SlaveSession, how: "silent" | "replaced" | "stuck" | "stale"): void {
    this.#remove(session, how);
    this.#emit({ kind: "close", session: session.id, how });
  }

  /** Nobody is heard any more: it is this master that is cut off. Its slaves keep their jobs, and so do their leases. */
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
   * Gives up those that were silent for three heartbeats. If none is heard as often as it should be, it waits whether
   * all of them fall silent, a heartbeat at most: then it is this master that is cut off. Returns how many.
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

  /** What its slave did not come back for and name by now is for anybody. */
  endOrphans(nowMs: number): void {
    const { orphans } = this.#jobs;
    if (orphans.count === 0 || !this.#lagGuard.mayJudge(nowMs)) return;
    if (this.#lagGuard.time(nowMs) < this.#reclaimEndsMs) return;
    this.#jobs.giveUpWaiting(orphans.takeAll((slaveId) => !this.#absences.has(slaveId)));
  }

  /** When `endSilent` or `endOrphans` may have something to do, in real time; Infinity if only an event can tell. */
  get nextWakeMs(): number {
    const { orphans } = this.#jobs;
    const isWaitedFor = orphans.count > 0 && orphans.some((slaveId) => !this.#absences.has(slaveId));
    let wakeMs = Math.min(this.#judgeAtMs, isWaitedFor ? this.#reclaimEndsMs : Infinity);
    for (const { untilMs } of this.#absences.values()) wakeMs = Math.min(wakeMs, untilMs);
    return wakeMs === Infinity ? Infinity : this.#lagGuard.realMs(wakeMs);
  }
}

/** Each lease once, however often it is named. */
function merged(held: readonly LeaseJobs[]): readonly LeaseJobs[] {
  const leases = new Map<string, LeaseJobs>();
  for (const { lease, jobs } of held) {
    const before = leases.get(leaseKey(lease));
    leases.set(leaseKey(lease), { lease, jobs: before === undefined ? jobs : unite(before.jobs, jobs) });
  }
  return [...leases.values()];
}
