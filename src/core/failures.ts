import { recoveryMin, recoveryWeight } from "../lib/limits.ts";
import { chanceOf } from "./health.ts";
import { Opening } from "./opening.ts";
import { headline, placeOfFault } from "./piece.ts";
import type { Attempt, ProbeKind } from "./types.ts";

/** How many of the latest attempts the failure share is measured over. */
export const failureWindow = 100;
/** Fewest attempts needed to measure the failure share early in a run. */
const failureWindowMin = 50;
/** Failure share that starts a test. Handlers that fail now and then stay far below it. */
const failureWindowShare = 0.25;
/** Attempts between a test that blamed the jobs and the next test; doubles after each such test, up to the maximum. */
const retestGap = 300;
const retestGapMax = 10_000;
/** Longest a test waits for running jobs to finish: a test must run at low load. */
const testSettleMs = 1_000;
/** A test blames the jobs once its result would come about by chance with at most this probability. */
const verdictChance = 0.005;
/** The same when no untried jobs are left to compare with. */
const lastVerdictChance = 0.01;
/** Most probes in flight at once when probes are slow: still a very low load. */
const probesMax = 8;
/** A probe that runs this long is slow. */
const slowProbeMs = 250;
/**
 * This many failed probes in a row are an outage. From then on the pause between probes grows, up to the maximum below.
 */
const outageProbes = 20;
const outagePauseMsMin = 5;
const outagePauseGrowth = 1.08;
const outagePauseMsMax = 500;
/** Pause between probes of jobs that are taken to be bad. */
const endgamePauseMs = 20;
/**
 * With no untried jobs left: the pause between probes after this many failed in a row. A heavily throttled service
 * still admits this rate.
 */
const tailPauseMs = 50;
const tailProbesAtOnce = 5;
/**
 * A failure streak that bad jobs would cause with less than this probability is taken for an outage; so is any streak
 * of `rowMax`.
 */
const streakChance = 0.001;
const streakMax = 80;
/**
 * The same for the streak at the very end, which no success can break. A streak shorter than the minimum says nothing.
 */
const lastStreakChance = 0.005;
const lastStreakMin = 5;
/** A job that fails through a streak this many times longer than any outage that passed is taken to be bad. */
const longStreakFactor = 3;
/** How many of the latest jobs the share of bad jobs is estimated from. */
const recentJobsMax = 1_000;
/** After this long without any attempt ending, spent jobs are buried even if the source may go on. */
const quietMs = 60_000;
/**
 * Untried jobs kept for a final test when many jobs fail: enough that about `reserveGood` of them succeed, at most
 * `reserveMax`.
 */
const reserveGood = 12;
const reserveMax = 160;
/** Failed attempts since the last success with nothing else left to do: fewer are no sign of an outage. */
const tailAttempts = 25;

/** What `Failures` needs to know of the run. All counts are of jobs. */
export interface FleetView {
  /** Leased to slaves that are not quarantined, probes included. */
  readonly inFlight: number;
  readonly probing: number;
  /** Never failed and not leased. */
  readonly untried: number;
  /** Failed, not leased, and not known to be bad. */
  readonly suspects: number;
  /** Suspects whose failures an ongoing outage may explain. */
  readonly unexplained: number;
  readonly spent: number;
  /** Nothing is leased, ready or delayed, except untried jobs kept in reserve. */
  readonly isIdle: boolean;
  /** The source has ended, or yields nothing until other jobs are settled. */
  readonly isSourceDry: boolean;
  /** The source has ended. */
  readonly hasSourceEnded: boolean;
  /** All untried jobs that are left are reserved for a test. */
  readonly isReserveKept: boolean;
}

/**
 * `environment`: the environment is at fault; charges are taken back and load ramps up slowly. `jobs`: the jobs are at fault;
 * charges stand and jobs that failed are known to be bad. `none`: nothing is left to test.
 */
type Verdict = "environment" | "jobs" | "none";

/**
 * Decides whether failures are the jobs' fault or the environment's (an outage, an overload). Failure counts alone
 * cannot tell; a test at low load can. Slaves that fail everything are judged first and excluded (`Health`).
 *
 *             a quarter of the last 100 attempts failed
 *   NORMAL ---------------------------------------------> TESTING <---- nothing succeeds any more ----.
 *     ^  ^                                                 |  |                                        |
 *     |  '--- jobs: no job that failed before succeeds, ---'  '- environment: failed job succeeds --> OPENING
 *     |            but many untried ones do                                                           |
 *     '------------------------ slaves have all they can take ---------------------------------------'
 *
 * - NORMAL: every failure is charged.
 * - TESTING: after running jobs end (waiting at most a second), only a few probes are leased at a time, in turns jobs
 *   that failed and untried jobs drawn at random. Nothing is charged. If no probe succeeds, that is an outage: the
 *   pause between probes grows until one succeeds. When no untried jobs are left, the verdict depends on what else
 *   succeeded when the jobs failed (`isExplained`).
 * - OPENING: load ramps up, see `Opening`.
 *
 * A job whose attempts are spent is not buried at once, see `SpentJobs`.
 */
export class Failures {
  mode: "normal" | "testing" | "opening" = "normal";
  /** Message of the latest failure. */
  message = "";
  /** Stack of the latest failure; empty if unknown. */
  stack = "";
  /**
   * Message of the latest failure before load began to ramp up. Shown as the cause then: later failures may be of a
   * single bad job.
   */
  messageBefore = "";
  readonly opening = new Opening();
  /** Seqs of jobs that a verdict called bad: their failures say nothing about the environment. */
  readonly knownBad = new Set<number>();
  /**
   * Seqs of spent jobs that another slave was given once more, because nothing succeeds at the slave where they failed.
   */
  readonly triedElsewhere = new Set<number>();
  readonly #window = new Window();
  /** No test before this many attempts have ended, unless more fail than at the last verdict. */
  #gateAt = 0;
  #gap = retestGap;
  #shareAtTest = 1;
  /** True from a verdict that blamed the jobs until one that blames the environment. */
  #areJobsBad = false;
  /** Jobs that failed and then succeeded at a retry, since the last verdict. */
  #recovered = 0;
  /** Share of recent retries that succeeded, as a moving average. */
  #recovery = 0;
  #test = new Test(0, false);
  #testedFrom: "normal" | "opening" = "normal";
  /** Time of the lag-adjusted clock since when nothing succeeds; Infinity while something does. */
  failingSinceMs = Infinity;
  /** Only failed jobs are left and nothing succeeded for `maxOutageAtEndMs`: they are taken to be bad, and charged. */
  isEndgame = false;
  /** Jobs of the current failure streak: those that failed since the last success. */
  #streak: number[] = [];
  /**
   * Time of each job's first failure, by seq; -Infinity once that failure is known to lie amid successes of other jobs.
   */
  readonly #firstFailedMs = new Map<number, number>();
  #streakFromMs = 0;
  /** Longest failure streak that ended with a success, in attempts and in time: outages that passed. */
  readonly #longestOutage = { count: 0, ms: 0 };
  /** Of the latest jobs, how many first failed amid successes of others, and how many succeeded. */
  readonly #amid = { ok: 0, bad: 0 };
  /** Time of the last success. */
  #lastGoodMs = -Infinity;
  /** Time when the last attempt ended. */
  #activeMs: number;

  constructor(nowMs: number) {
    this.#activeMs = nowMs;
  }

  get isNormal(): boolean {
    return this.mode === "normal";
  }

  /** True while nothing succeeds, even at low load. */
  get isOutage(): boolean {
    return this.mode === "testing" && this.#test.isFruitless;
  }

  /** During an outage: the message and place of the failure; null otherwise. */
  get outage(): string | null {
    return this.isOutage ? headline(this.message) + placeOfFault(this) : null;
  }

  /**
   * Counts attempts that succeeded. `recovered`: how many were of jobs that had failed before, at a slave that is not
   * suspect. `isRefuting`: one of them had failed at a suspect slave.
   */
  succeeded(
    count: number,
    recovered: number,
    { kind, isRefuting }: Readonly<{ kind: ProbeKind | null; isRefuting: boolean }>,
    leasedMs: number,
    nowMs: number,
  ): void {
    this.#activeMs = nowMs;
    if (this.#streak.length > 0) this.#endStreak(nowMs);
    this.#countAmid(count);
    this.#lastGoodMs = nowMs;
    this.#window.succeeded(count);
    this.#recovered += recovered;
    if (recovered > 0) this.#recovery += (1 - this.#recovery) * Math.min(1, recovered * recoveryWeight);
    if (this.mode === "opening") this.opening.succeeded(count, recovered, leasedMs, nowMs);
    if (this.mode !== "testing") return;
    this.#test.ended(kind, true, !isRefuting, nowMs);
    this.failingSinceMs = Infinity;
    this.isEndgame = false;
  }

  /**
   * Counts a failed attempt. `isRetry`: the job had failed before. `isSuspect`: its slave may be the cause. Returns
   * whether to charge the job.
   */
  failed(
    { seq, isRetry, probe, isSuspect, leasedMs }: Readonly<
      { seq: number; isRetry: boolean; probe: ProbeKind | null; isSuspect: boolean; leasedMs: number }
    >,
    { message, stack }: Pick<Attempt, "message" | "stack">,
    nowMs: number,
  ): boolean {
    this.#activeMs = nowMs;
    this.message = message;
    this.stack = stack;
    const isKnown = this.knownBad.has(seq);
    if (isRetry) this.#recovery *= 1 - recoveryWeight;
    if (!this.#firstFailedMs.has(seq)) this.#firstFailedMs.set(seq, nowMs);
    if (!isKnown && this.#streak.push(seq) === 1) this.#streakFromMs = nowMs;
    // A job that failed before others succeeded is probably bad: its next failure is no sign of an outage.
    const tells = this.#lastGoodMs <= this.#firstFailedMs.get(seq)! ||
      (this.#recovery >= recoveryMin && !this.#areJobsBad);
    if (!isKnown && tells) this.#window.failed(seq);
    if (this.mode === "opening") return this.opening.failed(seq, isRetry, isKnown, leasedMs, nowMs);
    if (this.mode === "normal") return true;
    this.#test.ended(probe, false, !isSuspect, nowMs);
    return this.isEndgame;
  }

  /** Ends the failure streak. A short one was caused by scattered bad jobs, a long one by an outage that passed. */
  #endStreak(nowMs: number): void {
    if (this.#streak.length < this.#longestStreak(streakChance, tailAttempts)) {
      for (const seq of this.#streak) {
        if (!this.#firstFailedMs.has(seq)) continue;
        this.#firstFailedMs.set(seq, -Infinity);
        this.#amid.bad++;
      }
    } else {
      this.#longestOutage.count = Math.max(this.#longestOutage.count, this.#streak.length);
      this.#longestOutage.ms = Math.max(this.#longestOutage.ms, nowMs - this.#streakFromMs);
    }
    this.#streak = [];
  }

  #countAmid(succeeded: number): void {
    const amid = this.#amid;
    amid.ok += succeeded;
    if (amid.ok + amid.bad <= recentJobsMax) return;
    const share = recentJobsMax / 2 / (amid.ok + amid.bad);
    amid.ok *= share;
    amid.bad *= share;
  }

  /** The streak length that bad jobs alone exceed with less than probability `chance`; at least `least`. */
  #longestStreak(chance: number, least: number): number {
    const { ok, bad } = this.#amid;
    return Math.max(least, Math.min(streakMax, Math.log(chance) / Math.log(bad / (ok + bad))));
  }

  /**
   * Whether other jobs succeeded since this job first failed, so that an outage does not explain its failures. If its
   * first failure was not amid successes, the current streak must also last far longer than any outage that passed.
   */
  isExplained(seq: number, nowMs: number): boolean {
    const firstMs = this.#firstFailedMs.get(seq);
    if (firstMs === undefined || firstMs >= this.#lastGoodMs) return false;
    return firstMs === -Infinity || this.#streak.length >= longStreakFactor * this.#longestOutage.count ||
      nowMs - this.#streakFromMs >= longStreakFactor * this.#longestOutage.ms;
  }

  /** Whether probing with this job would tell nothing. */
  isKnownBad(seq: number): boolean {
    return this.knownBad.has(seq) && !this.isEndgame;
  }

  /** Drops all records of a job that is settled, about to be buried, or treated as untried again. */
  forget(seq: number): void {
    if (this.#firstFailedMs.size > 0) this.#firstFailedMs.delete(seq);
    this.knownBad.delete(seq);
    this.triedElsewhere.delete(seq);
    this.opening.forget(seq);
  }

  /**
   * How many untried jobs to keep for a final test: enough that some of them succeed unless there is an outage. 0 while
   * few jobs fail.
   */
  get untriedReserve(): number {
    if (this.mode === "testing") return 0;
    const share = this.mode === "opening" ? this.opening.baseline : this.#window.share;
    if (this.mode === "normal" && (share < failureWindowShare || this.#window.isOfOneJob)) return 0;
    return Math.min(reserveMax, Math.ceil(reserveGood / (1.001 - share)));
  }

  /** During an outage: limits the pause between probes to `pauseMs`. */
  limitProbePause(pauseMs: number): void {
    this.#test.pauseMsMax = Math.min(outagePauseMsMax, pauseMs);
  }

  /** Call after each event. `adjustedMs` is the time of the lag-adjusted clock. Returns a verdict if there is one. */
  judge(fleet: FleetView, nowMs: number, adjustedMs: number): Verdict | null {
    switch (this.mode) {
      case "normal":
        if (this.#mustTest(fleet)) this.#beginTest(fleet, nowMs, adjustedMs);
        return null;
      case "opening":
        if (
          this.opening.isCollapsed || this.#streak.length >= failureWindow || this.#mustTestLast(fleet)
        ) {
          this.#beginTest(fleet, nowMs, adjustedMs);
        } else if (this.opening.isOver(nowMs)) this.#returnToNormal(0);
        return null;
      case "testing":
        return this.#judgeTest(fleet, nowMs, adjustedMs);
      default:
        return this.mode satisfies never;
    }
  }

  /** Whether nothing that could tell more about spent jobs will come soon. */
  isVerdictFinal({ isIdle, isSourceDry, untried }: FleetView, nowMs: number): boolean {
    if (!isIdle || untried > 0) return false;
    if (this.mode === "normal") return isSourceDry || nowMs >= this.#activeMs + quietMs;
    return this.mode === "opening" && isSourceDry && this.#streak.length < tailAttempts;
  }

  /** Which kind of job to probe with now; null if none. */
  nextProbe(fleet: FleetView, random: () => number, nowMs: number): ProbeKind | null {
    if (this.mode !== "testing" || !this.#test.mayBegin(fleet, nowMs)) return null;
    return this.#test.next(fleet, random, this.isEndgame);
  }

  probed(kind: ProbeKind, nowMs: number): void {
    this.#test.began(kind, nowMs, this.isEndgame);
  }

  /** Leasing was paused by the operator for this long: an outage does not get longer by it. */
  excludePause(forMs: number): void {
    this.failingSinceMs += forMs;
  }

  /** When to act even if no event comes; Infinity if never. */
  wakeMs({ spent, probing }: FleetView, nowMs: number): number {
    if (this.mode === "testing") return this.#test.wakeMs(probing, nowMs);
    if (this.mode === "opening") return this.opening.wakeMs(nowMs);
    return spent > 0 ? after(this.#activeMs + quietMs, nowMs) : Infinity;
  }

  #mustTest(fleet: FleetView): boolean {
    const { share, total } = this.#window;
    if (share < failureWindowShare || this.#window.isOfOneJob) return false;
    if (this.#mustTestLast(fleet)) return true;
    if (fleet.isReserveKept && this.#areJobsBad) return false;
    return total >= this.#gateAt || this.#isWorse(share) || this.#recovered >= 5;
  }

  /**
   * The reserved untried jobs must be tested now: nothing else is left, and every job that failed is out of attempts.
   */
  #mustTestLast({ isReserveKept, isIdle, spent }: FleetView): boolean {
    return isReserveKept && spent > 0 && isIdle;
  }

  /** Whether clearly more jobs fail than when the jobs were blamed. */
  #isWorse(share: number): boolean {
    return this.#shareAtTest < 1 && share >= Math.min(1, this.#shareAtTest + 0.15);
  }

  /**
   * Whether one later success at the slave proves that a spent job was bad. False while much fails for an unknown
   * reason.
   */
  get isCalm(): boolean {
    const share = this.#window.share;
    return this.mode === "normal" &&
      (share < failureWindowShare || (this.#areJobsBad && !this.#isWorse(share)));
  }

  #beginTest(fleet: FleetView, nowMs: number, adjustedMs: number): void {
    this.#shareAtTest = this.#window.share;
    this.#test = new Test(nowMs, fleet.isReserveKept);
    this.#testedFrom = this.mode === "opening" ? "opening" : "normal";
    this.mode = "testing";
    this.failingSinceMs = adjustedMs;
  }

  #judgeTest(fleet: FleetView, nowMs: number, adjustedMs: number): Verdict | null {
    if (this.failingSinceMs === Infinity) this.failingSinceMs = adjustedMs;
    const wasOutage = this.#test.hasBeenFruitless;
    const verdict = this.#test.verdict(fleet, this.#longestStreak(lastStreakChance, lastStreakMin));
    if (verdict !== null) this.#streak = [];
    if (verdict === "environment") {
      this.mode = "opening";
      this.messageBefore = this.message;
      this.opening.begin(nowMs);
      this.knownBad.clear();
      // Overload makes jobs fail amid successes, so a success in between explains nothing.
      if (!wasOutage) { for (const seq of this.#firstFailedMs.keys()) this.#firstFailedMs.set(seq, nowMs); }
      this.#gap = retestGap;
      this.#shareAtTest = 1;
      this.#areJobsBad = false;
      this.#recovered = 0;
      this.#window.clear();
      this.isEndgame = false;
    } else if (verdict !== null) {
      if (verdict === "jobs") this.#areJobsBad = true;
      if (this.#testedFrom === "opening" && verdict !== "none") {
        this.#returnToNormal(0);
        this.mode = "opening";
        this.opening.goOn(nowMs);
        return verdict;
      }
      const gap = this.#gap;
      if (verdict === "jobs") this.#gap = Math.min(retestGapMax, 2 * gap);
      this.#returnToNormal(gap);
    }
    return verdict;
  }

  #returnToNormal(gap: number): void {
    this.mode = "normal";
    this.isEndgame = false;
    this.failingSinceMs = Infinity;
    this.#gateAt = this.#window.total + gap;
    this.#recovered = 0;
    this.#window.clear();
  }

  /** A slave was the cause: discards what was counted. */
  blameSlave(nowMs: number): void {
    if (this.mode === "testing") return this.#returnToNormal(0);
    this.#window.clear();
    if (this.mode === "opening") this.opening.relax(nowMs);
  }
}

/** The latest attempts that ended, without those of jobs known to be bad. */
class Window {
  /** Attempts that ended, over the whole run. */
  total = 0;
  #from = 0;
  #failures: { at: number; seq: number }[] = [];

  succeeded(count: number): void {
    this.total += count;
  }

  failed(seq: number): void {
    this.#failures.push({ at: ++this.total, seq });
    if (this.#failures.length > 2 * failureWindow) this.#drop();
  }

  /** The share that failed; 0 while there are too few attempts to tell. */
  get share(): number {
    const attempts = Math.min(failureWindow, this.total - this.#from);
    if (this.#failures.length === 0 || attempts < failureWindowMin) return 0;
    this.#drop();
    return this.#failures.length / attempts;
  }

  get isOfOneJob(): boolean {
    const first = this.#failures[0]?.seq;
    return this.#failures.every(({ seq }) => seq === first);
  }

  /** Starts over: the share is 0 until enough new attempts have ended. */
  clear(): void {
    this.#failures = [];
    this.#from = this.total;
  }

  #drop(): void {
    const from = this.total - failureWindow;
    if (this.#failures[0] === undefined || this.#failures[0].at > from) return;
    this.#failures = this.#failures.filter(({ at }) => at > from);
  }
}

/** One test at low load: its probes so far and their verdict. */
class Test {
  readonly #startMs: number;
  readonly #isLast: boolean;
  #hasBegun = false;
  readonly #failed = { ok: 0, bad: 0 };
  readonly #untried = { ok: 0, bad: 0 };
  /** Untried jobs that are being probed now. */
  #untriedOut = 0;
  /** Failed probes since the last success. */
  #failedInRow = 0;
  #beganMs = -Infinity;
  /** How many more failed jobs than untried jobs were probed. */
  #lead = 0;
  /** No untried jobs are left to compare with. */
  #isTail = false;
  #nextMs = 0;
  /** Longest pause between two probes. */
  pauseMsMax = outagePauseMsMax;

  /** `isLast`: the untried jobs that are left were reserved for this test. */
  constructor(nowMs: number, isLast: boolean) {
    this.#startMs = nowMs;
    this.#isLast = isLast;
  }

  /** Whether the test was an outage at any time. */
  hasBeenFruitless = false;

  /** True while the last `outageProbes` probes all failed. */
  get isFruitless(): boolean {
    return this.#failedInRow >= outageProbes;
  }

  /**
   * Whether to lease a probe now: first once running jobs ended or a second passed, then one at a time, more if probes
   * are slow.
   */
  mayBegin({ inFlight, probing }: FleetView, nowMs: number): boolean {
    this.#hasBegun ||= inFlight === probing || nowMs >= this.#startMs + testSettleMs;
    if (!this.#hasBegun || nowMs < this.#nextMs) return false;
    return probing === 0 || (probing < probesMax && nowMs >= this.#beganMs + slowProbeMs);
  }

  /** Alternates, but not in a fixed order: the called service may have a rhythm of its own. */
  next({ untried, suspects }: FleetView, random: () => number, isEndgame: boolean): ProbeKind | null {
    this.#isTail = untried === 0;
    if (suspects === 0) return untried > 0 ? "untried" : null;
    if (untried === 0 || isEndgame) return "failed";
    return this.#lead > 1 || (this.#lead > -2 && random() < 0.5) ? "untried" : "failed";
  }

  began(kind: ProbeKind, nowMs: number, isEndgame: boolean): void {
    this.#beganMs = nowMs;
    this.#lead += kind === "failed" ? 1 : -1;
    if (kind === "untried") this.#untriedOut++;
    if (isEndgame) this.#nextMs = nowMs + endgamePauseMs;
    else if (this.isFruitless) {
      const pauseMs = outagePauseMsMin * outagePauseGrowth ** (this.#failedInRow - outageProbes);
      this.#nextMs = nowMs + Math.min(pauseMs, this.pauseMsMax);
    } else if (this.#isTail && this.#failedInRow >= tailProbesAtOnce) this.#nextMs = nowMs + tailPauseMs;
  }

  /**
   * Counts an attempt that ended. `kind` is null if it was leased before the test; `counts` is false if its slave may
   * be the cause of a failure.
   */
  ended(kind: ProbeKind | null, isOk: boolean, counts: boolean, nowMs: number): void {
    if (kind === null) return;
    const of = kind === "failed" ? this.#failed : this.#untried;
    // failures in an outage that is over say nothing about the jobs
    if (isOk && this.isFruitless) this.#failed.bad = this.#untried.bad = 0;
    if (counts) of[isOk ? "ok" : "bad"]++;
    if (kind === "untried") this.#untriedOut--;
    this.#failedInRow = isOk ? 0 : this.#failedInRow + 1;
    this.hasBeenFruitless ||= this.isFruitless;
    if (isOk) this.#nextMs = nowMs;
  }

  /**
   * `unexplainedMax`: how many failed jobs without an explanation still allow blaming the jobs when nothing else is
   * left.
   */
  verdict(fleet: FleetView, unexplainedMax: number): Verdict | null {
    const { untried, suspects, probing } = fleet;
    if (this.#failed.ok > 0) return "environment";
    const { ok, bad } = this.#untried;
    // Spent jobs are half of those probed and likelier bad: count only the other half.
    const tested = fleet.spent > 0 ? this.#failed.bad >> 1 : this.#failed.bad;
    const chance = ok === 0 ? 1 : chanceOf(tested, ok + bad, ok);
    // All reserved jobs must be probed first: bad ones among them could not be told from an outage later.
    const isOpen = this.#isLast && (untried > 0 || (probing > 0 && this.#untriedOut > 0));
    if (tested >= 3 && chance <= verdictChance && !isOpen) return "jobs";
    if (untried > 0 || probing > 0) return suspects > 0 || ok < 3 ? null : "none";
    if (suspects === 0) return "none";
    // No untried jobs are left to compare with: use what succeeded around the jobs' first failures.
    if (this.isFruitless && fleet.unexplained <= unexplainedMax) return "jobs";
    return chance <= lastVerdictChance ? "jobs" : null;
  }

  wakeMs(probing: number, nowMs: number): number {
    // after this time only a slave with credit can let the test begin
    if (!this.#hasBegun) return after(this.#startMs + testSettleMs, nowMs);
    if (probing > 0) return probing < probesMax ? Math.max(nowMs + 1, this.#beganMs + slowProbeMs) : Infinity;
    return after(this.#nextMs, nowMs);
  }
}

/** `atMs` if that is still to come; Infinity if it is past, because then only an event is awaited. */
function after(atMs: number, nowMs: number): number {
  return atMs > nowMs ? atMs : Infinity;
}
