import { backoffMs } from "../lib/units.ts";
import { type Block, JobSpan, type Unsendable } from "../lib/bytes.ts";
import { Heap, Queue } from "../lib/collections.ts";
import { invariant } from "../lib/errors.ts";
import type { Ranges } from "../lib/ranges.ts";
import { leaseKey } from "./leases.ts";
import { aloneOf, bySeq, divide, isAlike, type Piece } from "./piece.ts";
import type { LeaseName } from "../protocol/messages.ts";

/** Longest retry delay. */
const retryDelayMsMax = 60_000;

/**
 * Jobs that were yielded and never handed out, in source order. If a row is unsendable, the jobs behind it wait until
 * the row's dead letter is durable:
 *
 *     ready jobs | rows being buried | behind: a row, jobs, a row, jobs ...
 *
 * There are ready jobs or rows being buried, never both.
 */
export class FreshJobs {
  #ready = new Queue<JobSpan>();
  /** Jobs that can be handed out now. */
  count = 0;
  /** Rows whose dead letters are being written. */
  readonly #burying = new Queue<Unsendable>();
  #behind = new Queue<JobSpan | Unsendable>();
  #behindCount = 0;

  /** All jobs and rows, those behind a row included. */
  get total(): number {
    return this.count + this.#burying.length + this.#behindCount;
  }

  get rowsBurying(): number {
    return this.#burying.length;
  }

  /** The last yielded job, as a span of one, or the last row; undefined if all were handed out. */
  get last(): JobSpan | Unsendable | undefined {
    const last = this.#behind.last ?? this.#burying.last ?? this.#ready.last;
    return last instanceof JobSpan ? last.cut(last.end - 1, last.end) : last;
  }

  push(block: Block, from: number, seq: number): JobSpan {
    const span = new JobSpan(block, from, block.ends.length - from, seq);
    if (this.#burying.length + this.#behind.length === 0) this.#pushReady(span);
    else {
      this.#behind.push(span);
      this.#behindCount += span.count;
    }
    return span;
  }

  pushRow(row: Unsendable): void {
    this.#behind.push(row);
    this.#behindCount++;
  }

  #pushReady(span: JobSpan): void {
    this.#ready.push(span);
    this.count += span.count;
  }

  /**
   * Takes the rows before which no job is left, to be buried. Returns none while others are being buried: so dead
   * letters become durable in order, however the shell writes them.
   */
  takeRows(): Unsendable[] {
    if (this.count + this.#burying.length > 0 || this.#behind.length === 0) return none;
    const rows: Unsendable[] = [];
    for (let row = this.#behind.first; row !== undefined; row = this.#behind.first) {
      if (row instanceof JobSpan) break;
      this.#behind.shift();
      this.#behindCount--;
      this.#burying.push(row);
      rows.push(row);
    }
    return rows;
  }

  /** The dead letter of the first of those rows is durable. After the last one, the jobs behind it become ready. */
  rowBuried(): Unsendable {
    const row = this.#burying.shift();
    invariant(row !== undefined, "Cannot count a row as dead: none is on its way to the dead letters");
    while (this.#burying.length === 0 && this.#behind.first instanceof JobSpan) {
      const span = this.#behind.first;
      this.#behind.shift();
      this.#behindCount -= span.count;
      this.#pushReady(span);
    }
    return row;
  }

  /** Takes out at most `jobsMax` consecutive jobs and `bytesMax` bytes, but at least one job. There must be one. */
  cut(jobsMax: number, bytesMax: number): JobSpan[] {
    const parts: JobSpan[] = [];
    let jobs = jobsMax;
    let bytes = bytesMax;
    while (jobs > 0 && this.#ready.first !== undefined) {
      const first = this.#ready.first;
      const count = fitting(first, jobs, bytes, parts.length === 0);
      if (count === 0) break;
      parts.push(count === first.count ? first : first.cut(first.seq, first.seq + count));
      this.#ready.shift();
      if (count < first.count) this.#ready.unshift(first.cut(first.seq + count, first.end));
      this.count -= count;
      jobs -= count;
      bytes -= parts.at(-1)!.byteLength;
      if (count < first.count) break;
    }
    return parts;
  }

  /** Takes out all but the rows being buried. */
  takeAll(): (JobSpan | Unsendable)[] {
    const all = [...this.#ready, ...this.#behind];
    this.#ready = new Queue();
    this.#behind = new Queue();
    this.count = this.#behindCount = 0;
    return all;
  }
}

const none: Unsendable[] = [];

/** How many of the first jobs of `span` fit both limits; at least one if the span is the first of its batch. */
function fitting(span: JobSpan, jobsMax: number, bytesMax: number, isFirst: boolean): number {
  const most = Math.min(span.count, jobsMax);
  const { ends } = span.block;
  const limit = (span.from === 0 ? 0 : ends[span.from - 1]!) + bytesMax;
  if (ends[span.from + most - 1]! <= limit) return most;
  let low = 0;
  let high = most;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (ends[span.from + middle - 1]! <= limit) low = middle;
    else high = middle - 1;
  }
  return low === 0 && isFirst ? 1 : low;
}

/** How many due jobs are checked for one that a slave with credit may run. */
const dueLooks = 32;

/** Jobs that were handed out and are ready again, in four queues. */
export class ReturnedJobs {
  /** Lost or released jobs without a failure of their own: leased in batches again. */
  readonly together = new Queue<Piece>();
  /** Failed jobs whose retry delay is over: leased one by one. */
  readonly due = new Queue<Piece>();
  /** Jobs that crashed, or suspects: leased one by one, each alone in a worker. */
  readonly inWorker = new Queue<Piece>();
  /** Jobs in flight at several lost sessions: leased one by one, each alone in a slave. */
  readonly inSlave = new Queue<Piece>();
  /** Jobs in all four queues. */
  count = 0;

  /** `isDue`: the job failed, so it is retried alone. */
  add(piece: Piece, isDue: boolean): void {
    const alone = aloneOf(piece.history);
    if (alone === "in slave") this.inSlave.push(piece);
    else if (alone === "in worker") this.inWorker.push(piece);
    else if (isDue) this.due.push(piece);
    else this.together.push(piece);
    this.count += piece.span.count;
  }

  /** Takes one job out of a queue, which must not be empty. */
  takeOne(queue: Queue<Piece>): Piece {
    const piece = queue.shift()!;
    const { span } = piece;
    this.count--;
    if (span.count === 1) return piece;
    queue.unshift({ ...piece, span: span.cut(span.seq + 1, span.end) });
    return { ...piece, span: span.cut(span.seq, span.seq + 1) };
  }

  /** Takes out the pieces of a queue of single jobs for which `isMeant` is true. */
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

  /** Takes the job at index `at` of all jobs in `together`; it must exist. */
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

  /** Takes the first of the due jobs for which `mayGo` is true; checks only some. */
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

  /** Takes consecutive jobs with like histories from the front of `together`, which must not be empty. */
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

  /**
   * Keys of this slave's leases that any ready job remembers. The slave may name many more, and a search in all queues
   * costs much.
   */
  leasesOf(slaveId: string): ReadonlySet<string> {
    const keys = new Set<string>();
    for (const { holder } of this) if (holder?.slaveId === slaveId) keys.add(leaseKey(holder.name));
    return keys;
  }

  /** Takes out the named jobs that remember this lease of this slave. */
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

type Retry = Readonly<{ dueMs: number; number: number; piece: Piece }>;

/** Failed jobs that wait for their retry delay to end. */
export class Retries {
  readonly #heap = new Heap<Retry>((a, b) =>
    a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number)
  );
  #number = 0;

  get count(): number {
    return this.#heap.length;
  }

  /** When the next retry is due; Infinity if there is none. */
  get nextMs(): number {
    return this.#heap.first?.dueMs ?? Infinity;
  }

  add(piece: Piece, dueMs: number): void {
    this.#heap.push({ dueMs, number: this.#number++, piece });
  }

  /** Takes out one retry that is due; undefined if there is none. */
  takeDue(nowMs: number): Piece | undefined {
    return this.nextMs <= nowMs ? this.#heap.pop()!.piece : undefined;
  }

  /** Takes out the retries for which `isMeant` is true. */
  take(isMeant: (piece: Piece) => boolean): Piece[] {
    const all = [...this.#heap];
    const taken = all.filter(({ piece }) => isMeant(piece));
    if (taken.length === 0) return [];
    while (this.#heap.pop() !== undefined);
    for (const retry of all) if (!isMeant(retry.piece)) this.#heap.push(retry);
    return taken.map(({ piece }) => piece);
  }

  rewrite(change: (piece: Piece) => Piece): void {
    this.#heap.rewrite((retry) => ({ ...retry, piece: change(retry.piece) }));
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const { piece } of this.#heap) yield piece;
  }
}

/**
 * Retry delay with full jitter, in whole ms: `random` (in [0, 1)) times a bound that doubles with each attempt, up to a
 * minute.
 */
export function retryDelayMs(firstMs: number, attempts: number, random: number): number {
  return Math.floor(random * backoffMs(attempts - 1, firstMs, retryDelayMsMax));
}
