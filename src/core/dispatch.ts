import type { Failures, FleetView } from "./failures.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease, Terms } from "./leases.ts";
import { aloneOf, nextAttempt, type Piece, untried } from "./piece.ts";
import type { SlaveSession, SlaveSessions } from "./sessions.ts";
import type { Alone, Effect, Probe } from "./types.ts";
import type { LeaseName } from "../protocol/messages.ts";

/** Most encoded bytes in one batch, though at least one job: a slave must be able to hand most of it back. */
const leaseBytesMax = 1 << 20;

type Parts = Readonly<{
  masterId: string;
  jobs: Jobs;
  sessions: SlaveSessions;
  failures: Failures;
  health: Health;
  around: FleetView;
  /** In [0, 1). */
  random: () => number;
  emit: (effect: Effect) => void;
}>;

/**
 * Leases ready jobs to sessions with credit, until either is used up, or the gate is shut (`Failures`). In this order:
 * what was lost or released; retries, one a lease; suspects, each alone in a worker; fresh jobs. Jobs for a slave of
 * their own have one reserved meanwhile, at most every other one.
 */
export class Dispatch {
  readonly #parts: Parts;
  readonly #jobs: Jobs;
  readonly #sessions: SlaveSessions;
  readonly #failures: Failures;
  #leases = 0;
  #nowMs = 0;
  /** Jobs that may still be leased now. */
  #budget = Infinity;
  /** While load comes back, at most one start in three is of a job that failed. */
  #starts = 0;
  /** Failed jobs that the test at hand was made with. */
  readonly #probed = new Set<number>();
  /** Sessions with credit, as this leasing began; and what each would hold, were all jobs shared out evenly. */
  #lineLength = 1;
  #fairShare = 1;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#jobs = parts.jobs;
    this.#sessions = parts.sessions;
    this.#failures = parts.failures;
  }

  /** Returns whether anything was leased. `comingJobs` may be ready in a moment: they count in what is shared out. */
  run(nowMs: number, comingJobs: number): boolean {
    const leasesBefore = this.#leases;
    this.#nowMs = nowMs;
    this.#budget = Infinity;
    this.#openReserved();
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
    // after the others: the last jobs are not to wait for a slave that fails them slowly
    if (this.#sessions.quarantined.size > 0) this.#probeQuarantined();
    return this.#leases > leasesBefore;
  }

  /** When to be run though nothing happens; Infinity if only an event can bring something to lease. */
  nextRunMs(nowMs: number): number {
    const { returned, fresh, retries } = this.#jobs;
    if (fresh.count + returned.count + retries.count + this.#jobs.spent.count === 0) return Infinity;
    let nextMs = Infinity;
    for (const { slaveId, held, credit } of this.#sessions.quarantined) {
      const probeMs = this.#parts.health.nextProbeMs(slaveId);
      if (held === 0 && credit > 0) nextMs = Math.min(nextMs, Math.max(probeMs, nowMs + 1));
    }
    if (returned.due.length > 0 && this.#failures.mode !== "testing" && this.#sessions.hungryCount > 0) {
      // those that wait for another slave; what else keeps one ends with an event, or is woken for where it is decided
      for (const { avoid } of returned.due) {
        if (avoid !== null && avoid.untilMs > nowMs) nextMs = Math.min(nextMs, avoid.untilMs);
      }
    }
    return nextMs;
  }

  #leaseAll(comingJobs: number): void {
    const { returned } = this.#jobs;
    if (returned.inSlave.length > 0) this.#leaseInSlave(Math.max(1, this.#sessions.count >> 1));
    this.#lineLength = this.#sessions.hungryCount;
    const ready = returned.count + this.#jobs.fresh.count;
    if (ready === 0 || this.#lineLength === 0) return;
    this.#fairShare = Math.ceil((this.#sessions.hungryHeld() + ready + comingJobs) / this.#lineLength);
    while (this.#sessions.hungryCount > 0 && this.#budget > 0 && this.#leaseNext());
  }

  /** Load comes back: few jobs, and those that failed only now and then. */
  #open(): void {
    const { returned, fresh } = this.#jobs;
    const { opening } = this.#failures;
    if (this.#sessions.hungryCount === 0) opening.filled();
    if (this.#sessions.hungryCount === 0 || returned.count + fresh.count === 0) return;
    this.#budget = opening.budget(this.#jobs.leases.count - this.#sessions.quarantinedHeld, this.#nowMs);
    this.#lineLength = this.#sessions.hungryCount;
    this.#fairShare = Math.ceil((returned.count + fresh.count) / this.#lineLength);
    while (this.#sessions.hungryCount > 0 && this.#budget > 0) {
      const before = this.#leases;
      const isTurnOfFailed = this.#starts % 3 === 2;
      if (!(isTurnOfFailed && this.#leaseDue()) && !this.#leaseUntried()) {
        if (!this.#leaseDue() && !this.#leaseInWorker()) return;
      }
      if (this.#leases > before) this.#starts++;
    }
    if (this.#sessions.hungryCount === 0) opening.filled();
  }

  /** One lease; false if no jobs are ready for it. */
  #leaseNext(): boolean {
    const { returned } = this.#jobs;
    if (returned.together.length > 0 && this.#mayLeaseUntried) return this.#leaseTogether();
    return this.#leaseDue() || this.#leaseInWorker() || this.#leaseUntried();
  }

  /** Where many fail, the last untried jobs are kept for a test, as long as there are others. */
  get #mayLeaseUntried(): boolean {
    if (!this.#parts.around.isReserveKept) return true;
    const { leases, retries, spent, returnedFailed, fresh } = this.#jobs;
    // they are not the last: what is behind a row that cannot be sent comes only after them
    if (fresh.total > fresh.count) return true;
    return leases.count + retries.count + spent.count + returnedFailed === 0;
  }

  #leaseUntried(): boolean {
    if (!this.#mayLeaseUntried) return false;
    if (this.#jobs.returned.together.length > 0) return this.#leaseTogether();
    return this.#jobs.fresh.count > 0 && this.#leaseFresh();
  }

  #leaseFresh(): boolean {
    const session = this.#sessions.nextHungry()!;
    const terms = this.#terms("no", null);
    const room = this.#roomOf(session);
    return this.#leased(
      session,
      this.#jobs.leaseFresh(this.#nextName(), session, terms, room, leaseBytesMax),
    );
  }

  #leaseTogether(): boolean {
    const session = this.#sessions.nextHungry()!;
    const pieces = this.#jobs.returned.cut(this.#roomOf(session), leaseBytesMax);
    return this.#leaseReturned(session, this.#terms("no", null), pieces);
  }

  /** A failed job whose delay is over: at another slave than the one that failed it, or once it waited long enough for that. */
  #leaseDue(): boolean {
    const { returned } = this.#jobs;
    if (returned.due.length === 0) return false;
    const sessionFor = (piece: Piece) => this.#sessionFor(piece);
    const piece = returned.takeDue((piece) => sessionFor(piece) !== undefined);
    if (piece === undefined) return false;
    return this.#leaseReturned(sessionFor(piece)!, this.#terms("no", null), [piece]);
  }

  #sessionFor({ avoid }: Piece): SlaveSession | undefined {
    const session = this.#sessions.nextHungry(avoid?.slaveId);
    if (avoid === null || session?.slaveId !== avoid.slaveId) return session;
    return this.#nowMs < avoid.untilMs && this.#sessions.hasOther(avoid.slaveId) ? undefined : session;
  }

  #leaseInWorker(): boolean {
    const { returned } = this.#jobs;
    if (returned.inWorker.length === 0) return false;
    const piece = returned.takeOne(returned.inWorker);
    const session = this.#sessions.nextHungry(piece.avoid?.slaveId)!;
    return this.#leaseReturned(session, this.#terms("in worker", null), [piece]);
  }

  /**
   * How many jobs a session gets in one batch: up to its share, so that none gets all while others get none, but not
   * so few that batches cost more than they bring. While the source has more at hand, few sessions get all that is
   * theirs in each turn of the event loop, and the others in the turns after. Credit is some 160 ms of work, so a
   * sixteenth of it lasts 10 ms. A session costs some 50 us to serve: in a long line, a batch should last until it is
   * this one's turn again.
   */
  #roomOf({ credit, held }: SlaveSession): number {
    const part = Math.max(1 / 16, this.#lineLength / 1_000);
    const room = Math.min(credit - held, Math.max(1, this.#fairShare - held, Math.floor(credit * part)));
    return this.#budget === Infinity ? room : Math.min(room, Math.ceil(this.#budget / this.#lineLength));
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

  /** Reserves sessions for jobs that must be alone in their slave, and leases one to each that is empty. */
  #leaseInSlave(reservedMax: number): void {
    const { inSlave } = this.#jobs.returned;
    const { reserved } = this.#sessions;
    const wanted = Math.min(reservedMax, inSlave.length);
    while (reserved.size < wanted) {
      const session = emptiest(this.#sessions);
      if (session === undefined) break;
      this.#sessions.change(session, { mode: "reserved" });
    }
    for (const session of [...reserved]) {
      if (session.held > 0 || inSlave.length === 0) continue;
      this.#leaseReturned(session, this.#terms("in slave", null), [this.#jobs.returned.takeOne(inSlave)]);
    }
  }

  /** Opens sessions again whose job was taken back by the slave that had it before, or that want no more jobs. */
  #openReserved(): void {
    // a test needs them, and no job runs alone in a slave meanwhile
    const hasJobs = this.#jobs.returned.inSlave.length > 0 && this.#failures.mode !== "testing";
    for (const session of [...this.#sessions.reserved]) {
      if (hasJobs && session.credit > 0) continue;
      const leases = this.#jobs.leases.ofSession(session.id);
      if (!leases.some(({ alone }) => alone === "in slave")) this.#sessions.change(session, { mode: "open" });
    }
  }

  /** One job of a test; false if none is due, or none can be had. */
  #probe(): boolean {
    if (this.#sessions.hungryCount === 0) return false;
    const kind = this.#failures.nextProbe(this.#parts.around, this.#parts.random, this.#nowMs);
    if (kind === null) return false;
    const piece = kind === "failed" ? this.#takeFailed() : this.#takeUntried();
    if (piece === undefined) return false;
    const session = this.#sessions.nextHungry(piece.avoid?.slaveId)!;
    this.#leaseReturned(session, this.#terms(aloneOf(piece.history), kind), [piece]);
    this.#failures.probed(kind, this.#nowMs);
    return true;
  }

  /** Each job once, then each again: what one bad row says ten times says nothing of the others. */
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

  /** Drawn from all there are, since those at the front may all be bad. */
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

  /** A slave in quarantine gets one job a second, while it holds none. */
  #probeQuarantined(): void {
    const { health } = this.#parts;
    const { returned } = this.#jobs;
    for (const session of [...this.#sessions.quarantined]) {
      const { slaveId, held, credit } = session;
      if (held > 0 || credit === 0 || this.#nowMs < health.nextProbeMs(slaveId)) continue;
      health.probed(slaveId, this.#nowMs);
      // the others take the last ones sooner than it would fail them
      if (
        this.#sessions.hasOther(slaveId) && this.#jobs.untried + returned.due.length < this.#sessions.count
      ) continue;
      const piece = this.#takeUntried() ?? returned.takeDue(() => true);
      if (piece === undefined) return;
      this.#leaseReturned(session, this.#terms(aloneOf(piece.history), "quarantine"), [piece]);
    }
  }
}

/** The open session with the fewest jobs. */
function emptiest(sessions: Iterable<SlaveSession>): SlaveSession | undefined {
  let best: SlaveSession | undefined;
  for (const session of sessions) {
    if (session.mode !== "open" || session.credit === 0) continue;
    if (best === undefined || session.held < best.held) best = session;
  }
  return best;
}
