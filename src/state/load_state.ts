import { isoTime, wallMs } from "../base/clock.ts";
import { formatDuration } from "../base/duration.ts";
import { StateError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import type { RunState } from "../core/types.ts";
import type { Disk } from "./disk.ts";
import { DamageError } from "./fields.ts";
import { readCounters } from "./parse_body.ts";
import { openOwn, readExactly, readHeader, type ReadState, readStateFile } from "./read_state_file.ts";
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
 * The state of a key, as the next master goes on from it; null if there is none. If it is damaged or gone, the one before
 * it, with a warning that says what that costs. A state that cannot be read is never taken for a fresh start.
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
  const lost = await readDamaged(disk, files.state).catch(() => null);
  log(
    "warn",
    `Cannot use "${files.state}": ${damage}. Going on from the one before it, "${files.prev}"; some jobs run again: ${
      costOf(prev, lost)
    }`,
  );
  return { ...prev, state: resumed(prev.state, "prev"), from: "prev", epochSeen };
}

/** What was done behind a state that was not the last of its master is not known: it may run again. */
function resumed(state: RunState, from: LoadedState["from"]): RunState {
  const isKnown = from === "state" && state.final;
  return isKnown ? state : { ...state, repeatedAtLeast: true };
}

/** What goes on from the state before costs: how old it is, what it knows of, and what is known of the damaged one. */
function costOf({ state, savedAtMs }: ReadState, lost: DamagedState | null): string {
  const { handedOut, done, skipped, dead } = state;
  const settled = done + skipped + dead;
  const until = lost === null
    ? `${formatDuration(Math.max(0, wallMs() - savedAtMs))} ago`
    : `${formatDuration(Math.max(0, lost.savedAtMs - savedAtMs))} before the damaged one`;
  const more = lost?.counters != null && lost.counters.handedOut >= handedOut
    ? `; the damaged one says ${lost.counters.handedOut} and ${lost.counters.settled}`
    : "";
  return `it was saved at ${
    isoTime(savedAtMs)
  }, ${until}, and knows of ${handedOut} jobs handed out, ${settled} of them ` +
    `settled${more}. What was done since then is done once more, and how much that is is not known: "Repeated" says ` +
    `so from now on`;
}

type DamagedState = Readonly<{
  savedAtMs: number;
  /** As far as they can be read: they may be what is damaged. */
  counters: Readonly<{ handedOut: number; settled: number }> | null;
}>;

/** The counters stand at the beginning: what is damaged may be of any length. */
const damagedBytesMax = 16 << 20;

/** Null if there is no file. */
async function readDamaged(disk: Disk, path: string): Promise<DamagedState | null> {
  const file = await openOwn(disk, path);
  if (file === null) return null;
  try {
    const { size, mtimeMs } = await file.stat();
    return {
      savedAtMs: mtimeMs,
      counters: readCounters(await readExactly(file, Math.min(size, damagedBytesMax))),
    };
  } finally {
    await file.close();
  }
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
