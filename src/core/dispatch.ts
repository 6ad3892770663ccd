import type { Queue } from "../base/queue.ts";
import { leaseBytesMax, probeMs } from "../base/run_limits.ts";
import { nextAttempt, untried } from "./history.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease } from "./lease_table.ts";
import type { Outage } from "./outage.ts";
import type { Piece } from "./piece.ts";
import type { Session, Sessions } from "./sessions.ts";
import type { Alone, Effect, LeaseName } from "./types.ts";

/**
 * Leases ready jobs to sessions with credit, until either is used up. In this order: what was lost or released;
 * retries, one a lease; suspects, each alone in a worker; fresh jobs. Jobs for a slave of their own have one
 * reserved meanwhile, at most every other one.
 */
export class Dispatch {
  readonly #masterId: string;
  readonly #jobs: Jobs;
  readonly #sessions: Sessions;
  readonly #outage: Outage;
  readonly #emit: (effect: Effect) => void;
  #leases = 0;
  /** The line that the next probe comes from, if it can. */
  #nextLine = 0;
  /** Sessions with credit, as this leasing began; and what each would hold, were all jobs shared out evenly. */
  #lineLength = 1;
  #fairShare = 1;

  constructor(
    masterId: string,
    jobs: Jobs,
    sessions: Sessions,
    outage: Outage,
    emit: (effect: Effect) => void,
  ) {
    this.#masterId = masterId;
    this.#jobs = jobs;
    this.#sessions = sessions;
    this.#outage = outage;
    this.#emit = emit;
  }

  /** Returns whether anything was leased. `comingJobs` may be ready in a moment: they count in what is shared out. */
  run(nowMs: number, comingJobs: number): boolean {
    const leasesBefore = this.#leases;
    this.#openReserved();
    if (this.#outage.isOn) this.#probe(nowMs);
    else this.#leaseAll(comingJobs);
    return this.#leases > leasesBefore;
  }

  /** When to be run for a probe; Infinity if there is nothing to probe, or nobody to probe with. */
  nextProbeMs(nowMs: number): number {
    const { fresh, returned } = this.#jobs;
    const { hungryCount, reserved } = this.#sessions;
    if (fresh.count + returned.count === 0 || hungryCount + reserved.size === 0) return Infinity;
    // A probe that is due is leased at once; if it cannot be, an event says when it can.
    return this.#outage.nextProbeMs > nowMs ? this.#outage.nextProbeMs : nowMs + probeMs;
  }

  #leaseAll(comingJobs: number): void {
    const { returned } = this.#jobs;
    if (returned.inSlave.length > 0) this.#leaseInSlave(Math.max(1, this.#sessions.count >> 1));
    this.#lineLength = this.#sessions.hungryCount;
    const ready = returned.count + this.#jobs.fresh.count;
    if (ready === 0 || this.#lineLength === 0) return;
    this.#fairShare = Math.ceil((this.#sessions.hungryHeld() + ready + comingJobs) / this.#lineLength);
    while (this.#sessions.hungryCount > 0 && this.#leaseNext());
  }

  /** One lease; false if no jobs are ready for it. */
  #leaseNext(): boolean {
    const { returned, fresh } = this.#jobs;
    if (returned.together.length > 0) this.#leaseTogether();
    else if (returned.due.length > 0) this.#leaseOne(returned.due, "no");
    else if (returned.inWorker.length > 0) this.#leaseOne(returned.inWorker, "in worker");
    else if (fresh.count > 0) this.#leaseFresh();
    else return false;
    return true;
  }

  #leaseFresh(most = Infinity): void {
    const session = this.#sessions.nextHungry()!;
    const room = Math.min(this.#roomOf(session), most);
    this.#leased(session, this.#jobs.leaseFresh(this.#nextName(), session, room, leaseBytesMax));
  }

  #leaseTogether(): void {
    const session = this.#sessions.nextHungry()!;
    this.#leaseReturned(session, "no", this.#jobs.returned.cut(this.#roomOf(session), leaseBytesMax));
  }

  /**
   * How many jobs a session gets in one batch: up to its share, so that none gets all while others get none, but not
   * so few that batches cost more than they bring. While the source has more at hand, few sessions get all that is
   * theirs in each turn of the event loop, and the others in the turns after. Credit is some 160 ms of work, so a
   * sixteenth of it lasts 10 ms. A session costs some 50 us to serve: in a long line, a batch should last until it is
   * this one's turn again.
   */
  #roomOf({ credit, held }: Session): number {
    const part = Math.max(1 / 16, this.#lineLength / 1_000);
    return Math.min(credit - held, Math.max(1, this.#fairShare - held, Math.floor(credit * part)));
  }

  #leaseOne(queue: Queue<Piece>, alone: Alone): void {
    const piece = this.#jobs.returned.takeOne(queue);
    this.#leaseReturned(this.#sessions.nextHungry(piece.avoid)!, alone, [piece]);
  }

  #leaseReturned(session: Session, alone: Alone, pieces: readonly Piece[]): void {
    this.#leased(session, this.#jobs.leaseReturned(this.#nextName(), session, alone, pieces));
  }

  #leased(session: Session, lease: Lease): void {
    this.#sessions.served(session, lease.count);
    const history = lease.pieces[0]?.history ?? untried;
    this.#emit({
      kind: "lease",
      session: session.id,
      lease: lease.name,
      parts: lease.pieces.map(({ span }) => span),
      attempt: nextAttempt(history),
      alone: lease.alone,
    });
  }

  #nextName(): LeaseName {
    return { masterId: this.#masterId, number: ++this.#leases };
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
      this.#leaseReturned(session, "in slave", [this.#jobs.returned.takeOne(inSlave)]);
    }
  }

  /** Opens sessions again whose job was taken back by the slave that had it before, or that want no more jobs. */
  #openReserved(): void {
    const hasJobs = this.#jobs.returned.inSlave.length > 0;
    for (const session of [...this.#sessions.reserved]) {
      if (hasJobs && session.credit > 0) continue;
      const leases = this.#jobs.leases.ofSession(session.id);
      if (!leases.some(({ alone }) => alone === "in slave")) this.#sessions.change(session, { mode: "open" });
    }
  }

  /** One job, now and then; from all lines by turns, so that a few bad jobs cannot hide that all is well. */
  #probe(nowMs: number): void {
    if (nowMs < this.#outage.nextProbeMs) return;
    const leases = this.#leases;
    this.#lineLength = this.#fairShare = 1;
    for (let i = 0; i < probeLines.length && this.#leases === leases; i++) {
      this.#leaseProbe(probeLines[this.#nextLine]!);
      this.#nextLine = (this.#nextLine + 1) % probeLines.length;
    }
    if (this.#leases > leases) this.#outage.probed(nowMs);
  }

  #leaseProbe(line: (typeof probeLines)[number]): void {
    const { fresh, returned } = this.#jobs;
    if (line === "inSlave") {
      if (returned.inSlave.length > 0) this.#leaseInSlave(1);
    } else if (this.#sessions.hungryCount === 0) {
      return;
    } else if (line === "fresh") {
      if (fresh.count > 0) this.#leaseFresh(1);
    } else if (returned[line].length > 0) {
      this.#leaseOne(returned[line], line === "inWorker" ? "in worker" : "no");
    }
  }
}

/** Where probes come from. */
const probeLines = ["fresh", "together", "due", "inWorker", "inSlave"] as const;

/** The open session with the fewest jobs. */
function emptiest(sessions: Iterable<Session>): Session | undefined {
  let best: Session | undefined;
  for (const session of sessions) {
    if (session.mode !== "open" || session.credit === 0) continue;
    if (best === undefined || session.held < best.held) best = session;
  }
  return best;
}
