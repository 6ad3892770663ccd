import type { Failures } from "./failures.ts";
import type { GateLimit } from "./gate.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import { headline } from "./piece.ts";
import type { SlaveSessions } from "./sessions.ts";
import type { SourceState } from "./source.ts";
import type { Reason, RunSettings, WindowLimit } from "./types.ts";

/** If nothing is settled for this long although jobs are in flight, the status shows a stall. */
const stalledMs = 30_000;

/** What limits the speed of a healthy run: the slaves, the source, a limit of the window, or one of the operator. */
export type Bound = "slaves" | "source" | WindowLimit | GateLimit;

/** Time constant of the average: a sample's weight falls to 1/e in this time. */
const memoryMs = 1_000;

/**
 * What limited the speed for most of the last second. The state at one instant would mislead: with quick jobs the limit
 * changes many times a millisecond, and timers fire while answers are being read, when the window has room that the
 * source was not asked to fill yet.
 */
export class Bounds {
  readonly #shares: Record<Bound, number> = {
    slaves: 0,
    source: 0,
    jobs: 0,
    bytes: 0,
    rate: 0,
    in_flight: 0,
  };
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** `bound` was the limit from the last note until now; null if none was. */
  note(bound: Bound | null, nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    const kept = Math.exp((this.#atMs - nowMs) / memoryMs);
    this.#atMs = nowMs;
    for (const each of all) this.#shares[each] *= kept;
    if (bound !== null) this.#shares[bound] += 1 - kept;
  }

  /** The limit with the largest share; `bound` on a tie. */
  mostly(bound: Bound): Bound {
    return all.reduce((most, each) => this.#shares[each] > this.#shares[most] ? each : most, bound);
  }
}

const all = ["slaves", "source", "jobs", "bytes", "rate", "in_flight"] as const;

/** The operator's limits, as the reason names them. */
type Limits = Pick<RunSettings, "ratePerSecond" | "inFlightMax">;

/** What the reason for the speed is derived from. */
type Pace = Readonly<{
  isStopping: boolean;
  isPaused: boolean;
  /** Why the plugin holds the fleet; null if it does not. */
  throttled: string | null;
  /** What fails, if everything does; null otherwise. */
  failing: string | null;
  /** What failed before, while load ramps up; null otherwise. */
  recovering: string | null;
  /** Starts a second that the called service seems to admit; Infinity if no limit is known. */
  pacePerSecond: number;
  /** The first slave that fails everything while others do not. */
  sick: Readonly<{ name: string; message: string }> | null;
  slaves: number;
  inFlight: number;
  /** Failed jobs that wait for their retry, spent jobs included. */
  delayed: number;
  /** Jobs that wait for their slave to come back. */
  reclaimable: number;
  /** Null: slaves would take more, but only jobs already handed out can provide it. */
  bound: Bound | null;
  /** Time since a job was settled, or since a job was leased when none was in flight. */
  idleMs: number;
  /** The first unanswered job of the oldest lease, and the slave that holds it. */
  oldest: Readonly<{ seq: number; slaveName: string }> | null;
}>;

type Parts = Readonly<
  {
    jobs: Jobs;
    sessions: SlaveSessions;
    failures: Failures;
    health: Health;
    source: SourceState;
    bounds: Bounds;
  }
>;

/** What limits the speed at this instant. `fullBy` and `gateLimit` are the limits that are reached, or null. */
export function boundOf(
  { jobs, sessions, source }: Pick<Parts, "jobs" | "sessions" | "source">,
  fullBy: WindowLimit | null,
  gateLimit: GateLimit | null,
): Bound | null {
  const { fresh, returned, leases, retries, orphans } = jobs;
  if (sessions.count === 0) return null;
  if (sessions.withCreditCount === 0) return "slaves";
  if (fresh.count + returned.count > 0) return gateLimit ?? "slaves";
  if (source.mode !== "open") return null;
  if (fullBy !== null && leases.count === 0 && retries.count + orphans.count > 0) return null;
  return fullBy ?? "source";
}

/**
 * Collects a run's pace from its parts. The average of `bounds` counts only while the source is open; afterwards the
 * run just finishes.
 */
export function paceOf(
  { jobs, failures, health, source, sessions, bounds }: Parts,
  { bound, isStopping, isPaused, throttled, idleMs }: Pick<
    Pace,
    "bound" | "isStopping" | "isPaused" | "throttled" | "idleMs"
  >,
): Pace {
  const isSourceFailing = source.mode === "waiting" || source.mode === "given up";
  const message = failures.mode === "testing"
    ? failures.message
    : isSourceFailing
    ? source.fault.message
    : null;
  const isOpening = failures.mode === "opening";
  const pacePerSecond = isOpening ? failures.opening.pace : Infinity;
  return {
    isStopping,
    isPaused,
    throttled,
    failing: message === null ? null : headline(message),
    recovering: isOpening
      ? headline(Number.isFinite(pacePerSecond) ? failures.message : failures.messageBefore)
      : null,
    pacePerSecond,
    sick: [...health.sick()][0] ?? null,
    slaves: sessions.count,
    inFlight: jobs.leases.count,
    delayed: jobs.retries.count + jobs.spent.count,
    reclaimable: jobs.orphans.count,
    bound: bound !== null && source.mode === "open" ? bounds.mostly(bound) : bound,
    idleMs,
    oldest: oldestOf(jobs, sessions),
  };
}

function oldestOf({ leases }: Jobs, sessions: SlaveSessions): Pace["oldest"] {
  for (const { pieces, session } of leases) {
    return { seq: pieces[0]!.span.seq, slaveName: sessions.get(session)?.slaveName ?? "" };
  }
  return null;
}

/** Why the run is not faster: the first condition that holds. */
export function reasonOf(pace: Pace, limits: Limits): Reason {
  const { failing, recovering, pacePerSecond, sick, oldest, idleMs, bound } = pace;
  if (pace.isStopping) return { code: "draining" };
  if (pace.isPaused) return { code: "paused" };
  if (pace.throttled !== null) return { code: "throttled", message: pace.throttled };
  if (failing !== null) return { code: "failing", message: failing };
  if (pace.slaves === 0) return { code: "waiting_for_slaves" };
  if (recovering !== null) {
    return Number.isFinite(pacePerSecond)
      ? { code: "paced", startsPerSecond: pacePerSecond, message: recovering }
      : { code: "recovering", message: recovering };
  }
  if (sick !== null) return { code: "slave_sick", slave: sick.name, message: headline(sick.message) };
  if (oldest !== null && idleMs >= stalledMs) {
    return { code: "stalled", forMs: idleMs, seq: oldest.seq, slave: oldest.slaveName };
  }
  if (bound !== null) return reasonOfBound(bound, limits);
  if (pace.inFlight > 0) return { code: "slaves_busy" };
  if (pace.reclaimable > 0) return { code: "waiting_for_slaves" };
  return { code: pace.delayed > 0 ? "waiting_for_retries" : "source_slow" };
}

function reasonOfBound(bound: Bound, { ratePerSecond = Infinity, inFlightMax = Infinity }: Limits): Reason {
  switch (bound) {
    case "slaves":
      return { code: "slaves_busy" };
    case "source":
      return { code: "source_slow" };
    case "jobs":
    case "bytes":
      return { code: "window_full", limit: bound };
    case "rate":
      return { code: "rate_limited", perSecond: ratePerSecond };
    case "in_flight":
      return { code: "in_flight_limited", jobs: inFlightMax };
    default:
      return bound satisfies never;
  }
}
