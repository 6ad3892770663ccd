import type { Ranges } from "../base/ranges.ts";
import { leaseKey } from "./lease_table.ts";
import { bySeq, divide, type Piece } from "./piece.ts";
import type { LeaseName } from "./types.ts";

/** Jobs that were leased when an earlier master died: they wait for their slave to come back and name them. */
export class Reclaims {
  #leases = new Map<string, { slaveId: string; pieces: Piece[] }>();
  count = 0;

  add(piece: Piece): void {
    const { name, slaveId } = piece.holder!;
    const lease = this.#leases.get(leaseKey(name));
    if (lease === undefined) this.#leases.set(leaseKey(name), { slaveId, pieces: [piece] });
    else lease.pieces.push(piece);
    this.count += piece.span.count;
  }

  /** Takes out those of the named jobs that wait for this lease of this slave. */
  take(name: LeaseName, slaveId: string, jobs: Ranges): Piece[] {
    const lease = this.#leases.get(leaseKey(name));
    if (lease === undefined || lease.slaveId !== slaveId) return [];
    const { named, rest } = divide(lease.pieces.sort(bySeq), jobs);
    lease.pieces = rest;
    if (rest.length === 0) this.#leases.delete(leaseKey(name));
    return this.#taken(named);
  }

  /** Takes out all that wait for the slaves that `isMeant` is true of. */
  takeAll(isMeant: (slaveId: string) => boolean): Piece[] {
    const taken: Piece[] = [];
    for (const [key, lease] of [...this.#leases]) {
      if (!isMeant(lease.slaveId)) continue;
      this.#leases.delete(key);
      taken.push(...lease.pieces);
    }
    return this.#taken(taken.sort(bySeq));
  }

  /** Whether any wait for slaves that `isMeant` is true of. */
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
