import { recoveryMin, recoveryWeight } from "../lib/limits.ts";
import { backoffMs } from "../lib/units.ts";

/** Time between two increases of the load limit. */
const openingStepMs = 1_000;
/**
 * Growth of the pace: 5 % a second, which finds the limit of a service again within seconds. The rate doubles after
 * each such time and number of attempts without a cut, up to 100 % a second.
 */
const paceGrowthPerSecond = 0.05;
const paceGrowthDoublesMs = 6_000;
const paceGrowthDoublesAttempts = 80;
const paceGrowthMax = 1;
/**
 * After this many failures in a row the next start waits. The pause doubles with each further failure, up to the
 * maximum.
 */
const holdAfterBad = 5;
const holdMsMin = 10, holdMsMax = 1_000;
/** After this many failures in a row the pace is cut: even the jobs in flight are too many. */
const cutAfterBad = 8;
/** After this many steps without a limit the ramp-up ends even if slaves never had full credit, for lack of jobs. */
const emptyStepsMax = 30;
/** After this many failures in a row nothing succeeds any more: the ramp-up has collapsed. */
const collapseAttempts = 14;
/** Attempts in one sample of the failure share at the present load. */
const sampleAttempts = 20;
/**
 * If more than this share fails with one job at a time, a lower pace is tried before that share is taken as the
 * baseline.
 */
const slowerShare = 0.4;
/** The period over which successes a second are counted. */
const successRateMs = 1_000;

/** How many attempts in all had succeeded and failed when a job failed last. */
type LastFailure = Readonly<{ ok: number; bad: number }>;

/**
 * Ramps load up after an outage or an overload, like TCP slow start. At first one job is in flight in the whole fleet;
 * while attempts succeed, the limit doubles each second. If attempts fail again while others still succeed, the called
 * service is taken to be throttled: starts are then paced at just under the recent success rate, and the pace grows
 * slowly until more attempts fail again. Failures of jobs known to be bad are ignored.
 *
 * The share that fails at the lowest load (`baseline`) is not caused by load.
 */
export class Opening {
  /** Most jobs in flight. */
  #limit = 1;
  #stepAtMs = 0;
  /** Whether the limit or the pace held back a lease since the last step. */
  #isBinding = false;
  #unboundSteps = 0;
  /** Whether all slaves had no credit left at some moment since the last step. */
  #wereSlavesFull = false;
  /** Starts a second; Infinity until the first cut. */
  pace = Infinity;
  #tokens = 1;
  #tokensAtMs = 0;
  /** Attempts leased before this time belong to an earlier pace and are not sampled. */
  #fromMs = 0;
  /** Attempts that had ended at the last cut. */
  #attemptsAtCut = 0;
  #sample = { ok: 0, bad: 0 };
  /** The share that fails at a harmless load; null until known. */
  #baseline: number | null = null;
  /**
   * The share that failed with one job at a time if it was high; null otherwise. Quick jobs one at a time may still be
   * too many a second.
   */
  #firstShare: number | null = null;
  /** The failure share of the latest sample. */
  #share = 0;
  /** Share of recent retries that succeeded, as a moving average. */
  #recovery = 1;
  /** The current sample is the first since the start or a cut, so its load is harmless. */
  #isSampleHarmless = true;
  /** No start before this time, because the latest attempts all failed. */
  #holdUntilMs = 0;
  #badInRow = 0;
  /** The highest success rate since the ramp-up began, in jobs a second; and the time of the last cut. */
  #bestRate = 0;
  #cutAtMs = -Infinity;
  #succeededInStep = 0;
  readonly #successes = new SuccessRate();
  /** All attempts of jobs not known to be bad. */
  #ok = 0;
  #bad = 0;
  readonly #marks = new Map<number, LastFailure>();
  /** Nothing succeeds any more. */
  isCollapsed = false;

  begin(nowMs: number): void {
    this.pace = Infinity;
    this.#limit = 1;
    this.#badInRow = 0;
    this.#bestRate /= 2;
    this.#cutAtMs = -Infinity;
    this.#stepAtMs = this.#tokensAtMs = this.#fromMs = nowMs;
    this.#tokens = 1;
    this.#isBinding = false;
    this.#unboundSteps = 0;
    this.#wereSlavesFull = false;
    this.#succeededInStep = 0;
    this.#sample = { ok: 0, bad: 0 };
    this.#recovery = 1;
    this.#baseline = null;
    this.#firstShare = null;
    this.#isSampleHarmless = true;
    this.#share = 0;
    this.#holdUntilMs = 0;
    this.isCollapsed = false;
    this.#marks.clear();
  }

  /** The failures were not caused by load: goes on without a pace. */
  relax(nowMs: number): void {
    this.goOn(nowMs);
    this.pace = Infinity;
    this.#tokens = Infinity;
  }

  /** A test blamed the jobs, not the load: goes on at the present limit and pace. */
  goOn(nowMs: number): void {
    this.#stepAtMs = this.#tokensAtMs = this.#fromMs = nowMs;
    this.#badInRow = 0;
    this.#holdUntilMs = 0;
    this.#sample = { ok: 0, bad: 0 };
    this.isCollapsed = false;
  }

  /** The share that fails at a harmless load. */
  get baseline(): number {
    return this.#baseline ?? 0;
  }

  /** How many jobs may be leased now. */
  budget(inFlight: number, nowMs: number): number {
    this.#refill(nowMs);
    this.#step(nowMs);
    if (nowMs < this.#holdUntilMs) return 0;
    const limit = Number.isFinite(this.pace) ? Infinity : this.#limit - inFlight;
    const budget = Math.max(0, Math.min(limit, Math.floor(this.#tokens)));
    if (budget === 0) this.#isBinding = true;
    return budget;
  }

  noteSlavesFull(): void {
    this.#wereSlavesFull = true;
  }

  leased(count: number): void {
    if (Number.isFinite(this.pace)) this.#tokens -= count;
  }

  /** `recovered`: how many of the attempts were retries. */
  succeeded(count: number, recovered: number, leasedMs: number, nowMs: number): void {
    if (recovered > 0) this.#recovery += (1 - this.#recovery) * Math.min(1, recovered * recoveryWeight);
    this.#ok += count;
    this.#succeededInStep += count;
    this.#successes.add(count, nowMs);
    this.#badInRow = 0;
    this.#holdUntilMs = 0;
    if (leasedMs < this.#fromMs) return;
    this.#sample.ok += count;
    this.#weighSample(nowMs);
  }

  /**
   * Returns whether to charge the job. It is charged if enough others succeeded since its previous failure, more than
   * failed, and no more fails now than the baseline.
   */
  failed(seq: number, isRetry: boolean, isKnownBad: boolean, leasedMs: number, nowMs: number): boolean {
    if (isKnownBad) return true;
    if (isRetry) this.#recovery *= 1 - recoveryWeight;
    const before = this.#marks.get(seq);
    const isClean = this.#isClean;
    this.#marks.set(seq, { ok: this.#ok, bad: ++this.#bad });
    if (leasedMs < this.#fromMs) return false;
    // where retries never succeed, those jobs are bad, and say nothing about the load
    if (!isRetry || this.#recovery >= recoveryMin) {
      this.#sample.bad++;
      this.#holdBack(nowMs);
      this.#weighSample(nowMs);
    }
    if (before === undefined) return false;
    const ok = this.#ok - before.ok;
    return isClean && ok >= sampleAttempts && ok > this.#bad - before.bad;
  }

  forget(seq: number): void {
    if (this.#marks.size > 0) this.#marks.delete(seq);
  }

  /** The present counts, to be stored with a spent job. */
  get mark(): LastFailure {
    return { ok: this.#ok, bad: this.#bad };
  }

  /**
   * Whether the attempts since `mark` show that the failure there was the job's fault; null while there are too few.
   */
  isConfirmed(mark: LastFailure): boolean | null {
    const [ok, bad] = [this.#ok - mark.ok, this.#bad - mark.bad];
    if (ok + bad < this.#sampleSize) return null;
    return bad <= this.#bound(0.05, 1, ok + bad) * (ok + bad);
  }

  /** Whether load is back: slaves have all they can take, and neither limit nor pace holds back a lease. */
  isOver(nowMs: number): boolean {
    this.#step(nowMs);
    return this.#unboundSteps >= (this.#wereSlavesFull ? Number.isFinite(this.pace) ? 3 : 1 : emptyStepsMax);
  }

  /** When there may be room for another job, or the limit grows. */
  wakeMs(nowMs: number): number {
    const tokenMs = Number.isFinite(this.pace) && this.#tokens < 1
      ? nowMs + Math.max(1, Math.ceil((1 - this.#tokens) / this.pace * 1_000))
      : Infinity;
    const holdMs = this.#holdUntilMs > nowMs ? this.#holdUntilMs : Infinity;
    return Math.min(tokenMs, holdMs, this.#stepAtMs + openingStepMs);
  }

  /** Slows down starts when nothing succeeds: the service may be down again, or admit less than one job at a time. */
  #holdBack(nowMs: number): void {
    this.#badInRow++;
    if (this.#badInRow >= collapseAttempts) this.isCollapsed = true;
    else if (this.#badInRow >= holdAfterBad) {
      if (this.#badInRow === cutAfterBad) this.#cut(nowMs);
      this.#holdUntilMs = nowMs + backoffMs(this.#badInRow - holdAfterBad, holdMsMin, holdMsMax);
    }
  }

  #step(nowMs: number): void {
    if (nowMs < this.#stepAtMs + openingStepMs) return; // the same sum as in `wakeMs`
    this.#stepAtMs = nowMs;
    this.#unboundSteps = this.#isBinding ? 0 : this.#unboundSteps + 1;
    this.#isBinding = false;
    if (this.#unboundSteps === 0) this.#wereSlavesFull = false;
    this.#bestRate = Math.max(this.#bestRate, this.#successes.perSecond(nowMs));
    // the baseline must be known before load grows
    const isKnown = this.#baseline !== null || this.#sample.bad === 0;
    if (this.#succeededInStep > 0 && isKnown) this.#grow();
    this.#succeededInStep = 0;
  }

  #grow(): void {
    // jobs shorter than 2 ms: much of what is in flight only waits in its slave
    this.#limit *= this.#succeededInStep > 500 * this.#limit ? 16 : 2;
  }

  #refill(nowMs: number): void {
    const seconds = (nowMs - this.#tokensAtMs) / 1_000;
    this.#tokensAtMs = nowMs;
    if (!Number.isFinite(this.pace)) {
      this.#tokens = Infinity;
      return;
    }
    if (this.#unboundSteps === 0) {
      const growth = this.pace < this.#bestRate / 2 ? paceGrowthMax : this.#growth(nowMs);
      this.pace *= (1 + growth) ** seconds;
    }
    this.#tokens = Math.min(Math.max(1, this.pace / 10), this.#tokens + this.pace * seconds);
  }

  /** Growth of the pace in a second. It rises the longer there was no cut, because the limit is then far away. */
  #growth(nowMs: number): number {
    const times = Math.min(
      (nowMs - this.#fromMs) / paceGrowthDoublesMs,
      (this.#ok + this.#bad - this.#attemptsAtCut) / paceGrowthDoublesAttempts,
    );
    return Math.min(paceGrowthMax, paceGrowthPerSecond * 2 ** times);
  }

  #weighSample(nowMs: number): void {
    const { ok, bad } = this.#sample;
    const count = ok + bad;
    const share = bad / count;
    if (this.#baseline !== null && bad >= 5 && share > this.#bound(0.25, 4, count)) {
      this.#sampled(share, nowMs, true);
    } else if (count >= this.#sampleSize) {
      this.#sampled(share, nowMs, this.#baseline !== null && share > this.#bound(0.1, 3, count));
    }
  }

  #sampled(share: number, nowMs: number, isCut: boolean): void {
    this.#sample = { ok: 0, bad: 0 };
    this.#share = share;
    if (this.#baseline === null) {
      const first = this.#firstShare;
      if (share > slowerShare && (first === null || share < first - 0.1)) {
        this.#firstShare = share;
        this.#cut(nowMs);
        return;
      }
      // as much fails at a lower pace, so load is not the cause
      if (first !== null && share > slowerShare) this.pace = Infinity;
      this.#baseline = share;
    } else if (this.#isSampleHarmless) {
      // the pace may still be too high after a cut, so a higher share counts little
      const weight = share < this.#baseline ? 0.5 : 0.03;
      this.#baseline += weight * (share - this.#baseline);
    }
    this.#isSampleHarmless = isCut;
    if (isCut) this.#cut(nowMs);
  }

  /**
   * The failure share that is above the baseline by at least `least` and at least `deviations` standard deviations.
   */
  #bound(least: number, deviations: number, count: number): number {
    const share = this.baseline;
    return share + Math.max(least, deviations * Math.sqrt(share * (1 - share) / count));
  }

  /** Paces starts at just under the recent success rate: at most one cut a second, to no less than half the pace. */
  #cut(nowMs: number): void {
    const rate = this.#successes.perSecond(nowMs) / Math.max(0.1, 1 - this.baseline);
    if (nowMs - this.#cutAtMs < successRateMs) {
      if (this.pace < rate) return;
    } else this.#cutAtMs = nowMs;
    const least = Number.isFinite(this.pace) ? this.pace / 2 : 1;
    this.pace = Math.max(1, least, Math.min(this.pace, 0.95 * rate));
    this.#tokens = 0;
    this.#tokensAtMs = this.#fromMs = nowMs;
    this.#attemptsAtCut = this.#ok + this.#bad;
  }

  /** The higher the baseline, the more attempts are needed to see a rise above it. */
  get #sampleSize(): number {
    return Math.ceil(sampleAttempts * (1 + 20 * this.baseline * (1 - this.baseline)));
  }

  /** Whether no more fails now than the baseline. */
  get #isClean(): boolean {
    const { ok, bad } = this.#sample;
    const share = ok + bad >= this.#sampleSize / 2 ? bad / (ok + bad) : this.#share;
    return this.#baseline !== null && share <= this.#bound(0.05, 1, this.#sampleSize);
  }
}

/** Successes in the last second, in ten slots of 100 ms. */
class SuccessRate {
  readonly #counts = new Array<number>(10).fill(0);
  #part = 0;

  add(count: number, nowMs: number): void {
    this.#moveTo(nowMs);
    this.#counts[this.#part % 10]! += count;
  }

  perSecond(nowMs: number): number {
    this.#moveTo(nowMs);
    return this.#counts.reduce((sum, count) => sum + count, 0) * (1_000 / successRateMs);
  }

  #moveTo(nowMs: number): void {
    const part = Math.floor(nowMs / (successRateMs / 10));
    if (part - this.#part >= 10) this.#counts.fill(0);
    else for (let i = this.#part + 1; i <= part; i++) this.#counts[i % 10] = 0;
    this.#part = part;
  }
}
