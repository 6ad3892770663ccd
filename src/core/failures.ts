import { recoveryMin, recoveryWeight } from "../lib/limits.ts";
import { chanceOf } from "./health.ts";
import { Opening } from "./opening.ts";
import { headline, placeOfFault } from "./piece.ts";
import type { Attempt, ProbeKind } from "./types.ts";

/** So many of the attempts that ended last are looked at: fewer say nothing of the world. */
export const failureWindow = 100;
/** In a run that is younger, so many at least. */
const failureWindowMin = 50;
/** So large a share of them that failed is worth a test: handlers that fail now and then are far below. */
const failureWindowShare = 0.25;
/** After a test that blamed the rows, none before so many attempts; twice as many each time, up to the last. */
const retestGap = 300;
const retestGapMax = 10_000;
/** A test waits so long for what runs: low load is what it is about. */
const testSettleMs = 1_000;
/** A test blames the rows once what it saw would come by chance in so few cases. */
const verdictChance = 0.005;
/** The same where there is nothing left to test with. */
const lastVerdictChance = 0.01;
/** Probes beside one another, where they are slow: still next to no load. */
const probesMax = 8;
/** A probe that takes so long is slow. */
const slowProbeMs = 250;
/** So many probes in a row that fail are an outage: from then on each waits a little longer, up to two a second. */
const outageProbes = 20;
const outagePauseMsMin = 5;
const outagePauseGrowth = 1.08;
const outagePauseMsMax = 500;
/** Pause between two probes of jobs that are taken for bad. */
const endgamePauseMs = 20;
/** Where nothing untried is left: pause between two probes, once so many failed in a row. A service that admits little admits these. */
const tailPauseMs = 50;
const tailProbesAtOnce = 5;
/** A row of failures that bad rows would make in fewer cases is an outage, and one of so many in any case. */
const rowChance = 0.001;
const rowMax = 80;
/** The same for the last row, which no success ends: with that few jobs it says nothing. */
const lastRowChance = 0.005;
const lastRowMin = 5;
/** What fails again this many times longer than any row before is bad, and what ended the row did not help it. */
const longRowsMax = 3;
/** So many of the latest jobs tell how many are bad. */
const amidMemory = 1_000;
/** Nothing happened for so long: what is condemned is buried though the source may go on. */
const quietMs = 60_000;
/** Untried jobs that are kept for a test at the end, where many fail: so many that some of them succeed. */
const reserveGood = 12;
const reserveMax = 160;
/** Failed attempts since the last success, with nothing left to do: fewer are no sign of an outage. */
const tailAttempts = 25;

/** What judging needs to know of the run. All counts are of jobs. */
export interface FleetView {
  /** Leased to slaves that are not quarantined, probes included. */
  readonly inFlight: number;
  readonly probing: number;
  /** Never failed, and not leased. */
  readonly untried: number;
  /** Failed, not leased, and not known as bad. */
  readonly suspects: number;
  /** Suspects that may have failed for an outage that goes on. */
  readonly unexplained: number;
  readonly spent: number;
  /** Nothing is leased, ready or delayed, but for jobs kept in reserve. */
  readonly isIdle: boolean;
  /** The source has nothing more to give, or nothing before others are settled. */
  readonly isSourceDry: boolean;
  /** The source has nothing more to give. */
  readonly hasSourceEnded: boolean;
  /** All untried jobs that are left are kept for a test. */
  readonly isReserveKept: boolean;
}

/**
 * `world`: charges are taken back, and load comes back slowly. `rows`: charges stand, jobs that failed are known as
 * bad. `none`: there is nothing to test any more.
 */
type Verdict = "world" | "rows" | "none";

/**
 * Tells whose fault failures are: the rows', or the world's (an outage, an overload). Counting alone cannot tell; a test
 * at low load can. Slaves that fail everything are judged before, and left out of this (`Health`).
 *
 *             a quarter of the last 100 attempts failed
 *   NORMAL ---------------------------------------------> TESTING <---- nothing succeeds any more ----.
 *     ^  ^                                                 |  |                                        |
 *     |  '--- rows: of the failed ones none succeeds ------'  '-- world: one that failed succeeds --> OPENING
 *     |            but of the untried ones many                                                       |
 *     '------------------------ slaves have all they can take ---------------------------------------'
 *
 * - NORMAL: every failure is charged.
 * - TESTING: once what runs has ended (a second at most), only probes are leased, few at a time: by turns a job that
 *   failed and one that was not tried yet, drawn from all there are. While nothing succeeds, that is an outage: then
 *   probes come less and less often, until one succeeds. Nothing is charged. Where nothing untried is left, it counts what
 *   went on when the jobs failed (`isExplained`).
 * - OPENING: see `Opening`.
 *
 * A job whose attempts are spent is not buried at once, see `Condemned`.
 */
export class Failures {
  mode: "normal" | "testing" | "opening" = "normal";
  /** What the latest failure said. */
  message = "";
  /** Where it was thrown; empty if that is not known. */
  stack = "";
  /** What failed before load came back: a bad row among what succeeds now is not why. */
  messageBefore = "";
  readonly opening = new Opening();
  /** Jobs that a verdict called bad, by seq: their failures tell nothing about the world. */
  readonly knownBad = new Set<number>();
  /** Jobs that another slave was given, for nothing succeeds at the one where they failed. */
  readonly triedElsewhere = new Set<number>();
  readonly #window = new Window();
  /** No test before so many attempts have ended, unless more fail than at the last verdict. */
  #gateAt = 0;
  #gap = retestGap;
  #shareAtTest = 1;
  /** A test blamed the rows, and no later one the world. */
  #areRowsBad = false;
  /** Jobs that had failed, and succeeded at another try since the last verdict. */
  #recovered = 0;
  /** How many of the latest attempts of jobs that had failed before succeeded, as a share. */
  #recovery = 0;
  #test = new Test(0, false);
  #testedFrom: "normal" | "opening" = "normal";
  /** On the patient clock: since when nothing succeeds; Infinity if something does. */
  failingSinceMs = Infinity;
  /** Only failed jobs are left, and nothing succeeded for long: they are taken for bad, and charged. */
  isEndgame = false;
  /** The jobs that failed since something succeeded last. */
  #row: number[] = [];
  /** By seq: when the job failed first; -Infinity once it failed amid successes. */
  readonly #firstFailedMs = new Map<number, number>();
  #rowFromMs = 0;
  /** The most that failed in a row before something succeeded again, and the longest such time: outages that passed. */
  readonly #passed = { count: 0, ms: 0 };
  /** Of the latest jobs, how many failed at first amid successes, and how many succeeded. */
  readonly #amid = { ok: 0, bad: 0 };
  /** When something succeeded last. */
  #lastGoodMs = -Infinity;
  /** When an attempt ended last. */
  #activeMs: number;

  constructor(nowMs: number) {
    this.#activeMs = nowMs;
  }

  get isNormal(): boolean {
    return this.mode === "normal";
  }

  /** Nothing succeeds, not even at low load. */
  get isOutage(): boolean {
    return this.mode === "testing" && this.#test.isFruitless;
  }

  /** What fails then, and where; null while anything succeeds. */
  get outage(): string | null {
    return this.isOutage ? headline(this.message) + placeOfFault(this) : null;
  }

  /**
   * Attempts ended well. `recovered` of them were of jobs that had failed before, and not at a slave that is suspected;
   * `isRefuting`: one that had failed there was among them.
   */
  succeeded(
    count: number,
    recovered: number,
    { kind, isRefuting }: Readonly<{ kind: ProbeKind | null; isRefuting: boolean }>,
    leasedMs: number,
    nowMs: number,
  ): void {
    this.#activeMs = nowMs;
    if (this.#row.length > 0) this.#endRow(nowMs);
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

  /** An attempt failed; `isRetry`: the job had failed before; `isSuspect`: its slave may be why. Returns whether it is to be charged. */
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
    if (!isKnown && this.#row.push(seq) === 1) this.#rowFromMs = nowMs;
    // bad rows fail again, and at the end there are no others: no sign of an outage, if others succeeded in between
    const tells = this.#lastGoodMs <= this.#firstFailedMs.get(seq)! ||
      (this.#recovery >= recoveryMin && !this.#areRowsBad);
    if (!isKnown && tells) this.#window.failed(seq);
    if (this.mode === "opening") return this.opening.failed(seq, isRetry, isKnown, leasedMs, nowMs);
    if (this.mode === "normal") return true;
    this.#test.ended(probe, false, !isSuspect, nowMs);
    return this.isEndgame;
  }

  /** So few failures in a row come from rows that are bad here and there; in an outage they are more. */
  #endRow(nowMs: number): void {
    if (this.#row.length < this.#longestRow(rowChance, tailAttempts)) {
      for (const seq of this.#row) {
        if (!this.#firstFailedMs.has(seq)) continue;
        this.#firstFailedMs.set(seq, -Infinity);
        this.#amid.bad++;
      }
    } else {
      this.#passed.count = Math.max(this.#passed.count, this.#row.length);
      this.#passed.ms = Math.max(this.#passed.ms, nowMs - this.#rowFromMs);
    }
    this.#row = [];
  }

  #countAmid(succeeded: number): void {
    const amid = this.#amid;
    amid.ok += succeeded;
    if (amid.ok + amid.bad <= amidMemory) return;
    const share = amidMemory / 2 / (amid.ok + amid.bad);
    amid.ok *= share;
    amid.bad *= share;
  }

  /** A row of bad rows that is longer comes in fewer cases than this `chance`; it is so long at least. */
  #longestRow(chance: number, least: number): number {
    const { ok, bad } = this.#amid;
    return Math.max(least, Math.min(rowMax, Math.log(chance) / Math.log(bad / (ok + bad))));
  }

  /**
   * Whether something succeeded since it failed first. While nothing else is left, and it fails again, it is taken for bad:
   * once that goes on far longer than any outage that passed, if it was not amid successes.
   */
  isExplained(seq: number, nowMs: number): boolean {
    const firstMs = this.#firstFailedMs.get(seq);
    if (firstMs === undefined || firstMs >= this.#lastGoodMs) return false;
    return firstMs === -Infinity || this.#row.length >= longRowsMax * this.#passed.count ||
      nowMs - this.#rowFromMs >= longRowsMax * this.#passed.ms;
  }

  /** Whether a test with it would tell nothing. */
  isKnownBad(seq: number): boolean {
    return this.knownBad.has(seq) && !this.isEndgame;
  }

  /** The job is settled, on its way to the dead letters, or as good as untried. */
  forget(seq: number): void {
    if (this.#firstFailedMs.size > 0) this.#firstFailedMs.delete(seq);
    this.knownBad.delete(seq);
    this.triedElsewhere.delete(seq);
    this.opening.forget(seq);
  }

  /**
   * Where many fail, at the end nothing may be left that did not: so many of the last untried jobs are kept for a test, so
   * that some of them succeed, unless it is an outage.
   */
  get reserve(): number {
    if (this.mode === "testing") return 0;
    const share = this.mode === "opening" ? this.opening.baseline : this.#window.share;
    if (this.mode === "normal" && (share < failureWindowShare || this.#window.isOfOneJob)) return 0;
    return Math.min(reserveMax, Math.ceil(reserveGood / (1.001 - share)));
  }

  /** While everything fails, probes are to come at least so often. */
  hurry(pauseMs: number): void {
    this.#test.pauseMsMax = Math.min(outagePauseMsMax, pauseMs);
  }

  /** Call after each event. `patientMs` is the time on the patient clock. Returns a verdict if there is one. */
  judge(around: FleetView, nowMs: number, patientMs: number): Verdict | null {
    switch (this.mode) {
      case "normal":
        if (this.#mustTest(around)) this.#beginTest(around, nowMs, patientMs);
        return null;
      case "opening":
        if (
          this.opening.isCollapsed || this.#row.length >= failureWindow || this.#mustTestLast(around)
        ) {
          this.#beginTest(around, nowMs, patientMs);
        } else if (this.opening.isOver(nowMs)) this.#goOn(0);
        return null;
      case "testing":
        return this.#judgeTest(around, nowMs, patientMs);
      default:
        return this.mode satisfies never;
    }
  }

  /** Nothing that could tell more about condemned jobs will come, or not soon. */
  isLastWord({ isIdle, isSourceDry, untried }: FleetView, nowMs: number): boolean {
    if (!isIdle || untried > 0) return false;
    if (this.mode === "normal") return isSourceDry || nowMs >= this.#activeMs + quietMs;
    return this.mode === "opening" && isSourceDry && this.#row.length < tailAttempts;
  }

  /** Which kind of job is to be probed with now; null if none. */
  nextProbe(around: FleetView, random: () => number, nowMs: number): ProbeKind | null {
    if (this.mode !== "testing" || !this.#test.mayBegin(around, nowMs)) return null;
    return this.#test.next(around, random, this.isEndgame);
  }

  probed(kind: ProbeKind, nowMs: number): void {
    this.#test.began(kind, nowMs, this.isEndgame);
  }

  /** Nothing was leased for so long, as an operator wanted it: an outage lasts no longer for that. */
  waited(forMs: number): void {
    this.failingSinceMs += forMs;
  }

  /** When something may have to be done though nothing happens. */
  wakeMs({ spent, probing }: FleetView, nowMs: number): number {
    if (this.mode === "testing") return this.#test.wakeMs(probing, nowMs);
    if (this.mode === "opening") return this.opening.wakeMs(nowMs);
    return spent > 0 ? after(this.#activeMs + quietMs, nowMs) : Infinity;
  }

  #mustTest(around: FleetView): boolean {
    const { share, total } = this.#window;
    if (share < failureWindowShare || this.#window.isOfOneJob) return false;
    if (this.#mustTestLast(around)) return true;
    if (around.isReserveKept && this.#areRowsBad) return false;
    return total >= this.#gateAt || this.#isWorse(share) || this.#recovered >= 5;
  }

  /** What was kept for a test is to be used: all that failed had its attempts. */
  #mustTestLast({ isReserveKept, isIdle, spent }: FleetView): boolean {
    return isReserveKept && spent > 0 && isIdle;
  }

  /** Whether clearly more fails than when the rows were blamed. */
  #isWorse(share: number): boolean {
    return this.#shareAtTest < 1 && share >= Math.min(1, this.#shareAtTest + 0.15);
  }

  /** Whether one success is enough to show that a job which failed before was bad: not where much fails, and why is not known. */
  get isCalm(): boolean {
    const share = this.#window.share;
    return this.mode === "normal" &&
      (share < failureWindowShare || (this.#areRowsBad && !this.#isWorse(share)));
  }

  #beginTest(around: FleetView, nowMs: number, patientMs: number): void {
    this.#shareAtTest = this.#window.share;
    this.#test = new Test(nowMs, around.isReserveKept);
    this.#testedFrom = this.mode === "opening" ? "opening" : "normal";
    this.mode = "testing";
    this.failingSinceMs = patientMs;
  }

  #judgeTest(around: FleetView, nowMs: number, patientMs: number): Verdict | null {
    if (this.failingSinceMs === Infinity) this.failingSinceMs = patientMs;
    const wasOutage = this.#test.hasBeenFruitless;
    const verdict = this.#test.verdict(around, this.#longestRow(lastRowChance, lastRowMin));
    if (verdict !== null) this.#row = [];
    if (verdict === "world") {
      this.mode = "opening";
      this.messageBefore = this.message;
      this.opening.begin(nowMs);
      this.knownBad.clear();
      // too much load makes jobs fail amid successes: that explains nothing
      if (!wasOutage) { for (const seq of this.#firstFailedMs.keys()) this.#firstFailedMs.set(seq, nowMs); }
      this.#gap = retestGap;
      this.#shareAtTest = 1;
      this.#areRowsBad = false;
      this.#recovered = 0;
      this.#window.clear();
      this.isEndgame = false;
    } else if (verdict !== null) {
      if (verdict === "rows") this.#areRowsBad = true;
      if (this.#testedFrom === "opening" && verdict !== "none") {
        this.#goOn(0);
        this.mode = "opening";
        this.opening.goOn(nowMs);
        return verdict;
      }
      const gap = this.#gap;
      if (verdict === "rows") this.#gap = Math.min(retestGapMax, 2 * gap);
      this.#goOn(gap);
    }
    return verdict;
  }

  #goOn(gap: number): void {
    this.mode = "normal";
    this.isEndgame = false;
    this.failingSinceMs = Infinity;
    this.#gateAt = this.#window.total + gap;
    this.#recovered = 0;
    this.#window.clear();
  }

  /** A slave turned out to be the reason: what was counted says nothing. */
  slaveWasIt(nowMs: number): void {
    if (this.mode === "testing") return this.#goOn(0);
    this.#window.clear();
    if (this.mode === "opening") this.opening.relax(nowMs);
  }
}

/** The last attempts that ended, those of jobs known as bad left out. */
class Window {
  /** Attempts that ended, ever. */
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

  /** From here on, a whole window is needed again. */
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

/** One test at low load: what was tried so far, and what that says. */
class Test {
  readonly #startMs: number;
  readonly #isLast: boolean;
  #hasBegun = false;
  readonly #failed = { ok: 0, bad: 0 };
  readonly #untried = { ok: 0, bad: 0 };
  /** Untried jobs that are being probed with. */
  #untriedOut = 0;
  /** Failures in a row. */
  #inRow = 0;
  #beganMs = -Infinity;
  /** By how many more of the failed ones were probed than of the untried. */
  #lead = 0;
  /** Nothing untried is left to compare with. */
  #isTail = false;
  #nextMs = 0;
  /** Longest pause between two probes. */
  pauseMsMax = outagePauseMsMax;

  /** `isLast`: all untried jobs that are left are there for this. */
  constructor(nowMs: number, isLast: boolean) {
    this.#startMs = nowMs;
    this.#isLast = isLast;
  }

  /** Nothing succeeded for a while. */
  hasBeenFruitless = false;

  /** Nothing succeeds, of what is enough to say so. */
  get isFruitless(): boolean {
    return this.#inRow >= outageProbes;
  }

  /** Once what ran has ended, if that takes no longer than a second; then a probe at a time, more if they are slow. */
  mayBegin({ inFlight, probing }: FleetView, nowMs: number): boolean {
    this.#hasBegun ||= inFlight === probing || nowMs >= this.#startMs + testSettleMs;
    if (!this.#hasBegun || nowMs < this.#nextMs) return false;
    return probing === 0 || (probing < probesMax && nowMs >= this.#beganMs + slowProbeMs);
  }

  /** By turns, but not in a fixed order: what is called may have a rhythm of its own. */
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
      const pauseMs = outagePauseMsMin * outagePauseGrowth ** (this.#inRow - outageProbes);
      this.#nextMs = nowMs + Math.min(pauseMs, this.pauseMsMax);
    } else if (this.#isTail && this.#inRow >= tailProbesAtOnce) this.#nextMs = nowMs + tailPauseMs;
  }

  /** A probe ended; null: something that was leased before the test. `counts`: a slave was not the reason. */
  ended(kind: ProbeKind | null, isOk: boolean, counts: boolean, nowMs: number): void {
    if (kind === null) return;
    const of = kind === "failed" ? this.#failed : this.#untried;
    // what failed in an outage that is over says nothing of rows
    if (isOk && this.isFruitless) this.#failed.bad = this.#untried.bad = 0;
    if (counts) of[isOk ? "ok" : "bad"]++;
    if (kind === "untried") this.#untriedOut--;
    this.#inRow = isOk ? 0 : this.#inRow + 1;
    this.hasBeenFruitless ||= this.isFruitless;
    if (isOk) this.#nextMs = nowMs;
  }

  /** `unexplainedMax`: so many may fail at the end though others are still to succeed, as it happens. */
  verdict(around: FleetView, unexplainedMax: number): Verdict | null {
    const { untried, suspects, probing } = around;
    if (this.#failed.ok > 0) return "world";
    const { ok, bad } = this.#untried;
    // of those that failed most, half; so the other half must be enough to speak for all
    const tested = around.spent > 0 ? this.#failed.bad >> 1 : this.#failed.bad;
    const chance = ok === 0 ? 1 : chanceOf(tested, ok + bad, ok);
    // the last ones are all tried: the bad ones among them could not be told later
    const isOpen = this.#isLast && (untried > 0 || (probing > 0 && this.#untriedOut > 0));
    if (tested >= 3 && chance <= verdictChance && !isOpen) return "rows";
    if (untried > 0 || probing > 0) return suspects > 0 || ok < 3 ? null : "none";
    if (suspects === 0) return "none";
    // there are no others left to compare with: it counts what went on when they failed first
    if (this.isFruitless && around.unexplained <= unexplainedMax) return "rows";
    return chance <= lastVerdictChance ? "rows" : null;
  }

  wakeMs(probing: number, nowMs: number): number {
    // later, only a slave with room can make it begin
    if (!this.#hasBegun) return after(this.#startMs + testSettleMs, nowMs);
    if (probing > 0) return probing < probesMax ? Math.max(nowMs + 1, this.#beganMs + slowProbeMs) : Infinity;
    return after(this.#nextMs, nowMs);
  }
}

/** A time to wake at: none if it is past, since then nothing is waited for but an event. */
function after(atMs: number, nowMs: number): number {
  return atMs > nowMs ? atMs : Infinity;
}
