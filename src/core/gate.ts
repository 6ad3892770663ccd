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
  readonly #perMs: number;
  readonly #burst: number;
  readonly #inFlightMax: number;
  #tokens = 0;
  #atMs: number;
  #leasedAtMs = -Infinity;

  constructor(
    { ratePerSecond = Infinity, inFlightMax = Infinity }: Pick<RunSettings, "ratePerSecond" | "inFlightMax">,
    nowMs: number,
  ) {
    this.#perMs = ratePerSecond / 1_000;
    this.#burst = Math.max(1, this.#perMs * burstMs);
    this.#inFlightMax = inFlightMax;
    this.#atMs = nowMs;
  }

  /** How many jobs may be leased now, while `inFlight` are; a whole number, or Infinity. */
  budget(inFlight: number, nowMs: number): number {
    return Math.max(0, Math.min(this.#inFlightMax - inFlight, this.#whole(nowMs)));
  }

  /** So many jobs were leased, at the time of the latest look. */
  leased(jobs: number): void {
    if (this.#perMs === Infinity) return;
    this.#tokens -= jobs;
    this.#leasedAtMs = this.#atMs;
  }

  /** So many leased jobs were handed back untried. */
  released(jobs: number): void {
    if (this.#perMs < Infinity) this.#tokens = Math.min(this.#burst, this.#tokens + jobs);
  }

  /** Which limit allows no job now; null if none does. */
  closedBy(inFlight: number, nowMs: number): GateLimit | null {
    if (inFlight >= this.#inFlightMax) return "in_flight";
    return this.#whole(nowMs) < 1 ? "rate" : null;
  }

  /** When the rate allows a job again; `nowMs` if it does. */
  openMs(nowMs: number): number {
    if (this.#whole(nowMs) >= 1) return nowMs;
    return Math.max(nowMs + (1 - this.#tokens) / this.#perMs, this.#leasedAtMs + wakeMsMin);
  }

  #whole(nowMs: number): number {
    if (this.#perMs === Infinity) return Infinity;
    this.#tokens = Math.min(this.#burst, this.#tokens + Math.max(0, nowMs - this.#atMs) * this.#perMs);
    this.#atMs = nowMs;
    // Sums of fractions are rounded: a token that is there but for that must not be waited for again.
    return Math.floor(this.#tokens + 1e-9);
  }
}
