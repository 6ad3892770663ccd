import { leaseKey } from "../../src/core/leases.ts";
import type { Alone, DeadLetter, History, Outcome, RunState, SessionId } from "../../src/core/types.ts";
import type { LeaseName } from "../../src/protocol/messages.ts";
import { silentHeartbeatsMax } from "../../src/lib/limits.ts";
import { failureWindow } from "../../src/core/failures.ts";
import { countOf, type Ranges } from "../../src/lib/ranges.ts";
import { failuresMax, heartbeatMs } from "./plan.ts";
import { idOfCursor, idOfJob } from "./wire.ts";

/** An invariant does not hold. */
export class Violation extends Error {}

function check(condition: boolean, invariant: string, message: () => string): asserts condition {
  if (!condition) throw new Violation(`${invariant}: ${message()}`);
}

/** Who may run a job. */
type Right = { session: SessionId; lease: string; alone: Alone };

/** Of one job, seen from outside: what its handlers did. */
type Record = { begun: number; threw: number; deaths: number; isHandled: boolean; isFatal: boolean };

/** Watches from outside and holds the run to its promises. Ids of jobs are their seqs. */
export class Checks {
  /** Whether the job of this number cannot be sent. */
  readonly #isRow: (id: number) => boolean;
  /** Whether its handler never fails by itself. */
  readonly #isGood: (id: number) => boolean;
  /** Most good jobs that may become dead letters for what the world did. */
  readonly #burnedMax: number;
  #burned = 0;
  /** Of the master that lives now: jobs that succeeded, or failed for the first time. They fill its window of attempts. */
  #told = 0;
  readonly #failed = new Set<number>();
  /** All of these, below the second. */
  readonly #rows: number[] = [];
  #rowsTo = 0;
  readonly #records: Record[] = [];
  /** What the dead-letter file holds. */
  readonly dead = new Map<number, DeadLetter>();
  /** Which session each leased job is at, as the master's effects say. */
  readonly #leasedTo = new Map<number, Right>();
  #durable: RunState | null = null;
  readonly #turns = { atMs: 0, count: 0 };
  /** Every job that was ever leased, in the life of any master. */
  readonly #everLeased = new Set<number>();
  /** How many second runs the faults so far may have caused. */
  #repeatsAllowed = 0;

  constructor(
    { isRow, isGood, burnedMax }: Readonly<
      { isRow: (id: number) => boolean; isGood: (id: number) => boolean; burnedMax: number }
    >,
  ) {
    this.#isRow = isRow;
    this.#isGood = isGood;
    this.#burnedMax = burnedMax;
  }

  record(id: number): Record {
    return this.#records[id] ??= { begun: 0, threw: 0, deaths: 0, isHandled: false, isFatal: false };
  }

  allowRepeats(count: number): void {
    this.#repeatsAllowed += count;
  }

  /** I4: a job is leased to one session at a time. */
  leased(session: SessionId, name: LeaseName, seq: number, alone: Alone): void {
    const other = this.#leasedTo.get(seq);
    check(
      other === undefined,
      "I4",
      () => `job ${seq} is leased to session ${session}, but session ${other?.session} has it`,
    );
    this.#leasedTo.set(seq, { session, lease: leaseKey(name), alone });
    this.#everLeased.add(seq);
    // No row before it is passed over before it is on record.
    this.#allBefore(seq, `job ${seq} is leased`);
  }

  #allBefore(seq: number, what: string): void {
    for (; this.#rowsTo < seq; this.#rowsTo++) if (this.#isRow(this.#rowsTo)) this.#rows.push(this.#rowsTo);
    for (const row of this.#rows) {
      if (row >= seq) return;
      check(this.dead.has(row), "I13", () => `${what}, but row ${row} before it is not buried`);
    }
  }

  /** A slave never runs a job beside itself. */
  runsOnce(id: number, isRunning: boolean): void {
    check(!isRunning, "I4", () => `job ${id} is begun at a slave where it still runs`);
  }

  /** An answer of this session names the job. */
  unleased(session: SessionId, name: LeaseName, seq: number): void {
    const right = this.#leasedTo.get(seq);
    if (right?.session === session && right.lease === leaseKey(name)) this.#leasedTo.delete(seq);
  }

  /** The master hears how attempts ended. */
  told(succeeded: readonly Ranges[], failed: Iterable<number>): void {
    for (const ranges of succeeded) this.#told += countOf(ranges);
    for (const seq of failed) {
      if (!this.#failed.has(seq)) this.#told++;
      this.#failed.add(seq);
    }
  }

  isLeasedTo(session: SessionId, name: LeaseName): boolean {
    for (const right of this.#leasedTo.values()) {
      if (right.session === session && right.lease === leaseKey(name)) return true;
    }
    return false;
  }

  /** The session is over. Returns how many jobs it had. */
  sessionEnded(session: SessionId, isClosed: boolean): number {
    const rights = [...this.#leasedTo].filter(([, right]) => right.session === session);
    for (const [seq, { alone }] of rights) {
      this.#leasedTo.delete(seq);
      // Alone in its slave: a closed connection is the death of its process.
      if (isClosed && alone === "in slave") this.record(seq).deaths++;
    }
    return rights.length;
  }

  /** I12: at one instant a master does what there is to do, and does not turn. */
  turned(nowMs: number): void {
    const turns = this.#turns;
    turns.count = turns.atMs === nowMs ? turns.count + 1 : 0;
    turns.atMs = nowMs;
    check(turns.count < 1_000, "I12", () => `the master turns for ever at ${nowMs} ms`);
  }

  /** C8: nobody is given up whose bytes were waiting in the master's socket. */
  silent(session: SessionId, forMs: number): void {
    const limitMs = silentHeartbeatsMax * heartbeatMs;
    // sums of fractions of a millisecond are not exact
    check(forMs + 1e-6 >= limitMs, "C8", () => `session ${session} is given up after ${forMs} ms of silence`);
  }

  /** The master is over: whatever it did since its last durable state may be done again. */
  masterEnded(handedOut: number, settled: number): void {
    const before = this.#durable ?? { handedOut: 0, done: 0, skipped: 0, dead: 0 };
    this.allowRepeats(this.#leasedTo.size + handedOut - before.handedOut + settled - settledOf(before));
    this.#leasedTo.clear();
    this.#told = 0;
    this.#failed.clear();
  }

  /** I8 */
  bounded(yielded: number, jobsMax: number): void {
    check(
      yielded <= jobsMax,
      "I8",
      () => `${yielded} jobs are yielded and not settled, more than ${jobsMax}`,
    );
  }

  /** A state became durable: I5, I6, I9, I11. */
  saved(state: RunState): void {
    const stranded = new Set<number>();
    for (const { span, history } of state.stranded) {
      for (let seq = span.seq; seq < span.end; seq++) {
        check(!stranded.has(seq), "I4", () => `job ${seq} is stranded twice`);
        check(
          idOfJob(span.job(seq)) === seq,
          "I1",
          () => `job ${seq} has the bytes of job ${idOfJob(span.job(seq))}`,
        );
        stranded.add(seq);
        this.#charged(seq, history);
      }
    }
    for (let seq = 0; seq < state.handedOut; seq++) {
      const isSettled = this.record(seq).isHandled || this.dead.has(seq);
      check(
        stranded.has(seq) || isSettled,
        "I5, I6",
        () => `job ${seq} is settled in a state, but neither handled nor dead`,
      );
    }
    this.#advanced(state);
    this.#durable = state;
  }

  #advanced(state: RunState): void {
    check(
      state.handedOut === settledOf(state) + state.stranded.reduce((sum, { span }) => sum + span.count, 0),
      "sum",
      () => "the counters do not add up",
    );
    const before = this.#durable;
    if (before === null) return;
    check(state.handedOut >= before.handedOut, "I9", () => "handedOut went back");
    check(settledOf(state) >= settledOf(before), "I9", () => "settled went back");
  }

  /** I11: charged only for attempts that began and failed. */
  #charged(id: number, history: History): void {
    const { threw, deaths } = this.record(id);
    check(
      history.failures <= threw,
      "I11",
      () => `job ${id} is charged ${history.failures} failures of ${threw}`,
    );
    const crashes = history.crashes + history.crashesInCompany;
    check(crashes <= deaths, "I11", () => `job ${id} is charged ${crashes} crashes of ${deaths}`);
  }

  /**
   * I14: the master has found a job to be bad. Whatever the world does, no good one is among them: once a whole window of
   * attempts can tell, before which each job fails as often as it may.
   */
  spent({ seq, job, history }: DeadLetter): void {
    if (job === null || !this.#isGood(seq) || history.crashes > 0 || this.#told < failureWindow) return;
    this.#burned++;
    check(this.#burned <= this.#burnedMax, "I14", () => {
      return `job ${seq} is good, but dies of the world's ${history.failures} failures, the ${this.#burned}th one`;
    });
  }

  /** A dead letter became durable. */
  buried(letter: DeadLetter): void {
    const { seq, job, history } = letter;
    if (job === null) return this.#buriedRow(letter);
    check(
      idOfJob(job) === seq,
      "I1",
      () => `the dead letter of job ${seq} has the bytes of job ${idOfJob(job)}`,
    );
    this.#charged(seq, history);
    const isSpent = history.failures >= failuresMax || history.crashes >= 3 || this.record(seq).isFatal;
    check(isSpent, "I11", () => `job ${seq} is dead, but has attempts left`);
    this.dead.set(seq, letter);
  }

  /** I13: a row that cannot be sent is buried in its turn, and once in all that is durable. */
  #buriedRow(letter: DeadLetter & { job: null }): void {
    const { seq, row } = letter;
    check(idOfCursor(row.cursor) === seq, "I1", () => `row ${idOfCursor(row.cursor)} is buried as ${seq}`);
    check(!this.#everLeased.has(seq), "I13", () => `row ${seq} was leased`);
    check(
      seq >= (this.#durable?.handedOut ?? 0),
      "I13",
      () => `row ${seq} is buried, but a durable state has it as dead already`,
    );
    this.#allBefore(seq, `row ${seq} is buried`);
    this.dead.set(seq, letter);
  }

  /** I1: what is on its way to the dead letters is not settled, and a full disk may keep it from getting there. */
  ended(outcome: Outcome, stranded: number): void {
    const isHonest = outcome.kind !== "complete" || stranded === 0;
    check(isHonest, "I1", () => `complete, but ${stranded} jobs are not settled yet`);
  }

  /** The last state of a complete run: I1, I2. */
  complete(state: RunState, jobs: number): void {
    for (let id = 0; id < jobs; id++) {
      check(
        this.record(id).isHandled || this.dead.has(id),
        "I1",
        () => `complete, but job ${id} is neither handled nor dead`,
      );
    }
    check(
      state.handedOut === jobs,
      "I1",
      () => `complete, but ${state.handedOut} of ${jobs} jobs were handed out`,
    );
    check(state.stranded.length === 0, "I1", () => "complete, but jobs are stranded");
    // A letter can be on record of a job that a later master, whose state did not know of its end, got done.
    const unhandled = [...this.dead.keys()].filter((id) => !this.record(id).isHandled).length;
    const isHonest = unhandled <= state.dead && state.dead <= this.dead.size;
    check(
      isHonest,
      "I1",
      () => `${state.dead} dead, but ${this.dead.size} dead letters, ${unhandled} of jobs not handled`,
    );
    const repeats = this.#records.reduce((sum, { begun }) => sum + Math.max(0, begun - 1), 0);
    check(
      repeats <= this.#repeatsAllowed,
      "I2",
      () => `${repeats} second runs, but faults explain ${this.#repeatsAllowed}`,
    );
  }

  /** I3: what a stale answer must not change. */
  unchanged(before: string, after: string): void {
    check(before === after, "I3", () => `a stale answer changed\n  ${before}\nto\n  ${after}`);
  }

  /** I12 */
  late(nowMs: number, status: string): never {
    throw new Violation(`I12: not complete at ${nowMs} ms, long after the last fault: ${status}`);
  }
}

function settledOf({ done, skipped, dead }: { done: number; skipped: number; dead: number }): number {
  return done + skipped + dead;
}
