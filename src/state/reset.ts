import { type Disk, errorCode, removeFile } from "./disk.ts";
import { syncFolder } from "./folder.ts";
import type { StateFiles } from "./state_files.ts";

/**
 * Sets the files of the earlier run aside as `.bak.<time>`. `.prev` goes first, for good: whatever happens next, it
 * can never be taken for the state before that of the new run. Returns where they are now; null for one that was not there.
 */
export async function setAside(
  disk: Disk,
  files: StateFiles,
  now: Date,
): Promise<{ state: string | null; dead: string | null }> {
  await removeFile(disk, files.prev);
  await syncFolder(disk, files.dir);
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  // The state last: while it is there, the run is the earlier one.
  const dead = await moveAside(disk, files.dead, time);
  const state = await moveAside(disk, files.state, time);
  await syncFolder(disk, files.dir);
  return { state, dead };
}

async function moveAside(disk: Disk, path: string, time: string): Promise<string | null> {
  for (let number = 1;; number++) {
    const aside = `${path}.bak.${time}${number === 1 ? "" : `-${number}`}`;
    if (await isThere(disk, aside)) continue;
    try {
      await disk.rename(path, aside);
      return aside;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return null;
      throw error;
    }
  }
}

async function isThere(disk: Disk, path: string): Promise<boolean> {
  return await disk.lstat(path).then(() => true, () => false);
}
