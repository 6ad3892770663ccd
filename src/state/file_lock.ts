import { randomBytes } from "node:crypto";
import { type Disk, errorCode, linkless, removeFile } from "./disk.ts";
import { type ElsewhereOptions, watchElsewhere } from "./elsewhere.ts";
import { type Holder, isRunning, isSamePlace } from "./holder.ts";
import { lockedError, noteError, readNote, writeNew, writeNote } from "./lock_note.ts";
import type { StateFiles } from "./state_files.ts";

/** Takeovers of a dead master's file that may go to someone quicker, before that is strange. */
const triesMax = 20;

export type FileLockOptions =
  & ElsewhereOptions
  & Readonly<{
    /** The kernel's lock is held too, so that who takes the file now has not, and can be no master that sees this kernel. */
    isAlone: boolean;
    /** Nonces of the locks that this process holds. */
    heldHere: ReadonlySet<string>;
  }>;

/**
 * Takes `<key>.lock`, which appears whole or not at all: the lock itself where the kernel keeps none, or a stranger holds
 * that one. It outlives a master that is killed, hence it names the process and when that began.
 *
 * @throws {StateError} naming the master that runs.
 */
export async function takeFile(
  disk: Disk,
  files: StateFiles,
  here: Holder,
  options: FileLockOptions,
): Promise<void> {
  for (let tries = 1; tries <= triesMax; tries++) {
    const made = await create(disk, files, here, options.isAlone);
    if (made === "made") return;
    const note = await readNote(disk, files.lock);
    if (note !== null) await checkDead(disk, files, note, here, options);
    if (made === "linkless") return await writeNote(disk, files.lock, here).catch(failed(files));
    await clear(disk, files.lock, note);
  }
  throw lockedError(files, await readNote(disk, files.lock));
}

/** Makes the file anew if it was removed meanwhile, and leaves any other alone. */
export async function restoreFile(disk: Disk, files: StateFiles, here: Holder): Promise<void> {
  try {
    await disk.lstat(files.lock);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    if (await create(disk, files, here, true) === "linkless") await writeNote(disk, files.lock, here);
  }
}

/** `taken`: the file is there already. `linkless`: none can be made so that it is known not to replace another. */
async function create(
  disk: Disk,
  files: StateFiles,
  here: Holder,
  isAlone: boolean,
): Promise<"made" | "taken" | "linkless"> {
  const temporary = await writeNew(disk, files.lock, here).catch(failed(files));
  try {
    await disk.link(temporary, files.lock);
    return "made";
  } catch (error) {
    if (isAlone && linkless.includes(errorCode(error))) return "linkless";
    // ENOENT: the new holder swept the temporary file away.
    if (["EEXIST", "ENOENT"].includes(errorCode(error))) return "taken";
    return await failed(files)(error);
  } finally {
    await removeFile(disk, temporary);
  }
}

function failed(files: StateFiles): (error: unknown) => Promise<never> {
  return (error) => Promise.reject(noteError(files, error));
}

async function checkDead(
  disk: Disk,
  files: StateFiles,
  note: Holder,
  here: Holder,
  options: FileLockOptions,
) {
  if (!isSamePlace(note, here)) return await watchElsewhere(disk, files, note, options);
  // Left by an earlier store of this process, which held the kernel's lock as this one does.
  if (options.isAlone && note.pid === here.pid && !options.heldHere.has(note.nonce)) return;
  if (await isRunning(note)) throw lockedError(files, note);
}

/** Takes the dead one's file away; puts it back if a quicker one has replaced it meanwhile. */
async function clear(disk: Disk, path: string, dead: Holder | null): Promise<void> {
  // Not a temporary name: nobody may sweep it away, for it may have to be put back.
  const aside = `${path}.dead.${randomBytes(4).toString("hex")}`;
  try {
    await disk.rename(path, aside);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  const taken = await readNote(disk, aside);
  if (JSON.stringify(taken) !== JSON.stringify(dead)) await disk.link(aside, path).catch(() => {});
  await removeFile(disk, aside);
}
