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

/** A job whose attempts are spent, if its last failure was its own fault. */
export type SpentJob = Readonly<{
  /** One job. Its history does not include the last failure. */
  piece: Piece;
  /** The history with the last failure, as the dead letter will show it. */
  charged: History;
  /** Slave and time of the last failure. */
  slaveId: string;
  atMs: number;
  /** The counts of `Opening` at that time. */
  mark: Readonly<{ ok: number; bad: number }>;
}>;

/**
 * Jobs whose attempts are spent but that are not buried yet: the last failure may have been the start of an outage, or
 * the fault of a sick slave. A saved state leaves that failure out, so the job gets one more attempt after a restart.
 */
class SpentJobs {
  /** By the slave of the last failure, then by seq, in order of failure. */
  readonly #bySlave = new Map<string, Map<number, SpentJob>>();
  count = 0;

  add(spentJob: SpentJob): void {
    const { slaveId, piece } = spentJob;
    let spentJobs = this.#bySlave.get(slaveId);
    if (spentJobs === undefined) this.#bySlave.set(slaveId, spentJobs = new Map());
    spentJobs.set(piece.span.seq, spentJob);
    this.count++;
  }

  /** The slaves where the jobs failed last. */
  get slaves(): string[] {
    return [...this.#bySlave.keys()];
  }

  /**
   * Takes out the jobs that failed last at this slave: the oldest ones, up to the first for which `isMeant` is false.
   */
  takeOf(slaveId: string, isMeant: (spentJob: SpentJob) => boolean = () => true): SpentJob[] {
    const taken: SpentJob[] = [];
    for (const spentJob of this.#bySlave.get(slaveId)?.values() ?? []) {
      if (!isMeant(spentJob)) break;
      taken.push(spentJob);
    }
    for (const spentJob of taken) this.#delete(spentJob);
    return taken;
  }

  /** Takes out the jobs for which `isMeant` is true. */
  take(isMeant: (spentJob: SpentJob) => boolean = () => true): SpentJob[] {
    if (this.count === 0) return [];
    const taken = [...this.#spentJobs()].filter(isMeant);
    for (const spentJob of taken) this.#delete(spentJob);
    return taken;
  }

  rewrite(change: (piece: Piece) => Piece): void {
    for (const spentJobs of this.#bySlave.values()) {
      for (const [seq, spentJob] of spentJobs) {
        spentJobs.set(seq, { ...spentJob, piece: change(spentJob.piece) });
      }
    }
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const { piece } of this.#spentJobs()) yield piece;
  }

  *#spentJobs(): IterableIterator<SpentJob> {
    for (const spentJobs of this.#bySlave.values()) yield* spentJobs.values();
  }

  #delete({ slaveId, piece }: SpentJob): void {
    const spentJobs = this.#bySlave.get(slaveId)!;
    spentJobs.delete(piece.span.seq);
    if (spentJobs.size === 0) this.#bySlave.delete(slaveId);
    this.count--;
  }
}

/**
 * Every job yielded and not settled, and the counts of the settled ones. A job's life:
 *
 *   yielded          lease             done, skipped
 *  ---------> FRESH ------> LEASED -----------------------> SETTLED
 *                           ^ |  |                             ^
 *                     lease | |  | failed, crashed alone       | buried
 *                           | |  '-------+--------------.      '--- BURYING
 *        lost, released,    | |          |              | no attempts  ^
 *        crashed in company | v          v              v left         | its own fault
 *                         READY <---- DELAYED       SPENT   -----------'
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
 * - LEASED: one session has the right to run it, under one lease. A slave that reconnects and names the lease under
 *   which it lost the job moves it here from READY.
 * - READY: handed out before and to be leased again; its history decides in which queue it waits (`ReturnedJobs`).
 * - DELAYED: it failed; its retry is not due yet.
 * - HELD: it was leased when an earlier master died, or when this master lost contact with all slaves; its slave may
 *   come back within the reclaim time.
 * - SPENT: its attempts are spent, but the last failure may have been the fault of an outage or of its slave
 *   (`SpentJobs`).
 * - BURYING: no attempts are left. Its dead letter is not durable yet, so every saved state still contains the job.
 * - SETTLED: done, skipped or dead; only a count remains.
 *
 * All but FRESH and SETTLED are stranded in a saved state: `handedOut = done + skipped + dead + stranded`, always.
 * There is one method for each arrow.
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
  /**
   * Jobs handed out according to the state that this master loaded. A dead master may have handed out more since its
   * last save.
   */
  readonly handedOutBefore: number;
  /** Jobs handed out before the source started over that it has not yielded again yet. */
  #againToCome: number;
  /** The last job in source order that this master handed out, or the row in its place; null until there is one. */
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
    return this.#burying.size + this.fresh.rowsBurying;
  }

  /** Encoded bytes of all unsettled jobs and of their error text. */
  get bytes(): number {
    return this.#memory.jobBytes;
  }

  /** Bytes of the blocks that unsettled jobs keep in memory, for tests and measurements. */
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

  /** -> FRESH: an unsendable row. */
  yieldedRow(row: Unsendable): void {
    this.#memory.jobBytes += bytesOf(row);
    this.fresh.pushRow(row);
  }

  /** FRESH -> forgotten: the source yields them again in a later start. */
  forgetFresh(): void {
    for (const item of this.fresh.takeAll()) {
      if (item instanceof JobSpan) this.#memory.free(item);
      else this.#memory.jobBytes -= bytesOf(item);
    }
  }

  /**
   * Takes the unsendable rows before which every job is handed out, and returns their dead letters. The rows stay FRESH
   * until `rowBuried`.
   */
  buryRows(): DeadLetter[] {
    const { handedOut } = this.counts;
    const rows = this.fresh.takeRows();
    return rows.length === 0
      ? none
      : rows.map((row, at) => ({ seq: handedOut + at, job: null, history: untried, row }));
  }

  /**
   * FRESH -> SETTLED: a row's dead letter is durable, so the row counts as handed out and dead in one step. Until then
   * no state counts the row as handed out, so another start yields it again. Returns null if `seq` is not the next of
   * those rows.
   */
  rowBuried(seq: number): Unsendable | null {
    if (this.fresh.rowsBurying === 0 || seq !== this.counts.handedOut) return null;
    const row = this.fresh.rowBuried();
    this.#memory.jobBytes -= bytesOf(row);
    this.#countAgain(1);
    this.counts.handedOut++;
    this.counts.dead++;
    this.lastHandedOut = row;
    return row;
  }

  /**
   * Restores the jobs of an earlier master. With attempts left: -> HELD if leased and `waits`, otherwise -> READY.
   * Without: -> BURYING. Returns the letters of the latter, which may be on record already.
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

  /** FRESH -> LEASED: at most `jobsMax` jobs and `bytesMax` encoded bytes, but at least one job. */
  leaseFresh(name: LeaseName, session: SlaveSession, terms: Terms, jobsMax: number, bytesMax: number): Lease {
    return this.#lease(name, session, terms, this.#handOut(jobsMax, bytesMax));
  }

  /**
   * FRESH -> READY: the first `count` jobs count as handed out, so that the last of them can be leased before the
   * others.
   */
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

  /** Capped, because slaves report such counts unchecked: a state with an unsafe integer could not be loaded again. */
  countRepeated(count: number): void {
    this.counts.repeated = Math.min(Number.MAX_SAFE_INTEGER, this.counts.repeated + count);
  }

  /** The source yields from its first job again. As far as is known, it will repeat every job handed out. */
  sourceStartedOver(): void {
    this.#againToCome = this.counts.handedOut - this.counts.handedOutAgain;
  }

  /** Jobs handed out before the source started over that it has not yielded again yet. */
  get againToCome(): number {
    return this.#againToCome;
  }

  #countAgain(count: number): void {
    const again = Math.min(count, this.#againToCome);
    this.#againToCome -= again;
    this.counts.handedOutAgain += again;
    this.countRepeated(again);
  }

  /** READY -> LEASED: pieces taken out of `returned`, or by `takeFailed` for a probe. */
  leaseReturned(name: LeaseName, session: SlaveSession, terms: Terms, pieces: readonly Piece[]): Lease {
    for (const { holder, span } of pieces) if (holder !== null) this.#countLost(span.count);
    return this.#lease(name, session, terms, pieces);
  }

  /** Ready jobs that have failed before. */
  get returnedFailed(): number {
    return this.returned.count + this.fresh.count - this.untried;
  }

  /** Jobs that never failed and are not leased. */
  get untried(): number {
    let count = this.fresh.count;
    for (const { span } of this.returned.together) count += span.count;
    return count;
  }

  /** Jobs that failed and are not leased, without those for which `isBad` is true. */
  suspects(isBad: (seq: number) => boolean): number {
    let count = 0;
    for (const line of [this.spent, this.returned.due, this.retries]) {
      for (const { span } of line) if (!isBad(span.seq)) count++;
    }
    return count;
  }

  /**
   * SPENT, READY or DELAYED -> taken, to be leased: draws a failed job for which `isLeftOut` is false. Half of the
   * draws are spent jobs, while there are any: the verdict decides about them, but they are likelier bad than the
   * others. `random` is in [0, 1).
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
   * Counts lost jobs that are handed out again: they may have started. Once `repeatedAtLeast` is set, `repeated` counts
   * only what is certain, so they do not count.
   */
  #countLost(count: number): void {
    if (!this.counts.repeatedAtLeast) this.countRepeated(count);
  }

  /**
   * READY, HELD or LEASED -> LEASED: the jobs go back to a slave that still has them. The loss is undone in their
   * histories.
   */
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
   * LEASED -> SETTLED. Returns how many jobs were settled; jobs that the lease does not hold are ignored. Pieces that
   * had failed before are added to `recovered`.
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

  /** LEASED -> READY: released untried. No slave holds them now. */
  handBack(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.returned.add({ ...piece, holder: null }, hasFailed(piece));
  }

  /** LEASED -> READY: the job failed at a quarantined slave, so the attempt does not count. */
  passOn(piece: Piece, avoid: Piece["avoid"]): void {
    this.returned.add({ ...piece, holder: null, avoid }, piece.history.failures > 0);
  }

  /** LEASED -> READY: suspects of a worker crash, which run again. */
  retrySuspects(piece: Piece, history: History): void {
    this.countRepeated(piece.span.count);
    this.handBack([this.#changed(piece, history)]);
  }

  /** LEASED -> READY: the session was lost. The slave may come back and reclaim the jobs. */
  lose(lease: Lease, countsAsLost: boolean): void {
    for (const piece of this.leases.takeAll(lease)) this.#lose(piece, lease, countsAsLost);
  }

  /** LEASED -> HELD: all slaves fell silent, so this slave is not to blame, and no other could take the jobs. */
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

  /** HELD -> READY: the slave did not reclaim them in time. */
  giveUpWaiting(pieces: readonly Piece[]): void {
    for (const piece of pieces) this.returned.add(piece, hasFailed(piece));
  }

  /**
   * LEASED -> DELAYED: one job failed and has attempts left. `history` already includes the failure if it was charged.
   */
  delay(piece: Piece, history: History, avoid: Piece["avoid"], dueMs: number): void {
    this.retries.add({ ...this.#changed(piece, history), holder: null, avoid }, dueMs);
  }

  /** LEASED -> SPENT: one job failed, and has no attempt left if that failure is charged. */
  holdSpent(piece: Piece, spentJob: Omit<SpentJob, "piece">, avoid: Piece["avoid"]): void {
    this.spent.add({ ...spentJob, piece: { ...piece, holder: null, avoid } });
  }

  /** SPENT -> READY: the last failure was not the job's fault. */
  retrySpent(piece: Piece): void {
    this.returned.add(piece, true);
  }

  /** SPENT or LEASED -> BURYING: the failure was the job's fault, or its handler gave it up. */
  buryFailed(piece: Piece, history: History): DeadLetter {
    return this.bury({ ...this.#changed(piece, history), holder: null });
  }

  /** Takes charges back, whatever state the jobs are in: all charges, or those given. */
  takeBackCharges(charges: Charges | "all"): void {
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

  /**
   * DELAYED, or READY after a failure -> READY: jobs with no charge left that failed last at this slave become untried
   * again. Returns their seqs.
   */
  clearFailedAt(slaveId: string): number[] {
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

  /** BURYING -> SETTLED: the job's dead letter is durable. Returns null if the job was not being buried. */
  buried(seq: number): History | null {
    const piece = this.#burying.get(seq);
    if (piece === undefined) return null;
    this.#burying.delete(seq);
    this.#free(piece);
    this.counts.dead++;
    return piece.history;
  }

  /** DELAYED -> READY: retries whose delay is over. */
  makeDue(nowMs: number): void {
    for (let piece = this.retries.takeDue(nowMs); piece !== undefined; piece = this.retries.takeDue(nowMs)) {
      this.returned.add(piece, true);
    }
  }

  /** The jobs that a saved state must contain, collected synchronously. */
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

  /** Copies live jobs out of blocks that are mostly settled, if that frees enough memory. */
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

/** Approximate memory of a waiting row, in bytes. */
function bytesOf({ cursor, path, reason }: Unsendable): number {
  return cursor.length + 2 * (path.length + reason.length);
}

const everything = { failures: Infinity, crashes: Infinity };

/** Such a job is retried alone, not in a batch. */
function hasFailed({ avoid, history }: Piece): boolean {
  return avoid !== null || history.attempts.length > 0;
}

/** Splits jobs with charges into single ones: each has its own error text and its own dead letter. */
function splitCharged(stranded: Stranded): readonly Stranded[] {
  const { span, history } = stranded;
  const { failures, crashes, attempts } = history;
  if (span.count === 1 || failures + crashes + attempts.length === 0) return [stranded];
  return Array.from({ length: span.count }, (_, i) => {
    return { ...stranded, span: span.cut(span.seq + i, span.seq + i + 1) };
  });
}

/** The lease by which the slave may reclaim the piece when it comes back. */
function holderOf({ history }: Piece, { name, slaveId }: Lease): NonNullable<Piece["holder"]> {
  return { name, slaveId, before: history };
}
