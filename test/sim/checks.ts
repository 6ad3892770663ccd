import { leaseKey } from "../../src/core/leases.ts";
import type { Alone, DeadLetter, History, Outcome, RunState, SessionId } from "../../src/core/types.ts";
import type { LeaseName } from "../../src/protocol/messages.ts";
import { silentHeartbeatsMax } from "../../src/lib/limits.ts";
import { failureWindow } from "../../src/core/failures.ts";
import { countOf, type Ranges } from "../../src/lib/ranges.ts";
import { failuresMax, heartbeatMs } from "./plan.ts";
import { idOfCursor, idOfJob } from "./wire.ts";

/** An invariant does not hold: one of I1 to I15 below, or fault C8 of docs/reliability.md. */
export class Violation extends Error {}

function check(condition: boolean, invariant: string, message: () => string): asserts condition {
  if (!condition) throw new Violation(`${invariant}: ${message()}`);
}

/** The session and lease under which a job is leased. */
type Right = { session: SessionId; lease: string; alone: Alone };

/** What the handlers of one job did, as the simulation saw it. */
type Record = { begun: number; threw: number; deaths: number; isHandled: boolean; isFatal: boolean };

/** Checks the invariants of a run from outside. A job's id equals its seq. */
export class Checks {
  /** Whether the row with this id cannot be sent. */
  readonly #isRow: (id: number) => boolean;
  /** Whether the job's handler never fails by itself. */
  readonly #isGood: (id: number) => boolean;
  /** Most good jobs that may become dead letters because of the environment. */
  readonly #burnedMax: number;
  #burned = 0;
  /** Jobs that succeeded or failed for the first time under the current master. They fill its window of attempts. */
  #told = 0;
  readonly #failed = new Set<number>();
  /** Ids of all unsendable rows below `#rowsTo`. */
  readonly #rows: number[] = [];
  #rowsTo = 0;
  readonly #records: Record[] = [];
  /** The content of the dead-letter file. */
  readonly dead = new Map<number, DeadLetter>();
  /** Session and lease of each leased job, according to the master's effects. */
  readonly #leasedTo = new Map<number, Right>();
  #durable: RunState | null = null;
  readonly #turns = { atMs: 0, count: 0 };
  /** Every job that was ever leased, by any master. */
  readonly #everLeased = new Set<number>();
  /** How many repeated runs the faults so far may have caused. */
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
    // Every unsendable row before it must be on record.
    this.#allBefore(seq, `job ${seq} is leased`);
  }

  #allBefore(seq: number, what: string): void {
    for (; this.#rowsTo < seq; this.#rowsTo++) if (this.#isRow(this.#rowsTo)) this.#rows.push(this.#rowsTo);
    for (const row of this.#rows) {
      if (row >= seq) return;
      check(this.dead.has(row), "I13", () => `${what}, but row ${row} before it is not buried`);
    }
  }

  /** I4: a slave never runs a job twice at the same time. */
  runsOnce(id: number, isRunning: boolean): void {
    check(!isRunning, "I4", () => `job ${id} is begun at a slave where it still runs`);
  }

  /** An answer of this session names the job, so it is no longer leased there. */
  unleased(session: SessionId, name: LeaseName, seq: number): void {
    const right = this.#leasedTo.get(seq);
    if (right?.session === session && right.lease === leaseKey(name)) this.#leasedTo.delete(seq);
  }

  /** The master received these results of attempts. */
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

  /** The session is over. Returns how many jobs were leased to it. */
  sessionEnded(session: SessionId, isClosed: boolean): number {
    const rights = [...this.#leasedTo].filter(([, right]) => right.session === session);
    for (const [seq, { alone }] of rights) {
      this.#leasedTo.delete(seq);
      // A closed connection counts as a crash of a job that ran alone in its slave.
      if (isClosed && alone === "in slave") this.record(seq).deaths++;
    }
    return rights.length;
  }

  /** I12: the master does what is to be done at one instant, and is not woken again and again without progress. */
  turned(nowMs: number): void {
    const turns = this.#turns;
    turns.count = turns.atMs === nowMs ? turns.count + 1 : 0;
    turns.atMs = nowMs;
    check(turns.count < 1_000, "I12", () => `the master turns for ever at ${nowMs} ms`);
  }

  /** C8: no session is ended as silent while its bytes wait in the master's socket. */
  silent(session: SessionId, forMs: number): void {
    const limitMs = silentHeartbeatsMax * heartbeatMs;
    // sums of fractional milliseconds are not exact
    check(forMs + 1e-6 >= limitMs, "C8", () => `session ${session} is given up after ${forMs} ms of silence`);
  }

  /** The master is gone: whatever it did since its last durable state may be repeated. */
  masterEnded(handedOut: number, settled: number): void {
    const before = this.#durable ?? { handedOut: 0, done: 0, skipped: 0, dead: 0 };
    this.allowRepeats(this.#leasedTo.size + handedOut - before.handedOut + settled - settledOf(before));
    this.#leasedTo.clear();
    this.#told = 0;
    this.#failed.clear();
  }

  /** I8: the window is limited. */
  bounded(yielded: number, jobsMax: number): void {
    check(
      yielded <= jobsMax,
      "I8",
      () => `${yielded} jobs are yielded and not settled, more than ${jobsMax}`,
    );
  }

  /** I15: the operator's limits are kept: attempts begun a second, and jobs in flight. */
  limited(leased: number, allowed: number, inFlight: number, inFlightMax: number): void {
    check(leased <= allowed + 1e-6, "I15", () => `${leased} jobs were leased, and ${allowed} may have been`);
    check(inFlight <= inFlightMax, "I15", () => `${inFlight} jobs are in flight, more than ${inFlightMax}`);
  }

  /** A state became durable: I1, I4, I5, I6, I9, I11. */
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

  /** I11: a job is charged only for attempts that began and failed. */
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
   * I14: the master made this job a dead letter after failures. No good job may be among them, whatever the environment
   * does, except before a whole window of attempts has ended.
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

  /** I13: an unsendable row is buried in source order, and only once over all durable states. */
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

  /** I1: a run is complete only when everything is settled. A full disk may keep a dead letter from being written. */
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
    // A later master may have completed a job with a dead letter on record that its state did not know of.
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

  /** I3: a stale answer must change nothing. */
  unchanged(before: string, after: string): void {
    check(before === after, "I3", () => `a stale answer changed\n  ${before}\nto\n  ${after}`);
  }

  /** I12: the run must be complete in time. */
  late(nowMs: number, status: string): never {
    throw new Violation(`I12: not complete at ${nowMs} ms, long after the last fault: ${status}`);
  }
}

function settledOf({ done, skipped, dead }: { done: number; skipped: number; dead: number }): number {
  return done + skipped + dead;
}
