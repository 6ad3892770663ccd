import { crashesMax } from "../base/limits.ts";
import { countOf } from "../base/range_set.ts";
import { Deaths } from "./deaths.ts";
import { crashedAlone, crashedInCompany, failed } from "./history.ts";
import type { Jobs } from "./jobs.ts";
import type { Lease } from "./lease_table.ts";
import type { Outage } from "./outage.ts";
import type { Piece } from "./piece.ts";
import { retryDelayMs } from "./retries.ts";
import type { Session } from "./sessions.ts";
import type { Answer, Attempt, DeadLetter, FailedAttempt, Failure, History, RunSettings } from "./types.ts";

/** When and by whom something was said. `at` is the wall clock, for people. */
export type Witness = Readonly<{ session: Session; nowMs: number; at: string }>;

/** What answers do to jobs: who is charged, and what for. */
export class Answers {
  readonly #settings: RunSettings;
  readonly #jobs: Jobs;
  readonly #outage: Outage;
  readonly #deaths = new Deaths();
  readonly #bury: (letter: DeadLetter) => void;

  constructor(settings: RunSettings, jobs: Jobs, outage: Outage, bury: (letter: DeadLetter) => void) {
    this.#settings = settings;
    this.#jobs = jobs;
    this.#outage = outage;
    this.#bury = bury;
  }

  /**
   * Applies what is said of jobs that the lease holds, and ignores the rest. Successes count first: the order
   * within an answer is unknown, and one success is enough to know that it is no outage.
   */
  apply(lease: Lease, answer: Answer, by: Witness): void {
    const settled = this.#jobs.settle(lease, answer.done, "done") +
      this.#jobs.settle(lease, answer.skipped, "skipped");
    if (settled > 0) this.#outage.succeeded();
    for (const failure of answer.failed) this.#fail(lease, failure, by);
    if (answer.crash !== null) this.#crash(lease, answer.crash, by);
    this.#jobs.handBack(this.#jobs.leases.take(lease, answer.released));
  }

  /** The connection closed while this one job ran, alone in its slave: it is as if its process had died. */
  crashWithSlave(lease: Lease, by: Witness): void {
    if (this.#outage.isOn) return this.#jobs.lose(lease, true);
    for (const piece of this.#jobs.leases.takeAll(lease)) {
      this.#chargeCrash(piece, "the slave's connection closed while the job ran there alone", by);
    }
  }

  #fail(lease: Lease, failure: Failure, by: Witness): void {
    const { seq, how, message } = failure;
    for (const piece of this.#jobs.leases.take(lease, [seq, seq + 1])) {
      // A fatal job was judged by its handler: that says nothing about an outage.
      if (how !== "fatal") this.#outage.failed(seq, message, by.nowMs);
      const tried = { ...attempt(how, message, by), ...textOf(failure) };
      if (how !== "fatal" && this.#outage.isOn) this.#handBack(piece, tried);
      else this.#charge(piece, failed(piece.history, tried), tried, by);
    }
  }

  /** `suspects` are all jobs that may have been running in that worker, whatever their lease: a sole one is charged. */
  #crash(lease: Lease, { suspects, reason }: NonNullable<Answer["crash"]>, by: Witness): void {
    const isSole = countOf(suspects) === 1;
    const pieces = this.#jobs.leases.take(lease, suspects);
    if (!isSole && pieces.length > 0 && !this.#outage.isOn) this.#deaths.add(suspects);
    for (const piece of pieces) {
      const { history } = piece;
      if (!isSole) this.#jobs.suspect(piece, this.#outage.isOn ? history : crashedInCompany(history));
      else if (this.#outage.isOn) this.#handBack(piece, attempt("crashed", reason, by));
      else this.#chargeCrash(piece, reason, by);
    }
  }

  #chargeCrash(piece: Piece, reason: string, by: Witness): void {
    const inCompany = this.#deaths.charge(piece.span.seq);
    const tried = attempt("crashed", reason, by);
    this.#charge(piece, crashedAlone(piece.history, tried, inCompany), tried, by);
  }

  /** Nobody is charged: it is not known whose fault it was. */
  #handBack(piece: Piece, tried: Attempt): void {
    this.#tell(piece, piece.history, tried, { isCharged: false, isBuried: false, retryInMs: null });
    this.#jobs.handBack([piece]);
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

  #charge(piece: Piece, history: History, tried: Attempt, { session, nowMs }: Witness): void {
    const { backoffMs, failuresMax, random } = this.#settings;
    const dueMs = nowMs + retryDelayMs(backoffMs, history.failures + history.crashes, random());
    const letter = this.#jobs.charge(piece, history, failuresMax, session.slaveId, dueMs);
    const isBuried = letter !== null;
    this.#tell(piece, history, tried, {
      isCharged: true,
      isBuried,
      retryInMs: isBuried ? null : dueMs - nowMs,
    });
    if (isBuried) this.#bury(letter);
  }
}

function attempt(how: Attempt["how"], message: string, { session, at }: Witness): Attempt {
  return { how, message, stack: "", slave: session.slaveName, durationMs: 0, at };
}

function textOf({ stack, durationMs }: Failure): { stack: string; durationMs: number } {
  return { stack, durationMs };
}
