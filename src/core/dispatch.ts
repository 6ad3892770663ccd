import type { Failures, FleetView } from "./failures.ts";
import type { Gate, GateLimit } from "./gate.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease, Terms } from "./leases.ts";
import { aloneOf, nextAttempt, type Piece, untried } from "./piece.ts";
import type { SlaveSession, SlaveSessions } from "./sessions.ts";
import type { Alone, Effect, Probe } from "./types.ts";
import type { LeaseName } from "../protocol/messages.ts";

/**
 * Most encoded bytes in one batch; a single job may exceed it. Small, because a slave must be able to hand most of a
 * batch back.
 */
const leaseBytesMax = 1 << 20;

/** While jobs in flight are as many as may be, an event opens the gate; what is overdue is looked at again so late. */
const lookAgainMs = 1_000;

type Parts = Readonly<{
  masterId: string;
  jobs: Jobs;
  sessions: SlaveSessions;
  failures: Failures;
  health: Health;
  fleet: FleetView;
  gate: Gate;
  /** Returns a number in [0, 1). */
  random: () => number;
  emit: (effect: Effect) => void;
}>;

/**
 * Leases ready jobs to sessions with credit until jobs or credit run out, or `Gate` or `Failures` allows no more. In this order:
 * lost or released jobs; retries, one job a lease; suspects, each alone in a worker; fresh jobs. A job that must run
 * alone in a slave gets a session reserved; at most half of the sessions are reserved at a time.
 */
export class Dispatch {
  readonly #parts: Parts;
  readonly #jobs: Jobs;
  readonly #sessions: SlaveSessions;
  readonly #failures: Failures;
  #leases = 0;
  #nowMs = 0;
  /** How many more jobs this run of the dispatcher may lease. */
  #budget = Infinity;
  /** Leases made while load ramps up: every third at most is for a job that failed before. */
  #starts = 0;
  /** Failed jobs already probed in the current test. */
  readonly #probed = new Set<number>();
  /**
   * How many sessions had credit when this run began, and how many jobs each would hold if all were shared out evenly.
   */
  #sessionsWithCredit = 1;
  #fairShare = 1;
  /** Which of the operator's limits kept slaves with credit from more jobs, when jobs were leased last. */
  limitedBy: GateLimit | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#jobs = parts.jobs;
    this.#sessions = parts.sessions;
    this.#failures = parts.failures;
  }

  /**
   * Returns whether anything was leased. `comingJobs` is how many more the source may yield at once: they count for the
   * fair share.
   */
  run(nowMs: number, comingJobs: number): boolean {
    const leasesBefore = this.#leases;
    this.#nowMs = nowMs;
    this.#openReserved();
    this.#budget = this.#parts.gate.budget(this.#inFlight, nowMs);
    if (this.#budget >= 1) this.#lease(comingJobs);
    this.limitedBy = this.#sessions.withCreditCount > 0 ? this.#gateLimit(nowMs) : null;
    return this.#leases > leasesBefore;
  }

  #lease(comingJobs: number): void {
    if (this.#probed.size > 0 && this.#failures.mode !== "testing") this.#probed.clear();
    switch (this.#failures.mode) {
      case "normal":
        this.#leaseAll(comingJobs);
        break;
      case "opening":
        this.#open();
        break;
      case "testing":
        while (this.#probe());
        break;
    }
    // Last, so that a slow and failing slave does not get the run's last jobs.
    if (this.#sessions.quarantined.size > 0) this.#probeQuarantined();
  }

  /** When to run again even if no event comes; Infinity if only an event can make a job leasable. */
  nextRunMs(nowMs: number): number {
    const { returned, fresh, retries } = this.#jobs;
    if (fresh.count + returned.count + retries.count + this.#jobs.spent.count === 0) return Infinity;
    let nextMs = Infinity;
    for (const { slaveId, held, credit } of this.#sessions.quarantined) {
      const probeMs = this.#parts.health.nextProbeMs(slaveId);
      if (held === 0 && credit > 0) nextMs = Math.min(nextMs, Math.max(probeMs, nowMs + 1));
    }
    if (returned.due.length > 0 && this.#failures.mode !== "testing" && this.#sessions.withCreditCount > 0) {
      // jobs that wait for another slave; whatever else delays a job ends with an event or has its own wake-up
      for (const { avoid } of returned.due) {
        if (avoid !== null && avoid.untilMs > nowMs) nextMs = Math.min(nextMs, avoid.untilMs);
      }
    }
    const openMs = this.#parts.gate.openMs(nowMs);
    const waitsForGate = openMs > nowMs && this.#sessions.withCreditCount > 0;
    return waitsForGate ? Math.min(nextMs, openMs) : nextMs;
  }

  /** Jobs that slaves hold, or held under an earlier master and may still run. */
  get #inFlight(): number {
    return this.#jobs.leases.count + this.#jobs.orphans.count;
  }

  /** Which of the operator's limits allows no job now; null if none does. */
  #gateLimit(nowMs: number): GateLimit | null {
    return this.#parts.gate.closedBy(this.#inFlight, nowMs);
  }

  /** When to look again for what is overdue: now, or once the operator's limits may allow a job again. */
  afterGateMs(nowMs: number): number {
    switch (this.#gateLimit(nowMs)) {
      case null:
        return nowMs;
      case "rate":
        return this.#parts.gate.openMs(nowMs);
      case "in_flight":
        return nowMs + lookAgainMs;
    }
  }

  #leaseAll(comingJobs: number): void {
    const { returned } = this.#jobs;
    if (returned.inSlave.length > 0) this.#leaseInSlave(Math.max(1, this.#sessions.count >> 1));
    this.#sessionsWithCredit = this.#sessions.withCreditCount;
    const ready = returned.count + this.#jobs.fresh.count;
    if (ready === 0 || this.#sessionsWithCredit === 0) return;
    this.#fairShare = Math.ceil(
      (this.#sessions.heldWithCredit() + ready + comingJobs) / this.#sessionsWithCredit,
    );
    while (this.#sessions.withCreditCount > 0 && this.#budget > 0 && this.#leaseNext());
  }

  /** While load ramps up: leases few jobs, and only every third of them one that failed before. */
  #open(): void {
    const { returned, fresh } = this.#jobs;
    const { opening } = this.#failures;
    if (this.#sessions.withCreditCount === 0) opening.noteSlavesFull();
    if (this.#sessions.withCreditCount === 0 || returned.count + fresh.count === 0) return;
    const inFlight = this.#jobs.leases.count - this.#sessions.quarantinedHeld;
    this.#budget = Math.min(this.#budget, opening.budget(inFlight, this.#nowMs));
    this.#sessionsWithCredit = this.#sessions.withCreditCount;
    this.#fairShare = Math.ceil((returned.count + fresh.count) / this.#sessionsWithCredit);
    while (this.#sessions.withCreditCount > 0 && this.#budget > 0) {
      const before = this.#leases;
      const isTurnOfFailed = this.#starts % 3 === 2;
      if (!(isTurnOfFailed && this.#leaseDue()) && !this.#leaseUntried()) {
        if (!this.#leaseDue() && !this.#leaseInWorker()) return;
      }
      if (this.#leases > before) this.#starts++;
    }
    if (this.#sessions.withCreditCount === 0) opening.noteSlavesFull();
  }

  /** Makes one lease; false if no job is ready for it. */
  #leaseNext(): boolean {
    const { returned } = this.#jobs;
    if (returned.together.length > 0 && this.#mayLeaseUntried) return this.#leaseTogether();
    return this.#leaseDue() || this.#leaseInWorker() || this.#leaseUntried();
  }

  /** False while the last untried jobs must be kept for a test, because many jobs fail and others remain to be run. */
  get #mayLeaseUntried(): boolean {
    if (!this.#parts.fleet.isReserveKept) return true;
    const { leases, retries, spent, returnedFailed, fresh } = this.#jobs;
    // Jobs queued behind an unsendable row become ready later, so these are not the last ones.
    if (fresh.total > fresh.count) return true;
    return leases.count + retries.count + spent.count + returnedFailed === 0;
  }

  #leaseUntried(): boolean {
    if (!this.#mayLeaseUntried) return false;
    if (this.#jobs.returned.together.length > 0) return this.#leaseTogether();
    return this.#jobs.fresh.count > 0 && this.#leaseFresh();
  }

  #leaseFresh(): boolean {
    const session = this.#sessions.nextWithCredit()!;
    const terms = this.#terms("no", null);
    const room = this.#batchSizeOf(session);
    return this.#leased(
      session,
      this.#jobs.leaseFresh(this.#nextName(), session, terms, room, leaseBytesMax),
    );
  }

  #leaseTogether(): boolean {
    const session = this.#sessions.nextWithCredit()!;
    const pieces = this.#jobs.returned.cut(this.#batchSizeOf(session), leaseBytesMax);
    return this.#leaseReturned(session, this.#terms("no", null), pieces);
  }

  /**
   * Leases a failed job whose retry is due: to another slave than the one that failed it, or to any once `avoid` has
   * expired.
   */
  #leaseDue(): boolean {
    const { returned } = this.#jobs;
    if (returned.due.length === 0) return false;
    const sessionFor = (piece: Piece) => this.#sessionFor(piece);
    const piece = returned.takeDue((piece) => sessionFor(piece) !== undefined);
    if (piece === undefined) return false;
    return this.#leaseReturned(sessionFor(piece)!, this.#terms("no", null), [piece]);
  }

  #sessionFor({ avoid }: Piece): SlaveSession | undefined {
    const session = this.#sessions.nextWithCredit(avoid?.slaveId);
    if (avoid === null || session?.slaveId !== avoid.slaveId) return session;
    return this.#nowMs < avoid.untilMs && this.#sessions.hasOther(avoid.slaveId) ? undefined : session;
  }

  #leaseInWorker(): boolean {
    const { returned } = this.#jobs;
    if (returned.inWorker.length === 0) return false;
    const piece = returned.takeOne(returned.inWorker);
    const session = this.#sessions.nextWithCredit(piece.avoid?.slaveId)!;
    return this.#leaseReturned(session, this.#terms("in worker", null), [piece]);
  }

  /**
   * How many jobs a session gets in one batch: up to its fair share, so that no session takes all jobs, but enough that
   * the cost of a batch pays off. While the source has more at hand, few sessions get a full batch in each turn of the
   * event loop and the others in later turns. Credit is about 160 ms of work, so a sixteenth of it lasts 10 ms. Serving
   * a session costs about 50 us: with many sessions, a batch should last until the session's next turn.
   */
  #batchSizeOf({ credit, held }: SlaveSession): number {
    const part = Math.max(1 / 16, this.#sessionsWithCredit / 1_000);
    const room = Math.min(credit - held, Math.max(1, this.#fairShare - held, Math.floor(credit * part)));
    return this.#budget === Infinity
      ? room
      : Math.min(room, Math.ceil(this.#budget / this.#sessionsWithCredit));
  }

  #terms(alone: Alone, probe: Probe | null): Terms {
    return { alone, probe, leasedMs: this.#nowMs };
  }

  #leaseReturned(session: SlaveSession, terms: Terms, pieces: readonly Piece[]): true {
    return this.#leased(session, this.#jobs.leaseReturned(this.#nextName(), session, terms, pieces));
  }

  #leased(session: SlaveSession, lease: Lease): true {
    this.#sessions.served(session, lease.count);
    if (this.#failures.mode === "opening") this.#failures.opening.leased(lease.count);
    this.#budget -= lease.count;
    this.#parts.gate.leased(lease.count, this.#nowMs);
    const history = lease.pieces[0]?.history ?? untried;
    this.#parts.emit({
      kind: "lease",
      session: session.id,
      lease: lease.name,
      parts: lease.pieces.map(({ span }) => span),
      attempt: nextAttempt(history),
      alone: lease.alone,
      probe: lease.probe !== null,
    });
    return true;
  }

  #nextName(): LeaseName {
    return { masterId: this.#parts.masterId, number: ++this.#leases };
  }

  /**
   * Reserves sessions for jobs that must run alone in a slave, and leases one job to each reserved session that holds
   * none.
   */
  #leaseInSlave(reservedMax: number): void {
    const { inSlave } = this.#jobs.returned;
    const { reserved } = this.#sessions;
    const wanted = Math.min(reservedMax, inSlave.length);
    while (reserved.size < wanted) {
      const session = leastLoaded(this.#sessions);
      if (session === undefined) break;
      this.#sessions.change(session, { mode: "reserved" });
    }
    for (const session of [...reserved]) {
      if (session.held > 0 || inSlave.length === 0 || this.#budget < 1) continue;
      this.#leaseReturned(session, this.#terms("in slave", null), [this.#jobs.returned.takeOne(inSlave)]);
    }
  }

  /** Reopens reserved sessions that are no longer needed: no such job waits, or the session has no credit. */
  #openReserved(): void {
    // a test needs every session, and no job runs alone in a slave meanwhile
    const hasJobs = this.#jobs.returned.inSlave.length > 0 && this.#failures.mode !== "testing";
    for (const session of [...this.#sessions.reserved]) {
      if (hasJobs && session.credit > 0) continue;
      const leases = this.#jobs.leases.ofSession(session.id);
      if (!leases.some(({ alone }) => alone === "in slave")) this.#sessions.change(session, { mode: "open" });
    }
  }

  /** Leases one probe of a test; false if none is due or none is possible. */
  #probe(): boolean {
    if (this.#sessions.withCreditCount === 0 || this.#budget < 1) return false;
    const kind = this.#failures.nextProbe(this.#parts.fleet, this.#parts.random, this.#nowMs);
    if (kind === null) return false;
    const piece = kind === "failed" ? this.#takeFailed() : this.#takeUntried();
    if (piece === undefined) return false;
    const session = this.#sessions.nextWithCredit(piece.avoid?.slaveId)!;
    this.#leaseReturned(session, this.#terms(aloneOf(piece.history), kind), [piece]);
    this.#failures.probed(kind, this.#nowMs);
    return true;
  }

  /**
   * Takes each failed job once before any a second time: repeated failures of one bad job say nothing about the others.
   */
  #takeFailed(): Piece | undefined {
    const random = this.#parts.random();
    const isLeftOut = (seq: number) => this.#failures.isKnownBad(seq) || this.#probed.has(seq);
    let piece = this.#jobs.takeFailed(random, isLeftOut);
    if (piece === undefined && this.#probed.size > 0) {
      this.#probed.clear();
      piece = this.#jobs.takeFailed(random, isLeftOut);
    }
    if (piece !== undefined) this.#probed.add(piece.span.seq);
    return piece;
  }

  /** Draws an untried job at random from all of them, since those at the front may all be bad. */
  #takeUntried(): Piece | undefined {
    const { returned, fresh } = this.#jobs;
    const count = this.#jobs.untried;
    if (count === 0) return undefined;
    const at = Math.floor(this.#parts.random() * count);
    const together = count - fresh.count;
    if (at < together) return returned.takeTogether(at);
    this.#jobs.passOver(at - together + 1);
    return returned.takeTogether(at);
  }

  /** Leases one probe a second to each quarantined slave that holds no job. */
  #probeQuarantined(): void {
    const { health } = this.#parts;
    const { returned } = this.#jobs;
    for (const session of [...this.#sessions.quarantined]) {
      const { slaveId, held, credit } = session;
      if (this.#budget < 1) return;
      if (held > 0 || credit === 0 || this.#nowMs < health.nextProbeMs(slaveId)) continue;
      health.probed(slaveId, this.#nowMs);
      // Healthy slaves finish the few remaining jobs sooner than this one would fail them.
      if (
        this.#sessions.hasOther(slaveId) && this.#jobs.untried + returned.due.length < this.#sessions.count
      ) continue;
      const piece = this.#takeUntried() ?? returned.takeDue(() => true);
      if (piece === undefined) return;
      this.#leaseReturned(session, this.#terms(aloneOf(piece.history), "quarantine"), [piece]);
    }
  }
}

/** The open session with credit that holds the fewest jobs. */
function leastLoaded(sessions: Iterable<SlaveSession>): SlaveSession | undefined {
  let best: SlaveSession | undefined;
  for (const session of sessions) {
    if (session.mode !== "open" || session.credit === 0) continue;
    if (best === undefined || session.held < best.held) best = session;
  }
  return best;
}
