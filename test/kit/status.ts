import { noCounts } from "../../src/core/types.ts";
import type { MasterStatus } from "../../src/observe/events.ts";

/** The status of a run in which nothing has happened yet. */
export const noStatus: MasterStatus = {
  ...noCounts,
  settled: 0,
  settledNow: 0,
  buffered: 0,
  inFlight: 0,
  stranded: 0,
  slaves: 0,
  reason: { code: "source_slow" },
  outage: null,
  sick: [],
  failures: [],
  ratePerSecond: 0,
  elapsedMs: 0,
  lateErrors: 0,
};
