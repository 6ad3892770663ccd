import { elsewhereMs } from "../lib/limits.ts";
import { includes, type Ranges } from "../lib/ranges.ts";
import type { Failures, FleetView } from "./failures.ts";
import type { Health } from "./health.ts";
import type { Jobs, SpentJob } from "./jobs.ts";
import { headline } from "./piece.ts";
import type { SlaveSessions } from "./sessions.ts";
import type { DeadLetter, Effect, RunSettings } from "./types.ts";

type Parts = Readonly<{
  jobs: Jobs;
  sessions: SlaveSessions;
  failures: Failures;
  health: Health;
  /** Whether the source has ended, or yields nothing until other jobs are settled. */
  isSourceDry: () => boolean;
  hasSourceEnded: () => boolean;
  bury: (letter: DeadLetter) => void;
  emit: (effect: Effect) => void;
}>;

/**
 * Acts on what failures reveal: sick slaves first (`Health`), then outages (`Failures`), then jobs whose attempts are
 * spent (`SpentJobs`).
 */
export class Judge {
  readonly #parts: Parts;
  readonly #limits: Pick<RunSettings, "maxOutageMs" | "maxOutageAtEndMs">;
  readonly fleet: LiveFleetView;
  #hasReportedOutage = false;

  constructor(parts: Parts, limits: Pick<RunSettings, "maxOutageMs" | "maxOutageAtEndMs">) {
    this.#parts = parts;
    this.#limits = limits;
    this.fleet = new LiveFleetView(parts);
  }

  /** Call after each event. `adjustedMs` is the time of the lag-adjusted clock. */
  judge(nowMs: number, adjustedMs: number): void {
    this.fleet.nowMs = nowMs;
    this.#judgeSlaves(nowMs);
    const { failures, jobs, health } = this.#parts;
    switch (failures.judge(this.fleet, nowMs, adjustedMs)) {
      case "environment":
        jobs.takeBackCharges("all");
        health.startAnew(nowMs);
        this.#retrySpent(jobs.spent.take());
        break;
      case "jobs":
        for (const line of [jobs.retries, jobs.returned.due, jobs.spent]) {
          for (const { span } of line) failures.knownBad.add(span.seq);
        }
        this.#burySpent(jobs.spent.take());
        break;
    }
    this.#noteOutage(nowMs);
    if (jobs.spent.count > 0) this.#judgeSpent(nowMs);
  }

  /**
   * Whether the outage has lasted longer than allowed. If only failed jobs are left, they are taken to be bad instead,
   * and false is returned.
   */
  isOutageTooLong(adjustedMs: number): boolean {
    const { failures, jobs } = this.#parts;
    if (!failures.isOutage || failures.isEndgame) return false;
    const forMs = adjustedMs - failures.failingSinceMs;
    const { hasSourceEnded, untried } = this.fleet;
    if (hasSourceEnded) this.#hastenLastProbes(untried, forMs);
    if (adjustedMs < this.outageEndsMs) return false;
    if (!hasSourceEnded || untried > 0) return true;
    failures.isEndgame = true;
    this.#burySpent(jobs.spent.take());
    return false;
  }

  /** Speeds up the probes so that every untried job left is tried before the outage gets too long. */
  #hastenLastProbes(untried: number, forMs: number): void {
    const { maxOutageMs, maxOutageAtEndMs } = this.#limits;
    const pauseMs = (maxOutageAtEndMs - forMs) / (2 + 2 * untried);
    this.#parts.failures.limitProbePause(
      pauseMs >= (maxOutageMs === Infinity ? 200 : 20) ? pauseMs : Infinity,
    );
  }

  /** Time of the lag-adjusted clock when the current outage becomes too long; Infinity if there is none. */
  get outageEndsMs(): number {
    const { failures } = this.#parts;
    if (!failures.isOutage || failures.isEndgame) return Infinity;
    const { hasSourceEnded, untried } = this.fleet;
    const { maxOutageMs, maxOutageAtEndMs } = this.#limits;
    return failures.failingSinceMs + (hasSourceEnded && untried === 0 ? maxOutageAtEndMs : maxOutageMs);
  }

  /**
   * The slave reports that one of its own workers was the reason why these jobs failed: takes their latest charges
   * back.
   */
  excuse(slaveId: string, seqs: Ranges, nowMs: number): void {
    const { jobs, failures } = this.#parts;
    if (failures.mode === "opening") failures.opening.relax(nowMs);
    const isMeant = ({ span, avoid }: { span: { seq: number }; avoid: { slaveId: string } | null }) =>
      avoid?.slaveId === slaveId && includes(seqs, span.seq);
    this.#retrySpent(jobs.spent.take(({ piece }) => isMeant(piece)));
    const charges = new Map<number, { failures: number; crashes: number }>();
    for (const line of [jobs.retries, jobs.returned.due]) {
      for (const piece of line) if (isMeant(piece)) charges.set(piece.span.seq, { failures: 1, crashes: 0 });
    }
    jobs.takeBackCharges(charges);
  }

  #judgeSlaves(nowMs: number): void {
    const { health, sessions, jobs, failures, emit } = this.#parts;
    for (const session of sessions.quarantined.size > 0 ? [...sessions.quarantined] : []) {
      if (health.isQuarantined(session.slaveId)) continue;
      sessions.change(session, { mode: "open" });
      if (health.wasReported(session.slaveId)) {
        emit({ kind: "notice", notice: { code: "slave well", slave: session.slaveName } });
      }
    }
    for (let id = health.findSick(); id !== null; id = health.findSick()) {
      const { charges } = health.quarantine(id, nowMs);
      for (const session of sessions) {
        if (session.slaveId === id && session.mode !== "draining") {
          sessions.change(session, { mode: "quarantined" });
        }
      }
      this.#retrySpent(jobs.spent.takeOf(id));
      jobs.takeBackCharges(charges);
      for (const seq of jobs.clearFailedAt(id)) failures.forget(seq);
      failures.blameSlave(nowMs);
    }
    for (let named = health.nextUnreported(); named !== null; named = health.nextUnreported()) {
      const { name, message } = named;
      emit({ kind: "notice", notice: { code: "slave sick", slave: name, message: headline(message) } });
    }
  }

  #judgeSpent(nowMs: number): void {
    const { failures, health, jobs: { spent } } = this.#parts;
    if (failures.isVerdictFinal(this.fleet, nowMs)) {
      this.#retrySpent(spent.take((spentJob) => this.#needsOtherSlave(spentJob)), nowMs + elsewhereMs);
      return this.#burySpent(spent.take());
    }
    for (const id of spent.slaves) {
      // its slave is gone: whether it was healthy cannot be found out any more
      if (!health.has(id)) this.#retrySpent(spent.takeOf(id));
      else if (failures.isCalm) {
        const goodMs = health.lastGoodLeaseMs(id);
        this.#burySpent(spent.takeOf(id, ({ atMs }) => atMs <= goodMs));
      }
    }
    if (failures.mode !== "opening") return;
    this.#burySpent(
      spent.take(({ mark, piece }) =>
        failures.knownBad.has(piece.span.seq) || failures.opening.isConfirmed(mark) === true
      ),
    );
    this.#retrySpent(spent.take(({ mark }) => failures.opening.isConfirmed(mark) === false));
  }

  #burySpent(spentJobs: readonly SpentJob[]): void {
    const { jobs, failures, bury } = this.#parts;
    for (const { piece, charged } of spentJobs) {
      failures.forget(piece.span.seq);
      bury(jobs.buryFailed(piece, charged));
    }
  }

  /** Retries spent jobs. `untilMs`: until when they wait for another slave; null to keep what they have. */
  #retrySpent(spentJobs: readonly SpentJob[], untilMs: number | null = null): void {
    for (const { piece, slaveId } of spentJobs) {
      this.#parts.jobs.retrySpent(untilMs === null ? piece : { ...piece, avoid: { slaveId, untilMs } });
    }
  }

  /**
   * Whether a spent job gets one more attempt at another slave. It does if it failed only at a slave where nothing
   * succeeds, in a run too short to judge that slave, and another slave is connected. At most once per job.
   */
  #needsOtherSlave({ piece, charged, slaveId }: SpentJob): boolean {
    const { failures, health, sessions } = this.#parts;
    const { seq } = piece.span;
    const { attempts } = charged;
    if (failures.triedElsewhere.has(seq) || attempts.some(({ slave }) => slave !== attempts[0]!.slave)) {
      return false;
    }
    if (!sessions.hasOther(slaveId) || !health.isInDoubt(slaveId)) return false;
    failures.triedElsewhere.add(seq);
    return true;
  }

  #noteOutage(nowMs: number): void {
    const { failures, health, emit } = this.#parts;
    const { outage } = failures;
    if ((outage !== null) === this.#hasReportedOutage) return;
    this.#hasReportedOutage = outage !== null;
    if (outage === null) {
      health.startAnew(nowMs);
      return emit({ kind: "notice", notice: { code: "outage ended" } });
    }
    emit({ kind: "notice", notice: { code: "outage began", message: outage } });
  }
}

/** A live view of the run for `Failures`. */
class LiveFleetView implements FleetView {
  readonly #parts: Parts;
  nowMs = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get inFlight(): number {
    return this.#parts.jobs.leases.count - this.#parts.sessions.quarantinedHeld;
  }

  get probing(): number {
    return this.#parts.jobs.leases.probing;
  }

  get untried(): number {
    return this.#parts.jobs.untried;
  }

  get suspects(): number {
    const { jobs, failures } = this.#parts;
    return jobs.suspects((seq) => failures.isKnownBad(seq));
  }

  get unexplained(): number {
    const { jobs, failures } = this.#parts;
    return jobs.suspects((seq) => failures.isKnownBad(seq) || failures.isExplained(seq, this.nowMs));
  }

  get spent(): number {
    return this.#parts.jobs.spent.count;
  }

  get isIdle(): boolean {
    const { jobs, failures } = this.#parts;
    const { leases, retries, orphans, untried, fresh } = jobs;
    // jobs may be queued behind a row whose dead letter is being written
    if (fresh.total > fresh.count) return false;
    if (leases.count + retries.count + orphans.count + jobs.returnedFailed > 0) return false;
    return untried === 0 || untried <= failures.untriedReserve;
  }

  get isReserveKept(): boolean {
    const { jobs, failures } = this.#parts;
    const { untriedReserve } = failures;
    return untriedReserve > 0 && jobs.untried <= untriedReserve && this.isSourceDry;
  }

  get isSourceDry(): boolean {
    return this.#parts.isSourceDry();
  }

  get hasSourceEnded(): boolean {
    return this.#parts.hasSourceEnded();
  }
}
