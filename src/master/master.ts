import { checkArgs } from "./check_args.ts";
import { openRunState } from "./opening.ts";
import { RunningMaster } from "./running_master.ts";
import type { Master, MasterOptions, MasterResult } from "./types.ts";

export type { Master, MasterEvent, MasterOptions, MasterResult, MasterStatus, Resumed } from "./types.ts";

/**
 * Starts a master: locks and loads the state, listens, saves once, opens the source. Resolves when slaves can join.
 *
 * @throws {UsageError} if its arguments are too many or too long for a slave to be told.
 * @throws {StateError} if the state is locked, corrupt or of another run; `SaveError` if it cannot be written.
 * @throws {ConnectError} if it cannot listen.
 */
export async function startMaster(options: MasterOptions): Promise<Master> {
  checkArgs(options);
  const master = new RunningMaster(options, await openRunState(options));
  try {
    await master.open();
  } catch (error) {
    await master.abandon();
    throw error;
  }
  return master;
}

/** Starts a master and waits for its end. @throws as `startMaster`. */
export async function runMaster(options: MasterOptions): Promise<MasterResult> {
  return (await startMaster(options)).finished;
}
