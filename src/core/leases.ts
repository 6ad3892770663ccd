import type { Ranges } from "../lib/ranges.ts";
import { bySeq, countJobs, divide, type Piece, seqsOf } from "./piece.ts";
import type { Alone, Probe, SessionId } from "./types.ts";
import type { LeaseName } from "../protocol/messages.ts";

/** How jobs are leased, independent of which ones. */
export type Terms = Readonly<{
  alone: Alone;
  probe: Probe | null;
  /** Time of the lease; -Infinity if the slave already had the jobs. */
  leasedMs: number;
}>;

/** One lease in force. Its jobs leave it one by one or all at once; it ends when none is left. */
export type Lease = {
  readonly name: LeaseName;
  readonly session: SessionId;
  readonly slaveId: string;
  readonly alone: Alone;
  readonly probe: Probe | null;
  readonly leasedMs: number;
  /** Jobs not yet answered, ascending; empty if and only if the lease has ended. */
  pieces: readonly Piece[];
  count: number;
};

/** All leases in force. A job is in at most one of them. */
export class LeaseTable {
  #leases = new Map<string, Lease>();
  #ofSession = new Map<SessionId, Set<Lease>>();
  /** Jobs in all leases. */
  count = 0;
  /** Leases that are probes of a test; quarantine probes are not counted. */
  probing = 0;

  add(name: LeaseName, session: SessionId, slaveId: string, terms: Terms, pieces: readonly Piece[]): Lease {
    const lease: Lease = { name, session, slaveId, ...terms, pieces, count: countJobs(pieces) };
    if (isTest(lease)) this.probing++;
    this.#leases.set(leaseKey(name), lease);
    let leases = this.#ofSession.get(session);
    if (leases === undefined) this.#ofSession.set(session, leases = new Set());
    leases.add(lease);
    this.count += lease.count;
    return lease;
  }

  find(name: LeaseName): Lease | undefined {
    return this.#leases.get(leaseKey(name));
  }

  ofSession(session: SessionId): readonly Lease[] {
    return [...this.#ofSession.get(session) ?? []];
  }

  /** The seqs of all jobs that the session holds. */
  seqsOf(session: SessionId): Ranges {
    return seqsOf(this.ofSession(session).flatMap(({ pieces }) => pieces).sort(bySeq));
  }

  /** The session's oldest lease. */
  oldestOf(session: SessionId): Lease | undefined {
    for (const lease of this.#ofSession.get(session) ?? []) return lease;
    return undefined;
  }

  /** How many jobs the session holds. */
  heldBy(session: SessionId): number {
    let count = 0;
    for (const lease of this.#ofSession.get(session) ?? []) count += lease.count;
    return count;
  }

  /**
   * Takes out the named jobs that the lease holds; none if it has ended. Taking the whole lease costs the same for any
   * number of jobs.
   */
  take(lease: Lease, jobs: Ranges): readonly Piece[] {
    if (jobs.length === 0 || lease.count === 0) return [];
    const isWhole = jobs.length === 2 && jobs[0]! <= lease.pieces[0]!.span.seq &&
      jobs[1]! >= lease.pieces.at(-1)!.span.end;
    const { named, rest } = isWhole ? { named: lease.pieces, rest: [] } : divide(lease.pieces, jobs);
    const count = isWhole ? lease.count : countJobs(named);
    lease.pieces = rest;
    lease.count -= count;
    this.count -= count;
    if (lease.count === 0) this.#end(lease);
    return named;
  }

  takeAll(lease: Lease): readonly Piece[] {
    return this.take(lease, [0, Infinity]);
  }

  rewrite(change: (piece: Piece) => Piece): void {
    for (const lease of this.#leases.values()) lease.pieces = lease.pieces.map(change);
  }

  [Symbol.iterator](): IterableIterator<Lease> {
    return this.#leases.values();
  }

  #end(lease: Lease): void {
    this.#leases.delete(leaseKey(lease.name));
    if (isTest(lease)) this.probing--;
    const leases = this.#ofSession.get(lease.session)!;
    leases.delete(lease);
    if (leases.size === 0) this.#ofSession.delete(lease.session);
  }
}

function isTest({ probe }: Lease): boolean {
  return probe === "failed" || probe === "untried";
}

export function leaseKey(name: LeaseName): string {
  return `${name.masterId} ${name.number}`;
}

/**
 * Jobs that wait for their slave to come back and reclaim them: leased when an earlier master died, or held by
 * `Jobs.hold`.
 */
export class OrphanedLeases {
  #leases = new Map<string, { slaveId: string; pieces: Piece[] }>();
  count = 0;

  add(piece: Piece): void {
    const { name, slaveId } = piece.holder!;
    const lease = this.#leases.get(leaseKey(name));
    if (lease === undefined) this.#leases.set(leaseKey(name), { slaveId, pieces: [piece] });
    else lease.pieces.push(piece);
    this.count += piece.span.count;
  }

  /** Takes out the named jobs that wait for this lease of this slave. */
  take(name: LeaseName, slaveId: string, jobs: Ranges): Piece[] {
    const lease = this.#leases.get(leaseKey(name));
    if (lease === undefined || lease.slaveId !== slaveId) return [];
    const { named, rest } = divide(lease.pieces.sort(bySeq), jobs);
    lease.pieces = rest;
    if (rest.length === 0) this.#leases.delete(leaseKey(name));
    return this.#taken(named);
  }

  /** Takes out all jobs of the slaves for which `isMeant` is true. */
  takeAll(isMeant: (slaveId: string) => boolean): Piece[] {
    const taken: Piece[] = [];
    for (const [key, lease] of [...this.#leases]) {
      if (!isMeant(lease.slaveId)) continue;
      this.#leases.delete(key);
      taken.push(...lease.pieces);
    }
    return this.#taken(taken.sort(bySeq));
  }

  /** Whether jobs wait for any slave for which `isMeant` is true. */
  some(isMeant: (slaveId: string) => boolean): boolean {
    for (const { slaveId } of this.#leases.values()) if (isMeant(slaveId)) return true;
    return false;
  }

  rewrite(change: (piece: Piece) => Piece): void {
    for (const lease of this.#leases.values()) lease.pieces = lease.pieces.map(change);
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const { pieces } of this.#leases.values()) yield* pieces;
  }

  #taken(pieces: Piece[]): Piece[] {
    for (const { span } of pieces) this.count -= span.count;
    return pieces;
  }
}
