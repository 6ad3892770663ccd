import { invariant } from "../base/errors.ts";
import type { Furthest } from "./furthest.ts";
import type { Jobs } from "./jobs.ts";
import type { RunState } from "./types.ts";

/** All that a resume needs, in one synchronous step. The numbers of every state add up. */
export function stateOf(
  jobs: Jobs,
  furthest: Furthest,
  rest: Pick<RunState, "complete" | "final" | "settings">,
): RunState {
  const { handedOut, done, skipped, dead } = jobs.counters;
  const stranded = jobs.strand();
  const count = stranded.reduce((sum, { span }) => sum + span.count, 0);
  invariant(
    handedOut === done + skipped + dead + count,
    `Cannot save: ${handedOut} jobs handed out, but ${done} done, ${skipped} skipped, ${dead} dead, ${count} stranded`,
  );
  return {
    ...rest,
    ...jobs.counters,
    againToCome: jobs.againToCome,
    last: furthest.handedOut(),
    firstJobHash: furthest.firstJobHash,
    stranded,
  };
}
