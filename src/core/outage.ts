import { outageAttempts } from "../base/limits.ts";
import { probeMs } from "../base/run_limits.ts";

/**
 * Tells an outage from bad jobs.
 *
 *            the last 100 finished attempts, of more than one job, all failed
 *   CALM ------------------------------------------------------------------> OUTAGE
 *     ^                            first success                                |
 *     '-------------------------------------------------------------------------'
 *
 * - CALM: failures are charged.
 * - OUTAGE: nothing is charged and nothing leased, but one probe a second.
 */
export class Outage {
  #isOn = false;
  /** Failed attempts since the last success; and how many of the latest of them were of one and the same job. */
  #failures = 0;
  #alike = 0;
  #seq = -1;
  #nextProbeMs = 0;
  /** What the latest failure said. */
  message = "";

  get isOn(): boolean {
    return this.#isOn;
  }

  /** When the next probe may be leased; Infinity unless there is an outage. */
  get nextProbeMs(): number {
    return this.#isOn ? this.#nextProbeMs : Infinity;
  }

  failed(seq: number, message: string, nowMs: number): void {
    this.#failures++;
    this.#alike = seq === this.#seq ? this.#alike + 1 : 1;
    this.#seq = seq;
    this.message = message;
    if (this.#isOn || this.#failures < outageAttempts || this.#alike >= outageAttempts) return;
    this.#isOn = true;
    this.#nextProbeMs = nowMs + probeMs;
  }

  succeeded(): void {
    this.#isOn = false;
    this.#failures = 0;
    this.#alike = 0;
    this.#seq = -1;
  }

  probed(nowMs: number): void {
    this.#nextProbeMs = nowMs + probeMs;
  }
}
