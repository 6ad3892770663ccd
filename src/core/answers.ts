import { crashesMax, elsewhereMs } from "../lib/limits.ts";
import { countOf, includes, intersect, type Ranges, subtract, unite } from "../lib/ranges.ts";
import type { Failures } from "./failures.ts";
import type { Gate } from "./gate.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease } from "./leases.ts";
import { crashedAlone, crashedInCompany, failed, isSpent, type Piece } from "./piece.ts";
import { retryDelayMs } from "./ready_queues.ts";
import type { SessionTally } from "./sessions.ts";
import type { Attempt, DeadLetter, FailedAttempt, History, Probe, ProbeKind, RunSettings } from "./types.ts";
import type { Answer, Failure } from "../protocol/messages.ts";

/** Most multi-suspect crashes remembered, so that one job can be charged for each. Far fewer are ever open at once. */
const sharedCrashesMax = 256;

type SharedCrash = { suspects: Ranges; isCharged: boolean };

/**
 * Worker crashes with several suspect jobs. Each crash is charged to one job: the first suspect that later crashes
 * alone. The other suspects may not even have started, so that crash does not count against them, even if they crash
 * alone too.
 *
 * Only the latest crashes are kept, and none from an earlier master. Forgetting one is safe: the bad job is found at
 * its next crash. Charging a job that never ran could not be undone.
 */
class SharedCrashes {
  #crashes: SharedCrash[] = [];

  /**
   * Call once for each lease that has suspects, with all suspects of that worker. A crash whose suspects are already on
   * record is ignored.
   */
  add(suspects: Ranges): void {
    if (this.#crashes.some((death) => !death.isCharged && subtract(suspects, death.suspects).length === 0)) {
      return;
    }
    this.#crashes.push({ suspects, isCharged: false });
    if (this.#crashes.length > sharedCrashesMax) this.#crashes.shift();
  }

  /** Job `seq` crashed alone. Returns how many earlier multi-suspect crashes are charged to it now. */
  charge(seq: number): number {
    let charged = 0;
    for (const death of this.#crashes) {
      if (!includes(death.suspects, seq)) continue;
      if (!death.isCharged) charged += 1;
      death.isCharged = true;
      death.suspects = subtract(death.suspects, [seq, seq + 1]);
    }
    this.#crashes = this.#crashes.filter(({ suspects }) => suspects.length > 0);
    return charged;
  }
}

/** When an answer came, and from which slave. `at` is wall-clock time in ISO 8601, for display only. */
type Sender = Readonly<{
  slaveId: string;
  slaveName: string;
  nowMs: number;
  at: string;
  /** The session's counters; null once the session is over. */
  tally: SessionTally | null;
}>;

type Parts = Readonly<
  { jobs: Jobs; failures: Failures; health: Health; gate: Gate; bury: (letter: DeadLetter) => void }
>;

/** Applies answers to jobs: settles them, and decides which are charged with a failure or crash. */
export class Settlement {
  readonly #settings: RunSettings;
  readonly #jobs: Jobs;
  readonly #failures: Failures;
  readonly #health: Health;
  readonly #gate: Gate;
  readonly #sharedCrashes = new SharedCrashes();
  readonly #bury: (letter: DeadLetter) => void;

  constructor(settings: RunSettings, { jobs, failures, health, gate, bury }: Parts) {
    this.#settings = settings;
    this.#jobs = jobs;
    this.#failures = failures;
    this.#health = health;
    this.#gate = gate;
    this.#bury = bury;
  }

  /**
   * Applies an answer to the jobs that the lease still holds and ignores the others. Results are applied in seq order,
   * the order in which the slave was given the jobs: the number of failures in a row must not depend on how many
   * results one answer carries.
   */
  apply(lease: Lease, answer: Answer, by: Sender): void {
    const recovered: Piece[] = [];
    const settled = this.#jobs.settle(lease, answer.done, "done", recovered) +
      this.#jobs.settle(lease, answer.skipped, "skipped", recovered);
    if (by.tally !== null) by.tally.settled += settled;
    if (answer.failed.length === 0) this.#succeed(settled, recovered, lease, by);
    else this.#applyInOrder(settled, recovered, lease, answer, by);
    if (answer.crash !== null) this.#crash(lease, answer.crash, by);
    const released = this.#jobs.leases.take(lease, answer.released);
    for (const { span } of released) this.#gate.released(span.count);
    this.#jobs.handBack(released);
  }

  #applyInOrder(
    settled: number,
    recovered: Piece[],
    lease: Lease,
    { done, skipped, failed }: Answer,
    by: Sender,
  ): void {
    const succeeded = unite(done, skipped);
    let left = settled;
    let from = 0; // index in `succeeded`
    for (const failure of [...failed].sort((a, b) => a.seq - b.seq)) {
      let count = 0;
      for (; from < succeeded.length && succeeded[from]! < failure.seq; from += 2) {
        count += succeeded[from + 1]! - succeeded[from]!;
      }
      // fewer if the lease does not hold all jobs that the answer names
      count = Math.min(count, left);
      left -= count;
      this.#succeed(count, count > 0 ? recovered.splice(0) : [], lease, by);
      this.#fail(lease, failure, by);
    }
    this.#succeed(left, recovered, lease, by);
  }

  /**
   * The job ran alone in its slave when the connection closed, and the slave did not come back: its process is taken to
   * have died.
   */
  crashWithSlave(piece: Piece, by: Sender): void {
    if (this.#failures.isOutage) return this.#jobs.giveUpWaiting([piece]);
    this.#chargeCrash(piece, null, "the slave's connection closed while the job ran there alone", by);
  }

  #succeed(
    count: number,
    recovered: readonly Piece[],
    lease: Lease,
    { slaveId, nowMs }: Sender,
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

  #fail(lease: Lease, failure: Failure, by: Sender): void {
    const { seq, how, message, stack, durationMs } = failure;
    for (const piece of this.#jobs.leases.take(lease, [seq, seq + 1])) {
      if (by.tally !== null) by.tally.failures++;
      const tried = { ...attempt(how, message, by), stack, durationMs };
      const history = failed(piece.history, tried);
      // The handler itself gave this job up: that is no sign of an outage.
      if (how === "fatal") {
        this.#report(piece, history, tried, { isCharged: true, isBuried: true, retryInMs: null });
        this.#buryFailed(piece, history);
      } else this.#attemptFailed(piece, lease, tried, by, () => history);
    }
  }

  /**
   * `suspects` are all jobs that may have been running in the worker that died, over all its leases. A single suspect
   * is charged.
   */
  #crash(lease: Lease, { suspects, reason }: NonNullable<Answer["crash"]>, by: Sender): void {
    const isSole = countOf(suspects) === 1;
    // Ignore suspects that this slave does not hold: they cannot have run there.
    const possible = isSole ? suspects : intersect(suspects, this.#jobs.leases.seqsOf(lease.session));
    const pieces = this.#jobs.leases.take(lease, suspects);
    const isOutage = this.#failures.isOutage;
    if (!isSole && pieces.length > 0 && !isOutage) this.#sharedCrashes.add(possible);
    for (const piece of pieces) {
      const { history } = piece;
      if (!isSole) this.#jobs.retrySuspects(piece, isOutage ? history : crashedInCompany(history));
      else this.#chargeCrash(piece, lease, reason, by);
    }
  }

  #chargeCrash(piece: Piece, lease: Lease | null, reason: string, by: Sender): void {
    if (by.tally !== null) by.tally.failures++;
    const tried = attempt("crashed", reason, by);
    this.#attemptFailed(piece, lease, tried, by, () => {
      const inCompany = this.#sharedCrashes.charge(piece.span.seq);
      return crashedAlone(piece.history, tried, inCompany);
    });
  }

  /** Handles one failed attempt. The job is retried, and charged unless the slave or an outage may be the cause. */
  #attemptFailed(
    piece: Piece,
    lease: Lease | null,
    tried: Attempt,
    by: Sender,
    charged: () => History,
  ): void {
    const { slaveId, nowMs } = by;
    const { seq } = piece.span;
    const [probe, leasedMs] = [lease?.probe ?? null, lease?.leasedMs ?? -Infinity];
    this.#health.failed(slaveId, seq, tried.message, leasedMs, nowMs);
    if (this.#health.isQuarantined(slaveId)) {
      this.#report(piece, piece.history, tried, { isCharged: false, isBuried: false, retryInMs: null });
      return this.#jobs.passOn(piece, { slaveId, untilMs: nowMs + elsewhereMs });
    }
    const isSuspect = probe !== null && this.#health.isSuspect(slaveId);
    const which = { seq, isRetry: piece.avoid !== null, probe: testKind(probe), isSuspect, leasedMs };
    const mayCharge = this.#failures.failed(which, tried, nowMs);
    // a crash is no sign of overload
    const isCrash = tried.how === "crashed";
    const isCharged = (isCrash && this.#failures.mode !== "testing") || mayCharge;
    if (isCharged) this.#health.charged(slaveId, seq, isCrash ? "crashes" : "failures");
    // a spent job that failed again as a probe
    const isRetested = probe === "failed";
    const history = isCharged || isRetested ? charged() : piece.history;
    const isSure = this.#failures.isEndgame || lease === null ||
      (isCrash && isCharged && !this.#failures.isNormal);
    this.#retryOrBury(piece, history, tried, { isCharged, isSure }, by);
  }

  /**
   * Retries the job. If its attempts are spent, holds it in `SpentJobs` instead, or buries it when nothing can change
   * the verdict.
   */
  #retryOrBury(
    piece: Piece,
    history: History,
    tried: Attempt,
    { isCharged, isSure }: { isCharged: boolean; isSure: boolean },
    { slaveId, nowMs }: Sender,
  ): void {
    const { backoffMs, failuresMax, random } = this.#settings;
    const isSpentNow = isSpent(history, failuresMax) && history !== piece.history;
    const isBuried = isSpentNow && isSure;
    const attempts = Math.max(1, history.failures + history.crashes);
    const retryInMs = this.#failures.mode === "testing" ? 0 : retryDelayMs(backoffMs, attempts, random());
    this.#report(piece, history, tried, { isCharged, isBuried, retryInMs: isSpentNow ? null : retryInMs });
    if (isBuried) return this.#buryFailed(piece, history);
    const avoid = { slaveId, untilMs: nowMs + retryInMs + elsewhereMs };
    if (isSpentNow) {
      const { mark } = this.#failures.opening;
      this.#jobs.holdSpent(piece, { charged: history, slaveId, atMs: nowMs, mark }, avoid);
    } else this.#jobs.delay(piece, isCharged ? history : piece.history, avoid, nowMs + retryInMs);
  }

  #report(
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

  #buryFailed(piece: Piece, history: History): void {
    this.#failures.forget(piece.span.seq);
    this.#bury(this.#jobs.buryFailed(piece, history));
  }
}

function testKind(probe: Probe | null): ProbeKind | null {
  return probe === "quarantine" ? null : probe;
}

function attempt(how: Attempt["how"], message: string, { slaveName, at }: Sender): Attempt {
  return { how, message, stack: "", slave: slaveName, durationMs: 0, at };
}
