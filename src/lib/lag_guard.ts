/** Default: a check that is late by more than this shows that the process was blocked. */
const lateMsDefault = 1_000;
/** Default: after a lag, all data that arrived during it has been read within this time. */
const settleMsDefault = 250;

/** Tolerance of a guard that is checked every 0.1 s. */
export const awakeLateMs = 250;

/**
 * Detects that this process itself was stopped or blocked, or that the machine slept. No peer may be blamed for that
 * time, nor be judged late right after it: its data is still in the sockets, to be read after the overdue timer.
 *
 * It keeps a lag-adjusted clock, which stands still while the process does. That clock is correct from the moment the
 * process resumes, whatever code runs first: beyond the latest check it advances by no more than a check may be late.
 *
 * The guard reads no clock itself. Times called `nowMs` and `...Ms` are of one monotonic clock, those called `time` of
 * the lag-adjusted clock.
 */
export class LagGuard {
  readonly #lateMs: number;
  readonly #settleMs: number;
  #lagMs = 0;
  /** Upper limit of the lag-adjusted clock until the next check. */
  #timeMax = Infinity;
  #judgeFromMs = -Infinity;

  /**
   * @param lateMs How late a check may be without counting as a lag.
   * @param settleMs Time after a lag in which no peer is judged; less if the lag was shorter.
   */
  constructor(lateMs: number = lateMsDefault, settleMs: number = settleMsDefault) {
    this.#lateMs = lateMs;
    this.#settleMs = settleMs;
  }

  /** Call when the next check is scheduled: it comes at `wakeMs` at the latest. */
  expect(wakeMs: number): void {
    this.#timeMax = wakeMs - this.#lagMs + this.#lateMs;
  }

  /** Checks for a lag at `nowMs`. Returns how long the lag-adjusted clock stood still since the previous check. */
  note(nowMs: number): number {
    const lagMs = nowMs - this.#lagMs - this.#timeMax;
    if (!(lagMs > 0)) return 0;
    this.#lagMs += lagMs;
    this.#judgeFromMs = nowMs + Math.min(lagMs + this.#lateMs, this.#settleMs);
    this.expect(nowMs);
    return lagMs;
  }

  /** `note` and `expect` in one, for callers that check regularly. Returns the time of the lag-adjusted clock. */
  look(nowMs: number): number {
    this.note(nowMs);
    this.expect(nowMs);
    return this.time(nowMs);
  }

  /** The time of the lag-adjusted clock at `nowMs`. */
  time(nowMs: number): number {
    return Math.min(nowMs - this.#lagMs, this.#timeMax);
  }

  /** When the lag-adjusted clock will show `time` and judging is allowed, in real time. */
  realMs(time: number): number {
    const realMs = time + this.#lagMs;
    // Rounded up: a caller woken a fraction too early would be woken again and again until the clock advances.
    return Math.max(realMs - this.#lagMs < time ? realMs + 1 : realMs, this.#judgeFromMs);
  }

  /** From when on peers may be judged late: in the past, except shortly after a lag. */
  get judgeFromMs(): number {
    return this.#judgeFromMs;
  }

  mayJudge(nowMs: number): boolean {
    return nowMs >= this.#judgeFromMs;
  }
}
