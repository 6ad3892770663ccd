/** A look this late was not late by chance, where nothing else is said. */
const lateMsDefault = 1_000;
/** So long after a lag, what came meanwhile has been read. */
const settleMsDefault = 250;

/** Of a guard that looks every 0.1 s: a look may be late by so much. */
export const awakeLateMs = 250;

/**
 * Notices that this process itself stood still: it was stopped or blocked, or the machine slept. Nobody is to blame for
 * that time, and nobody may be called late right after it: what came meanwhile is still in the sockets, behind the
 * overdue timer.
 *
 * It keeps a patient clock, which stands still while the process does. That clock is right from the moment on in which
 * the process goes on, whatever runs first: ahead of the latest look it only goes by what a look may be late.
 *
 * It reads no clock. All times are of one clock that only goes forward, but for those called `time`, which the patient
 * clock shows.
 */
export class LagGuard {
  readonly #lateMs: number;
  readonly #settleMs: number;
  #lagMs = 0;
  /** The patient clock shows no more than this before the next look. */
  #timeMax = Infinity;
  #judgeFromMs = -Infinity;

  /**
   * @param lateMs A look that is later than it should be by no more than this is late by chance.
   * @param settleMs For so long after a lag nobody is judged, or for as long as the lag was if that is less.
   */
  constructor(lateMs: number = lateMsDefault, settleMs: number = settleMsDefault) {
    this.#lateMs = lateMs;
    this.#settleMs = settleMs;
  }

  /** The next look is to come at `wakeMs`, at the latest. */
  expect(wakeMs: number): void {
    this.#timeMax = wakeMs - this.#lagMs + this.#lateMs;
  }

  /** A look, at `nowMs`. Returns for how long the patient clock stood still since the one before. */
  note(nowMs: number): number {
    const lagMs = nowMs - this.#lagMs - this.#timeMax;
    if (!(lagMs > 0)) return 0;
    this.#lagMs += lagMs;
    this.#judgeFromMs = nowMs + Math.min(lagMs + this.#lateMs, this.#settleMs);
    this.expect(nowMs);
    return lagMs;
  }

  /** A look by whoever looks again and again; returns the patient clock's time. */
  look(nowMs: number): number {
    this.note(nowMs);
    this.expect(nowMs);
    return this.time(nowMs);
  }

  /** The patient clock's time. */
  time(nowMs: number): number {
    return Math.min(nowMs - this.#lagMs, this.#timeMax);
  }

  /** When the patient clock will show `time`, and judging is allowed. */
  realMs(time: number): number {
    const realMs = time + this.#lagMs;
    // sums of fractions are rounded: woken a hair too early, a caller would turn until the clock moves
    return Math.max(realMs - this.#lagMs < time ? realMs + 1 : realMs, this.#judgeFromMs);
  }

  /** From when on others may be called late: in the past, but for a moment after a lag. */
  get judgeFromMs(): number {
    return this.#judgeFromMs;
  }

  mayJudge(nowMs: number): boolean {
    return nowMs >= this.#judgeFromMs;
  }
}
