import { type Block, JobSpan, type Unsendable } from "../lib/bytes.ts";
import { invariant } from "../lib/errors.ts";
import type { Ranges } from "../lib/ranges.ts";
import type { Charges } from "./health.ts";
import { type Lease, LeaseTable, OrphanedLeases, type Terms } from "./leases.ts";
import {
  BlockMemory,
  bySeq,
  errorBytes,
  isSpent,
  lostWithSession,
  type Piece,
  takenBack,
  untried,
} from "./piece.ts";
import { FreshJobs, Retries, ReturnedJobs } from "./ready_queues.ts";
import type { SlaveSession } from "./sessions.ts";
import {
  countsOf,
  type DeadLetter,
  type History,
  noCounts,
  type RunCounts,
  type RunState,
  type Stranded,
} from "./types.ts";
import type { LeaseName } from "../protocol/messages.ts";

/** A job whose attempts are spent, if its last failure was its own. */
export type SpentJob = Readonly<{
  /** One job; its history is without that last failure. */
  piece: Piece;
  /** The history with it: what the dead letter will say. */
  charged: History;
  /** Where and when it failed last. */
  slaveId: string;
  atMs: number;
  /** Where the counts of `Opening` stood then. */
  mark: Readonly<{ ok: number; bad: number }>;
}>;

/**
 * Jobs whose attempts are spent, but that are not buried yet: it is not clear that the last failure was not the
 * beginning of an outage, or of a slave that fails everything. A state does not show that failure, so that after a
 * restart the job has one more attempt.
 */
class SpentJobs {
  /** By slave, in the order in which they failed there. */
  readonly #bySlave = new Map<string, Map<number, SpentJob>>();
  count = 0;

  add(sentence: SpentJob): void {
    const { slaveId, piece } = sentence;
    let sentences = this.#bySlave.get(slaveId);
    if (sentences === undefined) this.#bySlave.set(slaveId, sentences = new Map());
    sentences.set(piece.span.seq, sentence);
    this.count++;
  }

  /** The slaves at which they failed last. */
  get slaves(): string[] {
    return [...this.#bySlave.keys()];
  }

  /** Takes out those that failed at this slave, from the first one on as long as `isMeant` is true of them. */
  takeOf(slaveId: string, isMeant: (sentence: SpentJob) => boolean = () => true): SpentJob[] {
    const taken: SpentJob[] = [];
    for (const sentence of this.#bySlave.get(slaveId)?.values() ?? []) {
      if (!isMeant(sentence)) break;
      taken.push(sentence);
    }
    for (const sentence of taken) this.#delete(sentence);
    return taken;
  }

  /** Takes out those that `isMeant` is true of. */
  take(isMeant: (sentence: SpentJob) => boolean = () => true): SpentJob[] {
    if (this.count === 0) return [];
    const taken = [...this.#sentences()].filter(isMeant);
    for (const sentence of taken) this.#delete(sentence);
    return taken;
  }

  rewrite(change: (piece: Piece) => Piece): void {
    for (const sentences of this.#bySlave.values()) {
      for (const [seq, sentence] of sentences) {
        sentences.set(seq, { ...sentence, piece: change(sentence.piece) });
      }
    }
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const { piece } of this.#sentences()) yield piece;
  }

  *#sentences(): IterableIterator<SpentJob> {
    for (const sentences of this.#bySlave.values()) yield* sentences.values();
  }

  #delete({ slaveId, piece }: SpentJob): void {
    const sentences = this.#bySlave.get(slaveId)!;
    sentences.delete(piece.span.seq);
    if (sentences.size === 0) this.#bySlave.delete(slaveId);
    this.count--;
  }
}

/**
 * Every job yielded and not settled, and the counts of those that were. A job's life:
 *
 *   yielded          lease             done, skipped
 *  ---------> FRESH ------> LEASED -----------------------> SETTLED
 *                           ^ |  |                             ^
 *                     lease | |  | failed, crashed alone       | buried
 *                           | |  '-------+--------------.      '--- BURYING
 *        lost, released,    | |          |              | no attempts  ^
 *        crashed in company | v          v              v left         | its own fault
 *                         READY <---- DELAYED       CONDEMNED ---------'
 *                           ^ ^  due                    |
 *                           | '---- not its own fault --'
 *                           |  not named in time
 *     an earlier master     |
 *     died, nobody heard: HELD ---> LEASED (its slave came back and named it)
 *
 *   a row that cannot be sent
 *  ---------------------------> FRESH -- its dead letter is durable --> SETTLED
 *
 * - FRESH: yielded, never handed out. Forgotten when the master ends: the source yields it again.
 * - LEASED: a session has the right to run it, in one lease. Also reached from READY by a slave that comes back and
 *   names the lease in which it lost the job.
 * - READY: it was handed out and is to be leased again; in which line, its history says (`Returned`).
 * - DELAYED: it failed; its retry is not due yet.
 * - HELD: it was leased when an earlier master died, or when this one heard nobody any more; its slave may come back
 *   within the reclaim time.
 * - CONDEMNED: its attempts are spent, but the last failure may have been the world's or its slave's (`Condemned`).
 * - BURYING: no attempts are left; its dead letter is not durable yet, so that every state still carries it.
 * - SETTLED: done, skipped or dead: a number in a counter.
 *
 * All but FRESH and SETTLED are stranded in a state: `handedOut = done + skipped + dead + stranded`, always. There
 * is one method for each arrow.
 */
export class Jobs {
  readonly counts: { -readonly [Name in keyof RunCounts]: RunCounts[Name] };
  readonly fresh = new FreshJobs();
  readonly leases = new LeaseTable();
  readonly returned = new ReturnedJobs();
  readonly retries = new Retries();
  readonly orphans = new OrphanedLeases();
  readonly spent = new SpentJobs();
  readonly #burying = new Map<number, Piece>();
  readonly #memory: BlockMemory;
  /** What the state that this master began with had handed out: a dead master may have handed out more. */
  readonly handedOutBefore: number;
  /** Of the jobs handed out before the source started over: those that it has not yielded again yet. */
  #againToCome: number;
  /** The furthest job ever handed out by this master, or row that took its place; null until there is one. */
  lastHandedOut: JobSpan | Unsendable | null = null;

  constructor(state: RunState | null, bytesMax: number) {
    this.counts = countsOf(state ?? noCounts);
    this.handedOutBefore = this.counts.handedOut;
    this.#againToCome = state?.againToCome ?? 0;
    this.#memory = new BlockMemory(bytesMax);
  }

  /** Jobs handed out and not settled. */
  get stranded(): number {
    return this.leases.count + this.returned.count + this.retries.count + this.orphans.count +
      this.spent.count + this.#burying.size;
  }

  /** Jobs yielded and not settled. */
  get unsettled(): number {
    return this.fresh.total + this.stranded;
  }

  get burying(): number {
    return this.#burying.size + this.fresh.sinking;
  }

  /** Encoded bytes of all of them, and of their error text. */
  get bytes(): number {
    return this.#memory.jobBytes;
  }

  /** Memory of the blocks that they keep alive, for tests and measurements. */
  get blockBytes(): number {
    return this.#memory.blockBytes;
  }

  /** Number of the next job that the source yields. */
  get nextSeq(): number {
    return this.counts.handedOut + this.fresh.total;
  }

  /** -> FRESH: the jobs of a block from index `from` on. */
  yielded(block: Block, from: number): void {
    this.#memory.add(this.fresh.push(block, from, this.nextSeq));
  }

  /** -> FRESH: a row that cannot be sent. */
  yieldedRow(row: Unsendable): void {
    this.#memory.jobBytes += bytesOf(row);
    this.fresh.pushRow(row);
  }

  /** FRESH -> nowhere: the source will yield them again, in another start. */
  forgetFresh(): void {
    for (const item of this.fresh.takeAll()) {
      if (item instanceof JobSpan) this.#memory.free(item);
      else this.#memory.jobBytes -= bytesOf(item);
    }
  }

  /** Rows that cannot be sent and before which all is handed out: their dead letters. They stay FRESH until `sunk`. */
  sink(): DeadLetter[] {
    const { handedOut } = this.counts;
    const rows = this.fresh.sink();
    return rows.length === 0
      ? none
      : rows.map((row, at) => ({ seq: handedOut + at, job: null, history: untried, row }));
  }

  /**
   * FRESH -> SETTLED, as handed out and dead in one step: the dead letter of a row is durable. Until then no state says
   * that the row was handed out, so another start yields it again. Returns null if it is none of the rows that wait.
   */
  sunk(seq: number): Unsendable | null {
    if (this.fresh.sinking === 0 || seq !== this.counts.handedOut) return null;
    const row = this.fresh.sunk();
    this.#memory.jobBytes -= bytesOf(row);
    this.#countAgain(1);
    this.counts.handedOut++;
    this.counts.dead++;
    this.lastHandedOut = row;
    return row;
  }

  /**
   * From an earlier master. With an attempt left: -> HELD if it was leased and `waits`, else -> READY. Without: it
   * was on its way to the dead letters, -> BURYING; these letters are returned (they may be on record already).
   */
  restoreAll(stranded: readonly Stranded[], failuresMax: number, waits: boolean): DeadLetter[] {
    const letters: DeadLetter[] = [];
    for (const { span, history, lease } of stranded.flatMap(splitCharged)) {
      const holder = lease && { ...lease, before: history };
      this.#memory.add(span);
      const piece = this.#changed({ span, history: untried, holder, avoid: null }, history);
      if (isSpent(history, failuresMax)) letters.push(this.bury(piece));
      else if (holder !== null && waits) this.orphans.add(piece);
      else this.returned.add(piece, history.attempts.length > 0);
    }
    return letters;
  }

  /** FRESH -> LEASED: at most so many jobs and bytes, at least one job. */
  leaseFresh(name: LeaseName, session: SlaveSession, terms: Terms, jobsMax: number, bytesMax: number): Lease {
    return this.#lease(name, session, terms, this.#handOut(jobsMax, bytesMax));
  }

  /** FRESH -> READY: the first so many count as handed out, so that one behind them can be leased before. */
  passOver(count: number): void {
    for (const piece of count > 0 ? this.#handOut(count, Infinity) : []) this.returned.add(piece, false);
  }

  #handOut(jobsMax: number, bytesMax: number): Piece[] {
    const parts = this.fresh.cut(jobsMax, bytesMax);
    invariant(
      parts[0]?.seq === this.counts.handedOut,
      "Cannot lease fresh jobs: they are not the next in order",
    );
    const last = parts.at(-1)!;
    this.lastHandedOut = last.cut(last.end - 1, last.end);
    this.#countAgain(last.end - this.counts.handedOut);
    this.counts.handedOut = last.end;
    return parts.map((span) => ({ span, history: untried, holder: null, avoid: null }));
  }

  /** Slaves say so too, and may say anything: what is no count any more could not be loaded again. */
  countRepeated(count: number): void {
    this.counts.repeated = Math.min(Number.MAX_SAFE_INTEGER, this.counts.repeated + count);
  }

  /** The source yields again, from the first on, what was handed out before: that many jobs, as far as is known. */
  sourceStartedOver(): void {
    this.#againToCome = this.counts.handedOut - this.counts.handedOutAgain;
  }

  /** Of the jobs that were handed out before the source started over, how many it has not yielded again yet. */
  get againToCome(): number {
    return this.#againToCome;
  }

  #countAgain(count: number): void {
    const again = Math.min(count, this.#againToCome);
    this.#againToCome -= again;
    this.counts.handedOutAgain += again;
    this.countRepeated(again);
  }

  /** READY -> LEASED: pieces that were taken out of `returned`, or for a test out of `takeFailed`. */
  leaseReturned(name: LeaseName, session: SlaveSession, terms: Terms, pieces: readonly Piece[]): Lease {
    for (const { holder, span } of pieces) if (holder !== null) this.#countLost(span.count);
    return this.#lease(name, session, terms, pieces);
  }

  /** Jobs that are ready, and no untried ones. */
  get returnedFailed(): number {
    return this.returned.count + this.fresh.count - this.untried;
  }

  /** Jobs that never failed, and are not leased. */
  get untried(): number {
    let count = this.fresh.count;
    for (const { span } of this.returned.together) count += span.count;
    return count;
  }

  /** Jobs that failed, and are not leased, but those of `isBad`. */
  suspects(isBad: (seq: number) => boolean): number {
    let count = 0;
    for (const line of [this.spent, this.returned.due, this.retries]) {
      for (const { span } of line) if (!isBad(span.seq)) count++;
    }
    return count;
  }

  /**
   * CONDEMNED, READY or DELAYED -> taken, to be leased: a job that failed, but none of `isLeftOut`. Half of them are condemned
   * ones, as long as there are such: they are at stake, but likelier bad than the others. `random` is in [0, 1).
   */
  takeFailed(random: number, isLeftOut: (seq: number) => boolean): Piece | undefined {
    const seqsOf = (line: Iterable<Piece>) =>
      Array.from(line, ({ span }) => span.seq).filter((seq) => !isLeftOut(seq));
    const spent = seqsOf(this.spent);
    const others = [this.returned.due, this.retries].flatMap(seqsOf);
    const isBoth = spent.length > 0 && others.length > 0;
    const open = isBoth ? (random < 0.5 ? spent : others) : [...spent, ...others];
    const chosen = open[Math.floor((isBoth ? 2 * random % 1 : random) * open.length)];
    if (chosen === undefined) return undefined;
    const isMeant = ({ span }: Piece) => span.seq === chosen;
    return this.spent.take(({ piece }) => isMeant(piece))[0]?.piece ??
      this.returned.take(this.returned.due, isMeant)[0] ?? this.retries.take(isMeant)[0];
  }

  /**
   * Jobs that were lost with their slave are handed out again: nobody alive knows whether they had begun. They count,
   * unless `repeated` is what is known for certain, and there may be more.
   */
  #countLost(count: number): void {
    if (!this.counts.repeatedAtLeast) this.countRepeated(count);
  }

  /** READY, HELD or LEASED -> LEASED: back to a slave that still has them. What the loss changed is taken back. */
  leaseReclaimed(name: LeaseName, session: SlaveSession, pieces: readonly Piece[]): Lease {
    const before = pieces.map((piece) => this.#changed(piece, piece.holder?.before ?? piece.history));
    return this.#lease(name, session, { alone: "no", probe: null, leasedMs: -Infinity }, before);
  }

  #lease(name: LeaseName, session: SlaveSession, terms: Terms, pieces: readonly Piece[]): Lease {
    invariant(pieces.length > 0, `Cannot make lease ${name.number}: there are no jobs for it`);
    invariant(this.leases.find(name) === undefined, `Cannot make lease ${name.number}: it is in force`);
    return this.leases.add(name, session.id, session.slaveId, terms, pieces);
  }

  /**
   * LEASED -> SETTLED. Returns how many jobs that were: those the lease does not hold are not counted. Pieces that had
   * failed before are added to `recovered`.
   */
  settle(lease: Lease, jobs: Ranges, how: "done" | "skipped", recovered: Piece[]): number {
    let count = 0;
    for (const piece of this.leases.take(lease, jobs)) {
      count += piece.span.count;
      if (piece.avoid !== null) recovered.push(piece);
      this.#free(piece);
    }
    this.counts[how] += count;
    return count;
  }

  /** LEASED -> READY: handed back untried. Nobody holds them now. */
  handBack(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.returned.add({ ...piece, holder: null }, hasFailed(piece));
  }

  /** LEASED -> READY: it failed at a slave that fails everything, so it is as good as untried. */
  passOn(piece: Piece, avoid: Piece["avoid"]): void {
    this.returned.add({ ...piece, holder: null, avoid }, piece.history.failures > 0);
  }

  /** LEASED -> READY: jobs that may have been running when their worker died, in company. They run again. */
  suspect(piece: Piece, history: History): void {
    this.countRepeated(piece.span.count);
    this.handBack([this.#changed(piece, history)]);
  }

  /** LEASED -> READY: the session was lost. The slave may come back and name them. */
  lose(lease: Lease, countsAsLost: boolean): void {
    for (const piece of this.leases.takeAll(lease)) this.#lose(piece, lease, countsAsLost);
  }

  /** LEASED -> HELD: nobody is heard, so it is not the slave's fault, and no other can have the jobs. */
  hold(lease: Lease): void {
    for (const piece of this.leases.takeAll(lease)) {
      this.orphans.add({ ...piece, holder: holderOf(piece, lease) });
    }
  }

  #lose(piece: Piece, lease: Lease, countsAsLost: boolean): void {
    const holder = holderOf(piece, lease);
    const history = countsAsLost ? lostWithSession(piece.history) : piece.history;
    this.returned.add({ ...this.#changed(piece, history), holder }, hasFailed(piece));
  }

  /** HELD -> READY: their slave did not name them in time. */
  giveUpWaiting(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.returned.add(piece, hasFailed(piece));
  }

  /** LEASED -> DELAYED: one job failed, and has attempts left. `history` says whether it was charged. */
  delay(piece: Piece, history: History, avoid: Piece["avoid"], dueMs: number): void {
    this.retries.add({ ...this.#changed(piece, history), holder: null, avoid }, dueMs);
  }

  /** LEASED -> CONDEMNED: one job failed, and that was its last attempt, if it is to be charged. */
  condemn(piece: Piece, sentence: Omit<SpentJob, "piece">, avoid: Piece["avoid"]): void {
    this.spent.add({ ...sentence, piece: { ...piece, holder: null, avoid } });
  }

  /** CONDEMNED -> READY: the failure was not the job's own. */
  acquit(piece: Piece): void {
    this.returned.add(piece, true);
  }

  /** CONDEMNED or LEASED -> BURYING: it was, or its handler said so. */
  convict(piece: Piece, history: History): DeadLetter {
    return this.bury({ ...this.#changed(piece, history), holder: null });
  }

  /** Charges are taken back, wherever the jobs are: all, or those given. */
  takeBack(charges: Charges | "all"): void {
    const change = (piece: Piece): Piece => {
      const { span, history, holder } = piece;
      const back = charges === "all" ? everything : charges.get(span.seq);
      if (back === undefined || span.count > 1 || history.failures + history.crashes === 0) return piece;
      const changed = this.#changed(piece, takenBack(history, back.failures, back.crashes));
      if (holder === null) return changed;
      return {
        ...changed,
        holder: { ...holder, before: takenBack(holder.before, back.failures, back.crashes) },
      };
    };
    this.#rewrite(change);
  }

  /** DELAYED or failed and READY -> READY: what only failed at this slave is as good as untried. Returns the seqs. */
  exonerate(slaveId: string): number[] {
    const isMeant = ({ avoid, history }: Piece) => avoid?.slaveId === slaveId && history.failures === 0;
    const pieces = [...this.returned.take(this.returned.due, isMeant), ...this.retries.take(isMeant)];
    for (const piece of pieces.sort(bySeq)) this.returned.add(piece, false);
    return pieces.map(({ span }) => span.seq);
  }

  /** LEASED or READY -> BURYING: one job. */
  bury(piece: Piece): DeadLetter {
    const { seq } = piece.span;
    invariant(!this.#burying.has(seq), `Cannot bury job ${seq}: it is being buried`);
    this.#burying.set(seq, piece);
    return { seq, job: piece.span.job(seq).slice(), history: piece.history };
  }

  /** BURYING -> SETTLED: its dead letter is durable. Returns null if it was not being buried. */
  buried(seq: number): History | null {
    const piece = this.#burying.get(seq);
    if (piece === undefined) return null;
    this.#burying.delete(seq);
    this.#free(piece);
    this.counts.dead++;
    return piece.history;
  }

  /** DELAYED -> READY: those whose delay is over. */
  makeDue(nowMs: number): void {
    for (let piece = this.retries.takeDue(nowMs); piece !== undefined; piece = this.retries.takeDue(nowMs)) {
      this.returned.add(piece, true);
    }
  }

  /** What a state must carry, in one synchronous step. */
  strand(): Stranded[] {
    const stranded: Stranded[] = [];
    for (const { name, slaveId, pieces } of this.leases) {
      for (const { span, history } of pieces) stranded.push({ span, history, lease: { name, slaveId } });
    }
    for (
      const pieces of [this.returned, this.retries, this.orphans, this.spent, this.#burying.values()]
    ) {
      for (const { span, history, holder } of pieces) {
        stranded.push({ span, history, lease: holder && { name: holder.name, slaveId: holder.slaveId } });
      }
    }
    return stranded;
  }

  /** Lets go of blocks that are mostly settled, when that is worth it. */
  compact(): void {
    if (!this.#memory.isWasteful) return;
    const change = (piece: Piece) => this.#memory.compact(piece);
    this.#rewrite(change);
    for (const [seq, piece] of this.#burying) this.#burying.set(seq, change(piece));
  }

  #rewrite(change: (piece: Piece) => Piece): void {
    for (const pieces of [this.leases, this.returned, this.retries, this.orphans, this.spent]) {
      pieces.rewrite(change);
    }
  }

  #changed(piece: Piece, history: History): Piece {
    return this.#memory.recount(piece, { ...piece, history });
  }

  #free({ span, history }: Piece): void {
    this.#memory.free(span);
    if (history !== untried) this.#memory.jobBytes -= errorBytes(history);
  }
}

const none: DeadLetter[] = [];

/** What a row takes while it waits, about. */
function bytesOf({ cursor, path, reason }: Unsendable): number {
  return cursor.length + 2 * (path.length + reason.length);
}

const everything = { failures: Infinity, crashes: Infinity };

/** It is retried by itself. */
function hasFailed({ avoid, history }: Piece): boolean {
  return avoid !== null || history.attempts.length > 0;
}

/** Jobs that something was charged to are kept one by one: each has its own error text, and its own letter. */
function splitCharged(stranded: Stranded): readonly Stranded[] {
  const { span, history } = stranded;
  const { failures, crashes, attempts } = history;
  if (span.count === 1 || failures + crashes + attempts.length === 0) return [stranded];
  return Array.from({ length: span.count }, (_, i) => {
    return { ...stranded, span: span.cut(span.seq + i, span.seq + i + 1) };
  });
}

/** Who may name the piece when it comes back. */
function holderOf({ history }: Piece, { name, slaveId }: Lease): NonNullable<Piece["holder"]> {
  return { name, slaveId, before: history };
}
