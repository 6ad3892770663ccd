import type { SessionEvent } from "./events.ts";
import type { JobRun } from "./record_scan.ts";
import type { Death, Timeline } from "./timeline.ts";

/** A job that ended may be unanswered for 200 ms (`docs/protocol.md`), and longer by what a loaded machine adds. */
const answerMs = 500;
/** The same between a worker and its supervisor. */
const workerAnswerMs = 300;
/** A slave that was welcomed knows what it may keep at once; the rest is for the loaded machine. */
const keepMs = 500;
/** A disturbance is felt so long after its end: what was held arrives, dials in progress end. */
export const afterMs = 5_000;

/** A stretch of time in which what a slave ran may be run again elsewhere. */
export type Loss = Readonly<{ pid: number; fromMs: number; toMs: number }>;

/**
 * Which runs of jobs a fault may have made in vain. This is the bound on repetition, job by job: of all runs of a job
 * at most one may be none of these, since a master hands a job out again only when it lost a run of it. A run is exposed
 *
 * - if it went on, or had ended less than `answerMs` ago, when the master lost the slave's session (its process died, its
 *   connection closed, it was silent for three heartbeats), and until that slave joined again. If the slave or its road
 *   was disturbed before, answers were held from then on: the stretch begins with the disturbance;
 * - if it went on, or had ended less than `answerMs` before the last checkpoint, or began later, when the master was
 *   killed, and until its slave joined the next one;
 * - if it went on, or had ended less than `workerAnswerMs` ago, in a worker that died.
 */
export class Exposure {
  readonly #losses = new Map<number, Loss[]>();
  /** When workers died by a fault of the plan, and when by a job. */
  readonly #killedMs: ReadonlyMap<number, number>;
  readonly #crashedMs: ReadonlyMap<number, number>;

  /** @param crashes Workers that a bad job ended. */
  constructor(timeline: Timeline, events: readonly SessionEvent[], crashes: readonly Death[]) {
    this.#killedMs = earliest(timeline.workerDeaths);
    this.#crashedMs = earliest(crashes);
    for (const loss of lossesOf(timeline, events)) {
      const own = this.#losses.get(loss.pid);
      if (own === undefined) this.#losses.set(loss.pid, [loss]);
      else own.push(loss);
    }
  }

  isExposed(run: Pick<JobRun, "supervisor" | "pid" | "fromMs" | "toMs">): boolean {
    return this.isLost(run) || isWithin(run.toMs, this.#crashedMs.get(run.pid));
  }

  /** The same, but that a bad job ended its worker explains nothing: for that job itself. */
  isLost({ supervisor, pid, fromMs, toMs }: Pick<JobRun, "supervisor" | "pid" | "fromMs" | "toMs">): boolean {
    if (this.isKilled({ pid, toMs })) return true;
    const losses = this.#losses.get(supervisor) ?? [];
    return losses.some((loss) => toMs >= loss.fromMs && fromMs <= loss.toMs);
  }

  /** Whether its worker was killed under it. */
  isKilled({ pid, toMs }: Pick<JobRun, "pid" | "toMs">): boolean {
    return isWithin(toMs, this.#killedMs.get(pid));
  }
}

function isWithin(toMs: number, diedMs: number | undefined): boolean {
  return diedMs !== undefined && toMs >= diedMs - workerAnswerMs;
}

function earliest(deaths: readonly Death[]): ReadonlyMap<number, number> {
  const earliest = new Map<number, number>();
  for (const { pid, atMs } of deaths) earliest.set(pid, Math.min(atMs, earliest.get(pid) ?? Infinity));
  return earliest;
}

/** Reasons of a master for the end of a session that costs no run; the second one in a drain only. */
const harmless = /drained|the run is complete|the master leaves/;
const orderly = /^it said: Drained/;

/** Whether a session ended and left jobs to be run again. */
export function isLoss({ event, reason, pid, atMs }: SessionEvent, { drains }: Timeline): boolean {
  if (event !== "left" || harmless.test(reason)) return false;
  const isDrained = drains.some(({ pid: whose, fromMs, toMs }) =>
    (whose === "all" || whose === pid) && fromMs <= atMs && toMs >= atMs
  );
  return !(isDrained && orderly.test(reason));
}

function lossesOf(timeline: Timeline, events: readonly SessionEvent[]): Loss[] {
  const pids = new Set(events.map(({ pid }) => pid));
  const lefts = events.filter((event) => isLoss(event, timeline)).map(({ pid, atMs }) =>
    lossAt(timeline, events, pid, atMs, atMs)
  );
  const ends = timeline.masterDeaths.flatMap(({ atMs, savedAtMs }) =>
    [...pids].map((pid) => lossAt(timeline, events, pid, Math.min(savedAtMs, atMs), atMs))
  );
  return [...lefts, ...ends];
}

/** What is lost at `atMs` of what went on at `sinceMs` or later. */
function lossAt(
  { disturbances }: Timeline,
  events: readonly SessionEvent[],
  pid: number,
  sinceMs: number,
  atMs: number,
): Loss {
  const own = disturbances.filter((disturbance) => disturbance.pid === pid);
  let fromMs = sinceMs;
  for (let before = Infinity; fromMs < before;) {
    before = fromMs;
    for (const disturbance of own) {
      if (disturbance.fromMs < fromMs && disturbance.toMs + afterMs >= fromMs) fromMs = disturbance.fromMs;
    }
  }
  // "joined" of the session that replaces this one is said a moment before "left"
  const joined = events.filter((event) => event.pid === pid && event.event === "joined");
  const again = joined.find((event) => event.atMs > atMs - 100);
  return { pid, fromMs: fromMs - answerMs, toMs: again === undefined ? Infinity : again.atMs + keepMs };
}
