import { crashesMax, elsewhereMs } from "../lib/limits.ts";
import { countOf, includes, intersect, type Ranges, subtract, unite } from "../lib/ranges.ts";
import type { Failures } from "./failures.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease } from "./leases.ts";
import { crashedAlone, crashedInCompany, failed, isSpent, type Piece } from "./piece.ts";
import { retryDelayMs } from "./ready_queues.ts";
import type { SessionTally } from "./sessions.ts";
import type { Attempt, DeadLetter, FailedAttempt, History, Probe, ProbeKind, RunSettings } from "./types.ts";
import type { Answer, Failure } from "../protocol/messages.ts";

/** Deaths of workers in company that are remembered, to charge one job with each: far more than are open at once. */
const deathsMax = 256;

type DeathInCompany = { suspects: Ranges; isCharged: boolean };

/**
 * Deaths of workers with several suspects. Each is charged once: to the suspect that crashes alone first. The others may
 * not even have begun, so it does not count against them, should they crash alone as well.
 *
 * Only the latest are known, and none from an earlier master. Another death tells who it was; a charge for a run that
 * never began could not be taken back.
 */
class Deaths {
  #deaths: DeathInCompany[] = [];

  /** Told once for each lease that has suspects, of all that were not told of before. */
  add(suspects: Ranges): void {
    if (this.#deaths.some((death) => !death.isCharged && subtract(suspects, death.suspects).length === 0)) {
      return;
    }
    this.#deaths.push({ suspects, isCharged: false });
    if (this.#deaths.length > deathsMax) this.#deaths.shift();
  }

  /** This suspect crashed alone. Returns how many deaths in company it is charged with now. */
  charge(seq: number): number {
    let charged = 0;
    for (const death of this.#deaths) {
      if (!includes(death.suspects, seq)) continue;
      if (!death.isCharged) charged += 1;
      death.isCharged = true;
      death.suspects = subtract(death.suspects, [seq, seq + 1]);
    }
    this.#deaths = this.#deaths.filter(({ suspects }) => suspects.length > 0);
    return charged;
  }
}

/** When and by whom something was said. `at` is the wall clock, for people. */
type Witness = Readonly<{
  slaveId: string;
  slaveName: string;
  nowMs: number;
  at: string;
  /** Of its session; null once that is over. */
  tally: SessionTally | null;
}>;

type Parts = Readonly<
  { jobs: Jobs; failures: Failures; health: Health; bury: (letter: DeadLetter) => void }
>;

/** What answers do to jobs: who is charged, and what for. */
export class Settlement {
  readonly #settings: RunSettings;
  readonly #jobs: Jobs;
  readonly #failures: Failures;
  readonly #health: Health;
  readonly #deaths = new Deaths();
  readonly #bury: (letter: DeadLetter) => void;

  constructor(settings: RunSettings, { jobs, failures, health, bury }: Parts) {
    this.#settings = settings;
    this.#jobs = jobs;
    this.#failures = failures;
    this.#health = health;
    this.#bury = bury;
  }

  /**
   * Applies what is said of jobs that the lease holds, and ignores the rest. Within an answer, jobs are taken to have ended
   * in the order in which they were handed out: so it counts how many failed in a row, and not how many in one answer.
   */
  apply(lease: Lease, answer: Answer, by: Witness): void {
    const recovered: Piece[] = [];
    const settled = this.#jobs.settle(lease, answer.done, "done", recovered) +
      this.#jobs.settle(lease, answer.skipped, "skipped", recovered);
    if (by.tally !== null) by.tally.settled += settled;
    if (answer.failed.length === 0) this.#succeed(settled, recovered, lease, by);
    else this.#applyInOrder(settled, recovered, lease, answer, by);
    if (answer.crash !== null) this.#crash(lease, answer.crash, by);
    this.#jobs.handBack(this.#jobs.leases.take(lease, answer.released));
  }

  #applyInOrder(
    settled: number,
    recovered: Piece[],
    lease: Lease,
    { done, skipped, failed }: Answer,
    by: Witness,
  ): void {
    const succeeded = unite(done, skipped);
    let left = settled;
    let from = 0; // in `succeeded`
    for (const failure of [...failed].sort((a, b) => a.seq - b.seq)) {
      let count = 0;
      for (; from < succeeded.length && succeeded[from]! < failure.seq; from += 2) {
        count += succeeded[from + 1]! - succeeded[from]!;
      }
      // fewer where the lease does not hold all that is named
      count = Math.min(count, left);
      left -= count;
      this.#succeed(count, count > 0 ? recovered.splice(0) : [], lease, by);
      this.#fail(lease, failure, by);
    }
    this.#succeed(left, recovered, lease, by);
  }

  /** The job was alone in its slave when the connection closed, and the slave is not back: its process died. */
  crashWithSlave(piece: Piece, by: Witness): void {
    if (this.#failures.isOutage) return this.#jobs.giveUpWaiting([piece]);
    this.#chargeCrash(piece, null, "the slave's connection closed while the job ran there alone", by);
  }

  #succeed(
    count: number,
    recovered: readonly Piece[],
    lease: Lease,
    { slaveId, nowMs }: Witness,
  ): void {
    if (count === 0) return;
    const { probe, leasedMs } = lease;
    this.#health.succeeded(slaveId, count, leasedMs);
    let refuting = 0;
    for (const { span, avoid } of recovered) {
      this.#failures.forget(span.seq);
      if (avoid === null || avoid.slaveId === slaveId) continue;
      this.#health.refuted(avoid.slaveId);
      if (this.#health.isSuspect(avoid.slaveId)) refuting++;
    }
    const isRefuting = refuting > 0;
    const kind = testKind(probe);
    this.#failures.succeeded(count, recovered.length - refuting, { kind, isRefuting }, leasedMs, nowMs);
  }

  #fail(lease: Lease, failure: Failure, by: Witness): void {
    const { seq, how, message, stack, durationMs } = failure;
    for (const piece of this.#jobs.leases.take(lease, [seq, seq + 1])) {
      if (by.tally !== null) by.tally.failures++;
      const tried = { ...attempt(how, message, by), stack, durationMs };
      const history = failed(piece.history, tried);
      // A fatal job was judged by its handler: that says nothing about the world.
      if (how === "fatal") {
        this.#tell(piece, history, tried, { isCharged: true, isBuried: true, retryInMs: null });
        this.#convict(piece, history);
      } else this.#blame(piece, lease, tried, by, () => history);
    }
  }

  /** `suspects` are all jobs that may have been running in that worker, whatever their lease: a sole one is charged. */
  #crash(lease: Lease, { suspects, reason }: NonNullable<Answer["crash"]>, by: Witness): void {
    const isSole = countOf(suspects) === 1;
    // What the slave does not have cannot have run there, whatever it says.
    const possible = isSole ? suspects : intersect(suspects, this.#jobs.leases.seqsOf(lease.session));
    const pieces = this.#jobs.leases.take(lease, suspects);
    const isOutage = this.#failures.isOutage;
    if (!isSole && pieces.length > 0 && !isOutage) this.#deaths.add(possible);
    for (const piece of pieces) {
      const { history } = piece;
      if (!isSole) this.#jobs.suspect(piece, isOutage ? history : crashedInCompany(history));
      else this.#chargeCrash(piece, lease, reason, by);
    }
  }

  #chargeCrash(piece: Piece, lease: Lease | null, reason: string, by: Witness): void {
    if (by.tally !== null) by.tally.failures++;
    const tried = attempt("crashed", reason, by);
    this.#blame(piece, lease, tried, by, () => {
      const inCompany = this.#deaths.charge(piece.span.seq);
      return crashedAlone(piece.history, tried, inCompany);
    });
  }

  /** One attempt failed. Whose fault that is may be open: then the job comes back, charged or not. */
  #blame(piece: Piece, lease: Lease | null, tried: Attempt, by: Witness, charged: () => History): void {
    const { slaveId, nowMs } = by;
    const { seq } = piece.span;
    const [probe, leasedMs] = [lease?.probe ?? null, lease?.leasedMs ?? -Infinity];
    this.#health.failed(slaveId, seq, tried.message, leasedMs, nowMs);
    if (this.#health.isQuarantined(slaveId)) {
      this.#tell(piece, piece.history, tried, { isCharged: false, isBuried: false, retryInMs: null });
      return this.#jobs.passOn(piece, { slaveId, untilMs: nowMs + elsewhereMs });
    }
    const isSuspect = probe !== null && this.#health.isSuspect(slaveId);
    const which = { seq, isRetry: piece.avoid !== null, probe: testKind(probe), isSuspect, leasedMs };
    const mayCharge = this.#failures.failed(which, tried, nowMs);
    // a death is no sign of too much load
    const isCrash = tried.how === "crashed";
    const isCharged = (isCrash && this.#failures.mode !== "testing") || mayCharge;
    if (isCharged) this.#health.charged(slaveId, seq, isCrash ? "crashes" : "failures");
    // one that was condemned, and fails again in a test
    const isRetested = probe === "failed";
    const history = isCharged || isRetested ? charged() : piece.history;
    const isSure = this.#failures.isEndgame || lease === null ||
      (isCrash && isCharged && !this.#failures.isNormal);
    this.#comeBack(piece, history, tried, { isCharged, isSure }, by);
  }

  /** The job comes back, unless its attempts are spent: then it is condemned, or buried if nothing can change that. */
  #comeBack(
    piece: Piece,
    history: History,
    tried: Attempt,
    { isCharged, isSure }: { isCharged: boolean; isSure: boolean },
    { slaveId, nowMs }: Witness,
  ): void {
    const { backoffMs, failuresMax, random } = this.#settings;
    const isSpentNow = isSpent(history, failuresMax) && history !== piece.history;
    const isBuried = isSpentNow && isSure;
    const attempts = Math.max(1, history.failures + history.crashes);
    const retryInMs = this.#failures.mode === "testing" ? 0 : retryDelayMs(backoffMs, attempts, random());
    this.#tell(piece, history, tried, { isCharged, isBuried, retryInMs: isSpentNow ? null : retryInMs });
    if (isBuried) return this.#convict(piece, history);
    const avoid = { slaveId, untilMs: nowMs + retryInMs + elsewhereMs };
    if (isSpentNow) {
      const { mark } = this.#failures.opening;
      this.#jobs.condemn(piece, { charged: history, slaveId, atMs: nowMs, mark }, avoid);
    } else this.#jobs.delay(piece, isCharged ? history : piece.history, avoid, nowMs + retryInMs);
  }

  #tell(
    { span }: Piece,
    history: History,
    attempt: Attempt,
    next: Pick<FailedAttempt, "isCharged" | "isBuried" | "retryInMs">,
  ): void {
    const [count, countMax] = attempt.how === "crashed"
      ? [history.crashes, crashesMax]
      : [history.failures, this.#settings.failuresMax];
    this.#settings.onFailed?.({ seq: span.seq, attempt, count, countMax, ...next });
  }

  #convict(piece: Piece, history: History): void {
    this.#failures.forget(piece.span.seq);
    this.#bury(this.#jobs.convict(piece, history));
  }
}

function testKind(probe: Probe | null): ProbeKind | null {
  return probe === "quarantine" ? null : probe;
}

function attempt(how: Attempt["how"], message: string, { slaveName, at }: Witness): Attempt {
  return { how, message, stack: "", slave: slaveName, durationMs: 0, at };
}
