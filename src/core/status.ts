import type { Jobs } from "./jobs.ts";
import type { RunStatus } from "./types.ts";

/** Done, skipped and dead, over all starts. */
export function settledOf({ counters: { done, skipped, dead } }: Jobs): number {
  return done + skipped + dead;
}

/** The numbers of the status line; what is not of the jobs is given. */
export function statusOf(
  jobs: Jobs,
  rest: Pick<RunStatus, "slaves" | "settledNow" | "reason" | "failures" | "outage" | "sick">,
): RunStatus {
  return {
    ...rest,
    ...jobs.counters,
    settled: settledOf(jobs),
    buffered: jobs.unsettled - jobs.leases.count,
    inFlight: jobs.leases.count,
    stranded: jobs.stranded,
  };
}
