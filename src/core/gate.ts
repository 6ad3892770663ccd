import { TokenBucket } from "../lib/token_bucket.ts";
import type { RunSettings } from "./types.ts";

/** The bucket holds this much of a rate, so that what a slow moment left unused is made up for at most so far. */
const burstMs = 100;
/** From one lease to the next wake-up for tokens: at a high rate each wake-up leases several jobs. */
const wakeMsMin = 5;

/** A limit of the operator that keeps jobs from being leased. */
export type GateLimit = "rate" | "in_flight";

/**
 * What the operator allows the whole fleet: attempts begun a second (`--rate`), and jobs in flight
 * (`--max-in-flight`). Whoever leases a job asks here first; retries and probes count as any attempt does.
 *
 * The rate is a token bucket that starts empty and holds 100 ms' worth, at least one token. A lease of n jobs spends n
 * tokens; jobs that a slave hands back untried return theirs.
 */
export class Gate {
  /** Null without a rate. */
  readonly #rate: TokenBucket | null;
  readonly #inFlightMax: number;
  #leasedAtMs = -Infinity;

  constructor(
    { ratePerSecond = Infinity, inFlightMax = Infinity }: Pick<RunSettings, "ratePerSecond" | "inFlightMax">,
    nowMs: number,
  ) {
    const burst = Math.max(1, ratePerSecond * burstMs / 1_000);
    this.#rate = ratePerSecond === Infinity ? null : new TokenBucket(burst, ratePerSecond, nowMs, 0);
    this.#inFlightMax = inFlightMax;
  }

  /** How many jobs may be leased now, while `inFlight` are; a whole number, or Infinity. */
  budget(inFlight: number, nowMs: number): number {
    return Math.max(0, Math.min(this.#inFlightMax - inFlight, this.#tokens(nowMs)));
  }

  /** So many jobs were leased. */
  leased(jobs: number, nowMs: number): void {
    if (this.#rate === null) return;
    this.#rate.take(nowMs, jobs);
    this.#leasedAtMs = nowMs;
  }

  /** So many leased jobs were handed back untried. */
  released(jobs: number): void {
    this.#rate?.putBack(jobs);
  }

  /** Which limit allows no job now; null if none does. */
  closedBy(inFlight: number, nowMs: number): GateLimit | null {
    if (inFlight >= this.#inFlightMax) return "in_flight";
    return this.#tokens(nowMs) < 1 ? "rate" : null;
  }

  /** When the rate allows a job again; `nowMs` if it does. */
  openMs(nowMs: number): number {
    if (this.#rate === null || this.#tokens(nowMs) >= 1) return nowMs;
    return Math.max(this.#rate.oneAtMs(nowMs), this.#leasedAtMs + wakeMsMin);
  }

  #tokens(nowMs: number): number {
    // Sums of fractions are rounded: a token that is there but for that must not be waited for again.
    return this.#rate === null ? Infinity : Math.floor(this.#rate.level(nowMs) + 1e-9);
  }
}
