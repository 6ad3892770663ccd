import { StateError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import type { RunState } from "../core/types.ts";
import type { Disk } from "./disk.ts";
import { DamageError } from "./fields.ts";
import { readHeader, type ReadState, readStateFile } from "./read_state_file.ts";
import type { StateFiles } from "./state_files.ts";

/** A loaded state, and from which of the two files. */
export type LoadedState =
  & ReadState
  & Readonly<{
    from: "state" | "prev";
    /** No master of this run had a higher epoch. */
    epochSeen: number;
  }>;

/**
 * The state of a key, as the next master goes on from it; the one before it, with a warning, if it is damaged or gone; null if there is neither.
 * A state that cannot be read is never taken for a fresh start.
 *
 * @throws {StateError} if neither is good, or as `readStateFile`.
 */
export async function loadState(disk: Disk, files: StateFiles, log: Log): Promise<LoadedState | null> {
  const state = await attempt(disk, files.state);
  if (state !== null && !(state instanceof DamageError)) {
    return { ...state, state: resumed(state.state, "state"), from: "state", epochSeen: state.header.epoch };
  }
  const prev = await attempt(disk, files.prev);
  if (state === null && prev === null) return null;
  const damage = state === null ? "it is gone" : state.message;
  if (prev === null) throw hopeless(files, damage, "there is none before it");
  if (prev instanceof DamageError) throw hopeless(files, damage, `of "${files.prev}", ${prev.message}`);
  const epochSeen = await epochOfDamaged(disk, files, prev, damage);
  log(
    "warn",
    `Cannot use "${files.state}": ${damage}. Going on from the one before it, "${files.prev}"; some jobs run again`,
  );
  return { ...prev, state: resumed(prev.state, "prev"), from: "prev", epochSeen };
}

/** What was done behind a state that was not the last of its master is not known: it may run again. */
function resumed(state: RunState, from: LoadedState["from"]): RunState {
  const isKnown = from === "state" && state.final;
  return isKnown ? state : { ...state, repeatedAtLeast: true };
}

async function attempt(disk: Disk, path: string): Promise<ReadState | DamageError | null> {
  try {
    return await readStateFile(disk, path);
  } catch (error) {
    if (error instanceof DamageError) return error;
    throw error;
  }
}

/** What the header of the damaged state says, if that part is good. */
async function epochOfDamaged(
  disk: Disk,
  files: StateFiles,
  prev: ReadState,
  damage: string,
): Promise<number> {
  const header = await readHeader(disk, files.state);
  // The one before it can be a master behind, by one.
  if (header === null) return prev.header.epoch + 1;
  if (isSameBytes(header.runTag, prev.header.runTag)) return Math.max(header.epoch, prev.header.epoch);
  throw hopeless(files, damage, `"${files.prev}" is of another run`);
}

function hopeless(files: StateFiles, damage: string, why: string): StateError {
  return new StateError(
    `Cannot use "${files.state}": ${damage}; and ${why}. Put a good copy in its place, or start over with --reset, ` +
      `which keeps it as .bak.`,
  );
}
