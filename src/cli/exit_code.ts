import { TaskmasterError } from "../base/errors.ts";
import type { MasterResult } from "../master/types.ts";

/** Signals that stop a program, each with the code a master exits with when it was stopped so. */
export const stopSignals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 143 } as const;
export type StopSignal = keyof typeof stopSignals;

/** What a master exits with; `signal` is the first that came. */
export function exitCodeOf(result: MasterResult, signal: StopSignal | undefined): number {
  if (result.error !== undefined) return result.error instanceof TaskmasterError ? result.error.exitCode : 1;
  if (!result.savedFinally) return 6;
  if (result.finishFault?.kind === "cut off" && signal !== undefined) return stopSignals[signal];
  switch (result.outcome.kind) {
    case "complete":
      if (result.finishFault !== null) return 1;
      return result.status.dead > 0 || result.late.count > 0 ? 3 : 0;
    case "stopped":
      return signal === undefined ? 1 : stopSignals[signal];
    case "source failed":
      return 1;
    case "outage":
    case "no room":
      return 7;
  }
}
