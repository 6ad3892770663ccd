import { Queue } from "../base/queue.ts";
import { fitting } from "./fresh.ts";
import { aloneOf, isAlike } from "./history.ts";
import { leaseKey } from "./lease_table.ts";
import { bySeq, divide, type Piece } from "./piece.ts";
import type { Ranges } from "../base/ranges.ts";
import type { LeaseName } from "./types.ts";

/** How many failed jobs are looked at for one that a slave with room may have. */
const dueLooks = 32;

/** Jobs that were handed out and are ready again, in four lines. */
export class Returned {
  /** Lost or released, and never failed, or not by their own doing: leased in batches again. */
  readonly together = new Queue<Piece>();
  /** Failed, and their delay is over: leased one by one. */
  readonly due = new Queue<Piece>();
  /** Crashed, or suspects: leased one by one, each alone in a worker. */
  readonly inWorker = new Queue<Piece>();
  /** In flight at lost sessions: leased one by one, each alone in a slave. */
  readonly inSlave = new Queue<Piece>();
  /** How many jobs. */
  count = 0;

  /** `isDue`: it failed, so that it is to be retried by itself. */
  add(piece: Piece, isDue: boolean): void {
    const alone = aloneOf(piece.history);
    if (alone === "in slave") this.inSlave.push(piece);
    else if (alone === "in worker") this.inWorker.push(piece);
    else if (isDue) this.due.push(piece);
    else this.together.push(piece);
    this.count += piece.span.count;
  }

  /** Takes one job out of a line that is not empty. */
  takeOne(queue: Queue<Piece>): Piece {
    const piece = queue.shift()!;
    const { span } = piece;
    this.count--;
    if (span.count === 1) return piece;
    queue.unshift({ ...piece, span: span.cut(span.seq + 1, span.end) });
    return { ...piece, span: span.cut(span.seq, span.seq + 1) };
  }

  /** Takes out those of a line of single jobs that `isMeant` is true of. */
  take(queue: Queue<Piece>, isMeant: (piece: Piece) => boolean): Piece[] {
    const taken: Piece[] = [];
    queue.rewrite((piece) => {
      if (!isMeant(piece)) return piece;
      taken.push(piece);
      return null;
    });
    for (const { span } of taken) this.count -= span.count;
    return taken;
  }

  /** Takes the `at`th of the jobs that are to be leased together; there must be so many. */
  takeTogether(at: number): Piece {
    const pieces = [...this.together];
    let before = 0;
    const index = pieces.findIndex(({ span }) => (before += span.count) > at);
    const piece = pieces[index]!;
    const seq = piece.span.end - (before - at);
    pieces.splice(index, 1, ...divide([piece], [seq, seq + 1]).rest);
    refill(this.together, pieces);
    this.count--;
    return { ...piece, span: piece.span.cut(seq, seq + 1) };
  }

  /** Takes the first job of the line of failed ones, among some, that a slave with room may have. */
  takeDue(mayGo: (piece: Piece) => boolean): Piece | undefined {
    const skipped: Piece[] = [];
    let found: Piece | undefined;
    while (this.due.length > 0 && skipped.length < dueLooks) {
      const piece = this.due.shift()!;
      if (mayGo(piece)) {
        found = piece;
        break;
      }
      skipped.push(piece);
    }
    for (const piece of skipped.reverse()) this.due.unshift(piece);
    if (found === undefined) return undefined;
    this.due.unshift(found);
    return this.takeOne(this.due);
  }

  /** Takes consecutive jobs of like histories from the front of `together`, which must not be empty. */
  cut(jobsMax: number, bytesMax: number): Piece[] {
    const pieces: Piece[] = [];
    let jobs = jobsMax;
    let bytes = bytesMax;
    while (jobs > 0) {
      const piece = this.together.first;
      const previous = pieces.at(-1);
      if (piece === undefined || (previous !== undefined && !follows(previous, piece))) break;
      const count = fitting(piece.span, jobs, bytes, previous === undefined);
      if (count === 0) break;
      const taken = this.#takeFirst(piece, count);
      pieces.push(taken);
      jobs -= count;
      bytes -= taken.span.byteLength;
    }
    this.count -= jobsMax - jobs;
    return pieces;
  }

  #takeFirst(piece: Piece, count: number): Piece {
    const { span } = piece;
    this.together.shift();
    if (count === span.count) return piece;
    this.together.unshift({ ...piece, span: span.cut(span.seq + count, span.end) });
    return { ...piece, span: span.cut(span.seq, span.seq + count) };
  }

  /** The leases of this slave that any of the jobs remember: it may name many more, and each is looked for in all lines. */
  leasesOf(slaveId: string): ReadonlySet<string> {
    const keys = new Set<string>();
    for (const { holder } of this) if (holder?.slaveId === slaveId) keys.add(leaseKey(holder.name));
    return keys;
  }

  /** Takes out the jobs that remember this lease of this slave, of those named. */
  reclaim(name: LeaseName, slaveId: string, jobs: Ranges): Piece[] {
    const reclaimed: Piece[] = [];
    for (const queue of this.#lines()) {
      const pieces = [...queue];
      if (!pieces.some((piece) => isHeldBy(piece, name, slaveId))) continue;
      const kept: Piece[] = [];
      for (const piece of pieces) {
        if (!isHeldBy(piece, name, slaveId)) {
          kept.push(piece);
          continue;
        }
        const { named, rest } = divide([piece], jobs);
        reclaimed.push(...named);
        kept.push(...rest);
      }
      refill(queue, kept);
    }
    for (const { span } of reclaimed) this.count -= span.count;
    return reclaimed.sort(bySeq);
  }

  rewrite(change: (piece: Piece) => Piece): void {
    for (const queue of this.#lines()) queue.rewrite(change);
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const queue of this.#lines()) yield* queue;
  }

  #lines(): Queue<Piece>[] {
    return [this.together, this.due, this.inWorker, this.inSlave];
  }
}

function follows(previous: Piece, piece: Piece): boolean {
  return previous.span.end === piece.span.seq && isAlike(previous.history, piece.history);
}

function isHeldBy({ holder }: Piece, name: LeaseName, slaveId: string): boolean {
  return holder !== null && holder.slaveId === slaveId && holder.name.number === name.number &&
    holder.name.masterId === name.masterId;
}

function refill(queue: Queue<Piece>, pieces: readonly Piece[]): void {
  while (queue.shift() !== undefined);
  for (const piece of pieces) queue.push(piece);
}
