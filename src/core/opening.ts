import { recoveryMin, recoveryWeight } from "../lib/limits.ts";
import { backoffMs } from "../lib/units.ts";

/** How often load may double after an outage. */
const openingStepMs = 1_000;
/**
 * How fast paced starts grow: by a twentieth a second, so that the limit of a service is found again within some seconds; by
 * twice as much after each such while, of so many attempts, without a cut, up to twice a second.
 */
const paceGrowthPerSecond = 0.05;
const paceGrowthDoublesMs = 6_000;
const paceGrowthDoublesAttempts = 80;
const paceGrowthMax = 1;
/** While load comes back: from so many failures in a row on, the next start waits, twice as long each time, up to a second. */
const holdAfterBad = 5;
const holdMsMin = 10, holdMsMax = 1_000;
/** So many in a row say that even what is in flight is too much. */
const cutAfterBad = 8;
/** Slaves that never had all they can take, for lack of jobs: after so many steps load is back all the same. */
const emptyStepsMax = 30;
/** So many in a row say that nothing succeeds any more. */
const collapseAttempts = 14;
/** Attempts that make one sample of how many fail at the present load. */
const sampleAttempts = 20;
/** Where more fails one at a time, a lower pace is tried before that is taken for what fails at any load. */
const slowerShare = 0.4;
/** The time over which successes a second are counted. */
const successRateMs = 1_000;

/** A job's last failure: how many other attempts had succeeded and failed by then. */
type LastFailure = Readonly<{ ok: number; bad: number }>;

/**
 * Lets load come back after an outage or an overload, as TCP does it. At first one job is in flight in the whole fleet; as
 * long as attempts succeed, twice as many each second. Where that fails again while something still succeeds, what is
 * called admits only so much: then starts are paced at nearly what succeeded a second, and the pace grows
 * slowly until more fails again. Failures of jobs known as bad are left out of all this.
 *
 * What fails at the lowest load (`baseline`) is not a matter of load.
 */
export class Opening {
  /** Most jobs in flight. */
  #limit = 1;
  #stepAtMs = 0;
  /** Whether the limit, or the pace, kept something from being leased since the last step. */
  #isBinding = false;
  #unboundSteps = 0;
  /** All slaves had all they can take, at some moment since the last step. */
  #isFilled = false;
  /** Starts a second; Infinity until something failed. */
  pace = Infinity;
  #tokens = 1;
  #tokensAtMs = 0;
  /** Attempts leased before are of another pace, and do not count. */
  #fromMs = 0;
  /** Attempts that had ended when the pace was cut last. */
  #attemptsAtCut = 0;
  #sample = { ok: 0, bad: 0 };
  /** What fails at a load that is no problem, as a share; null while that is not known. */
  #baseline: number | null = null;
  /** So much failed one at a time; null until that is known, or if it is little. Many jobs a second may still be too many. */
  #firstShare: number | null = null;
  /** Share of the latest sample. */
  #share = 0;
  /** How many of the latest attempts of jobs that had failed before succeeded, as a share. */
  #recovery = 1;
  /** The sample at hand is the first since the pace was cut: of a load that is no problem. */
  #isCalm = true;
  /** No start before, since the last ones all failed. */
  #holdUntilMs = 0;
  #badInRow = 0;
  /** The most that succeeded a second since it began, and when the pace was cut last. */
  #bestRate = 0;
  #cutAtMs = -Infinity;
  #succeededInStep = 0;
  readonly #successes = new SuccessRate();
  /** All attempts of jobs not known as bad. */
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
    this.#isFilled = false;
    this.#succeededInStep = 0;
    this.#sample = { ok: 0, bad: 0 };
    this.#recovery = 1;
    this.#baseline = null;
    this.#firstShare = null;
    this.#isCalm = true;
    this.#share = 0;
    this.#holdUntilMs = 0;
    this.isCollapsed = false;
    this.#marks.clear();
  }

  /** What failed was no matter of load: starts are not paced for it. */
  relax(nowMs: number): void {
    this.goOn(nowMs);
    this.pace = Infinity;
    this.#tokens = Infinity;
  }

  /** Nothing succeeded for a while, but that was the jobs' doing. */
  goOn(nowMs: number): void {
    this.#stepAtMs = this.#tokensAtMs = this.#fromMs = nowMs;
    this.#badInRow = 0;
    this.#holdUntilMs = 0;
    this.#sample = { ok: 0, bad: 0 };
    this.isCollapsed = false;
  }

  /** What fails at a load that is no problem, as a share. */
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

  filled(): void {
    this.#isFilled = true;
  }

  leased(count: number): void {
    if (Number.isFinite(this.pace)) this.#tokens -= count;
  }

  /** `recovered` of them were of jobs that had failed before. */
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
   * Returns whether the job is charged: others must have succeeded since it failed before, more of them than failed, and
   * no more may fail now than at the lowest load.
   */
  failed(seq: number, isRetry: boolean, isKnownBad: boolean, leasedMs: number, nowMs: number): boolean {
    if (isKnownBad) return true;
    if (isRetry) this.#recovery *= 1 - recoveryWeight;
    const before = this.#marks.get(seq);
    const isClean = this.#isClean;
    this.#marks.set(seq, { ok: this.#ok, bad: ++this.#bad });
    if (leasedMs < this.#fromMs) return false;
    // where none of those that failed ever succeeds, they tell nothing of the load: they are bad
    if (!isRetry || this.#recovery >= recoveryMin) {
      this.#sample.bad++;
      this.#hold(nowMs);
      this.#weighSample(nowMs);
    }
    if (before === undefined) return false;
    const ok = this.#ok - before.ok;
    return isClean && ok >= sampleAttempts && ok > this.#bad - before.bad;
  }

  forget(seq: number): void {
    if (this.#marks.size > 0) this.#marks.delete(seq);
  }

  /** For a job whose attempts are spent: where the counts stand now. */
  get mark(): LastFailure {
    return { ok: this.#ok, bad: this.#bad };
  }

  /** Whether what came behind a mark shows that the failure there was the job's: null while it is too early to say. */
  isConfirmed(mark: LastFailure): boolean | null {
    const [ok, bad] = [this.#ok - mark.ok, this.#bad - mark.bad];
    if (ok + bad < this.#sampleSize) return null;
    return bad <= this.#bound(0.05, 1, ok + bad) * (ok + bad);
  }

  /** The slaves have all they can take, and neither the limit nor the pace keeps anything from them. */
  isOver(nowMs: number): boolean {
    this.#step(nowMs);
    return this.#unboundSteps >= (this.#isFilled ? Number.isFinite(this.pace) ? 3 : 1 : emptyStepsMax);
  }

  /** When there may be room for another job, or the limit grows. */
  wakeMs(nowMs: number): number {
    const tokenMs = Number.isFinite(this.pace) && this.#tokens < 1
      ? nowMs + Math.max(1, Math.ceil((1 - this.#tokens) / this.pace * 1_000))
      : Infinity;
    const holdMs = this.#holdUntilMs > nowMs ? this.#holdUntilMs : Infinity;
    return Math.min(tokenMs, holdMs, this.#stepAtMs + openingStepMs);
  }

  /** A service that admits less than one slot asks for, and one that is down again, are both asked less and less. */
  #hold(nowMs: number): void {
    this.#badInRow++;
    if (this.#badInRow >= collapseAttempts) this.isCollapsed = true;
    else if (this.#badInRow >= holdAfterBad) {
      if (this.#badInRow === cutAfterBad) this.#cut(nowMs);
      this.#holdUntilMs = nowMs + backoffMs(this.#badInRow - holdAfterBad, holdMsMin, holdMsMax);
    }
  }

  #step(nowMs: number): void {
    if (nowMs < this.#stepAtMs + openingStepMs) return; // as `wakeMs` adds it up
    this.#stepAtMs = nowMs;
    this.#unboundSteps = this.#isBinding ? 0 : this.#unboundSteps + 1;
    this.#isBinding = false;
    if (this.#unboundSteps === 0) this.#isFilled = false;
    this.#bestRate = Math.max(this.#bestRate, this.#successes.perSecond(nowMs));
    // what fails at the lowest load is to be known before there is more
    const isKnown = this.#baseline !== null || this.#sample.bad === 0;
    if (this.#succeededInStep > 0 && isKnown) this.#grow();
    this.#succeededInStep = 0;
  }

  #grow(): void {
    // where a job takes less than 2 ms, much of what is in flight only waits at its slave
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

  /** Of the pace, in a second: more and more the longer nothing was too much, for then the limit is far off. */
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
      // as much fails at a lower pace: that is no matter of it
      if (first !== null && share > slowerShare) this.pace = Infinity;
      this.#baseline = share;
    } else if (this.#isCalm) {
      // a pace that was cut may still be too much, so more counts little
      const weight = share < this.#baseline ? 0.5 : 0.03;
      this.#baseline += weight * (share - this.#baseline);
    }
    this.#isCalm = isCut;
    if (isCut) this.#cut(nowMs);
  }

  /** The share above which more fails than at a low load: by so much at least, and by so many standard deviations. */
  #bound(least: number, deviations: number, count: number): number {
    const share = this.baseline;
    return share + Math.max(least, deviations * Math.sqrt(share * (1 - share) / count));
  }

  /** Starts are paced at nearly what succeeded in the last second; once a second at most, and at half the pace at least. */
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

  /** The more jobs fail by themselves, the more attempts it takes to see that more fail than that. */
  get #sampleSize(): number {
    return Math.ceil(sampleAttempts * (1 + 20 * this.baseline * (1 - this.baseline)));
  }

  /** No more fails now than at a low load. */
  get #isClean(): boolean {
    const { ok, bad } = this.#sample;
    const share = ok + bad >= this.#sampleSize / 2 ? bad / (ok + bad) : this.#share;
    return this.#baseline !== null && share <= this.#bound(0.05, 1, this.#sampleSize);
  }
}

/** Successes in the last second, in ten parts. */
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
