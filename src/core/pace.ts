import type { Failures } from "./failures.ts";
import type { Health } from "./health.ts";
import type { Jobs } from "./jobs.ts";
import { headline } from "./piece.ts";
import type { SlaveSessions } from "./sessions.ts";
import type { SourceState } from "./source.ts";

/** Nothing settled for this long although jobs are in flight: the status says so. */
const stalledMs = 30_000;

/** What bounds the speed of a run that goes well: handlers, the source, or a limit of the window, by its option. */
export type Bound = "slaves" | "source" | WindowLimit;
/** The window is all jobs yielded and not settled. */
export type WindowLimit = "--size" | "--size-bytes";

/** How long the past counts: its weight falls to a third in this time. */
const memoryMs = 1_000;

/**
 * What bounded the speed for most of the last second. A look at this instant would mislead: with quick jobs the bound
 * changes many times in a millisecond, and timers fire while answers are being read, when the window has room
 * that the source was not yet asked to fill.
 */
export class Bounds {
  readonly #shares: Record<Bound, number> = { slaves: 0, source: 0, "--size": 0, "--size-bytes": 0 };
  #atMs: number;

  constructor(nowMs: number) {
    this.#atMs = nowMs;
  }

  /** It was `bound` from the last note until now; null: none of them. */
  note(bound: Bound | null, nowMs: number): void {
    if (nowMs <= this.#atMs) return;
    const kept = Math.exp((this.#atMs - nowMs) / memoryMs);
    this.#atMs = nowMs;
    for (const each of all) this.#shares[each] *= kept;
    if (bound !== null) this.#shares[bound] += 1 - kept;
  }

  /** The one with the largest share; `bound`, if no other has a larger one. */
  mostly(bound: Bound): Bound {
    return all.reduce((most, each) => this.#shares[each] > this.#shares[most] ? each : most, bound);
  }
}

const all = ["slaves", "source", "--size", "--size-bytes"] as const;

/** What the reason for the speed depends on. */
type Pace = Readonly<{
  isStopping: boolean;
  /** What fails, if everything does; null otherwise. */
  failing: string | null;
  /** What failed, while load comes back. */
  recovering: string | null;
  /** Starts a second that what is called seems to admit; Infinity if no limit is known. */
  pacePerSecond: number;
  /** A slave that fails everything while others do not. */
  sick: Readonly<{ name: string; message: string }> | null;
  slaves: number;
  inFlight: number;
  /** Failed, and waiting for their delay to end. */
  delayed: number;
  /** Waiting for slaves of an earlier master. */
  reclaimable: number;
  /** Null: slaves would take more, and only what was handed out can still give them any. */
  bound: Bound | null;
  /** Since a job was settled, or since the first one in flight was leased. */
  idleMs: number;
  /** The first job not answered of the oldest lease, and the slave that has it. */
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

/** What bounds the speed at this instant. `fullBy` is the limit of the window that is reached, if one is. */
export function boundOf(
  { jobs, sessions, source }: Pick<Parts, "jobs" | "sessions" | "source">,
  fullBy: WindowLimit | null,
): Bound | null {
  const { fresh, returned, leases, retries, orphans } = jobs;
  if (sessions.count === 0) return null;
  if (sessions.hungryCount === 0 || fresh.count + returned.count > 0) return "slaves";
  if (source.mode !== "open") return null;
  if (fullBy !== null && leases.count === 0 && retries.count + orphans.count > 0) return null;
  return fullBy ?? "source";
}

/** The pace of a run, out of its parts. Without an open source the past says nothing: this is how runs end. */
export function paceOf(
  { jobs, failures, health, source, sessions, bounds }: Parts,
  { bound, isStopping, idleMs }: Pick<Pace, "bound" | "isStopping" | "idleMs">,
): Pace {
  const isSourceFailing = source.mode === "waiting" || source.mode === "given up";
  const message = failures.mode === "testing" ? failures.message : isSourceFailing ? source.message : null;
  const isOpening = failures.mode === "opening";
  const pacePerSecond = isOpening ? failures.opening.pace : Infinity;
  return {
    isStopping,
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

/** One phrase for the status line: why the run is not faster. */
export function reasonOf(pace: Pace): string {
  if (pace.isStopping) return "draining";
  if (pace.failing !== null) return `failing: ${pace.failing}`;
  if (pace.slaves === 0) return "waiting for slaves";
  if (pace.recovering !== null) return `throttled: ${throttleOf(pace)}`;
  if (pace.sick !== null) return `slave ${pace.sick.name} fails everything: ${headline(pace.sick.message)}`;
  if (pace.oldest !== null && pace.idleMs >= stalledMs) {
    return `stalled ${Math.floor(pace.idleMs / 1000)}s: job ${pace.oldest.seq} at ${pace.oldest.slaveName}`;
  }
  if (pace.bound !== null) return phrases[pace.bound];
  if (pace.inFlight > 0) return "slaves busy";
  if (pace.reclaimable > 0) return "waiting for slaves";
  return pace.delayed > 0 ? "waiting for retries" : "source slow";
}

function throttleOf({ pacePerSecond, recovering }: Pace): string {
  const pace = pacePerSecond >= 10 ? Math.round(pacePerSecond) : pacePerSecond.toFixed(1);
  return Number.isFinite(pacePerSecond)
    ? `${pace} starts/s, since more fail with: ${recovering}`
    : `load comes back slowly after: ${recovering}`;
}

const phrases: Readonly<Record<Bound, string>> = {
  slaves: "slaves busy",
  source: "source slow",
  "--size": "window full (--size)",
  "--size-bytes": "window full (--size-bytes)",
};
