import { headline } from "./headline.ts";
import type { Jobs } from "./jobs.ts";
import type { Outage } from "./outage.ts";
import type { Sessions } from "./sessions.ts";
import type { SourceState } from "./source_state.ts";
import { stalledMs } from "../base/run_limits.ts";

/** What the reason for the speed depends on. */
export type Pace = Readonly<{
  isStopping: boolean;
  /** What fails, if everything does; null otherwise. */
  failing: string | null;
  slaves: number;
  /** Sessions with credit. */
  hungry: number;
  inFlight: number;
  /** Ready to be leased. */
  ready: number;
  /** Failed, and waiting for their delay to end. */
  delayed: number;
  /** Waiting for slaves of an earlier master. */
  reclaimable: number;
  hasSource: boolean;
  /** Since a job was settled, or since the first one in flight was leased. */
  idleMs: number;
}>;

/** The pace of a run, out of its parts. */
export function paceOf(
  { jobs, sessions, outage, source }: { jobs: Jobs; sessions: Sessions; outage: Outage; source: SourceState },
  isStopping: boolean,
  idleMs: number,
): Pace {
  const isSourceFailing = source.mode === "waiting" || source.mode === "given up";
  const message = outage.isOn ? outage.message : isSourceFailing ? source.message : null;
  return {
    isStopping,
    failing: message === null ? null : headline(message),
    slaves: sessions.count,
    hungry: sessions.hungryCount,
    inFlight: jobs.leases.count,
    ready: jobs.fresh.count + jobs.returned.count,
    delayed: jobs.retries.count,
    reclaimable: jobs.reclaims.count,
    hasSource: source.mode === "open",
    idleMs,
  };
}

/** One phrase for the status line: why the run is not faster. */
export function reasonOf(pace: Pace): string {
  if (pace.isStopping) return "draining";
  if (pace.failing !== null) return `failing: ${pace.failing}`;
  if (pace.slaves === 0) return "waiting for slaves";
  if (pace.inFlight > 0 && pace.idleMs >= stalledMs) return `stalled ${Math.floor(pace.idleMs / 1000)}s`;
  if (pace.hungry === 0 || pace.ready > 0) return "slaves busy";
  if (pace.hasSource) return "source slow";
  if (pace.inFlight > 0) return "slaves busy";
  if (pace.reclaimable > 0) return "waiting for slaves";
  return pace.delayed > 0 ? "waiting for retries" : "source slow";
}
