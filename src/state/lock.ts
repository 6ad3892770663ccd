import type { Disk } from "./disk.ts";
import { type ElsewhereOptions, watchElsewhere } from "./elsewhere.ts";
import { takeFile } from "./file_lock.ts";
import { type Holder, isRunning, isSamePlace, thisHolder } from "./holder.ts";
import { lockedError, noteError, readNote, removeNote, writeNote } from "./lock_note.ts";
import { askHolder, holdSocket, socketName } from "./socket_lock.ts";
import type { StateFiles } from "./state_files.ts";

export type Lock = Readonly<{
  /** Says in `<key>.lock` where this master can be reached. */
  setAddress(address: string): Promise<void>;
  /** Frees the key. Idempotent. */
  release(): Promise<void>;
}>;

export type LockOptions =
  & ElsewhereOptions
  & Readonly<{
    address: string | null;
    /** Whether the kernel keeps the lock (abstract sockets, Linux) or a file does. */
    isKernel: boolean;
  }>;

/**
 * Takes the lock of a key, so that one master of it runs on this host, and as far as can be told none elsewhere.
 *
 * @throws {StateError} naming the one that runs.
 */
export async function takeLock(disk: Disk, files: StateFiles, options: LockOptions): Promise<Lock> {
  let holder = await thisHolder(options.address);
  const free = options.isKernel
    ? await takeSocket(disk, files, options, () => holder)
    : await takeFile(disk, files, holder, options);
  const note = async () => await writeNote(disk, files.lock, holder);
  let isHeld = true;
  const release = async () => {
    if (!isHeld) return;
    isHeld = false;
    await removeNote(disk, files.lock, holder).catch(() => {});
    await free();
  };
  const setAddress = async (address: string) => {
    holder = { ...holder, address };
    await note().catch((error) => Promise.reject(noteError(files, error)));
  };
  if (options.isKernel) {
    await note().catch(async (error) => (await release(), Promise.reject(noteError(files, error))));
  }
  return { setAddress, release };
}

async function takeSocket(disk: Disk, files: StateFiles, options: LockOptions, holder: () => Holder) {
  const name = socketName(await disk.stat(files.dir, { bigint: true }), files.key);
  const lock = await holdSocket(name, holder);
  if (lock === null) {
    throw lockedError(files, await askHolder(name) ?? await readNote(disk, files.lock).catch(() => null));
  }
  try {
    await checkNote(disk, files, options, holder());
    return lock.release;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** What the last master left in `<key>.lock`: it may run where this host's kernel cannot see it. */
async function checkNote(disk: Disk, files: StateFiles, options: LockOptions, here: Holder): Promise<void> {
  const note = await readNote(disk, files.lock);
  if (note === null) return;
  if (!isSamePlace(note, here)) return await watchElsewhere(disk, files, note, options);
  // Runtimes disagree about the length of abstract names, so the socket of one is out of sight of another.
  if (note.pid !== here.pid && await isRunning(note)) throw lockedError(files, note);
}
