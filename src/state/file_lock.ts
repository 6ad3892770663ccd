import { randomBytes } from "node:crypto";
import { type Disk, errorCode, removeFile } from "./disk.ts";
import { type ElsewhereOptions, watchElsewhere } from "./elsewhere.ts";
import { type Holder, isRunning, isSamePlace } from "./holder.ts";
import { lockedError, noteError, readNote, writeNew } from "./lock_note.ts";
import type { StateFiles } from "./state_files.ts";

/** Takeovers of a dead master's file that may go to someone quicker, before that is strange. */
const triesMax = 20;

/**
 * The lock where there are no abstract sockets: `<key>.lock` itself, which appears whole or not at all. It outlives
 * a master that is killed, hence it names the process and when that began.
 *
 * @throws {StateError} naming the master that runs.
 */
export async function takeFile(
  disk: Disk,
  files: StateFiles,
  here: Holder,
  options: ElsewhereOptions,
): Promise<() => Promise<void>> {
  for (let tries = 1; tries <= triesMax; tries++) {
    if (await create(disk, files, here)) return async () => {};
    const note = await readNote(disk, files.lock);
    if (note !== null) await checkDead(disk, files, note, here, options);
    await clear(disk, files.lock, note);
  }
  throw lockedError(files, await readNote(disk, files.lock));
}

/** False if the file is there already. */
async function create(disk: Disk, files: StateFiles, here: Holder): Promise<boolean> {
  try {
    const temporary = await writeNew(disk, files.lock, here);
    try {
      await disk.link(temporary, files.lock);
    } finally {
      await removeFile(disk, temporary);
    }
    return true;
  } catch (error) {
    // ENOENT: the new holder swept the temporary file away.
    if (["EEXIST", "ENOENT"].includes(errorCode(error))) return false;
    throw noteError(files, error);
  }
}

async function checkDead(
  disk: Disk,
  files: StateFiles,
  note: Holder,
  here: Holder,
  options: ElsewhereOptions,
) {
  if (!isSamePlace(note, here)) return await watchElsewhere(disk, files, note, options);
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
