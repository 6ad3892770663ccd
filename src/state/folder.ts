import { wallMs } from "../base/clock.ts";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { StateError } from "../base/errors.ts";
import { type Disk, errorCode, errorText, removeFile } from "./disk.ts";
import { linkError } from "./read_state_file.ts";
import type { StateFiles } from "./state_files.ts";

/** What says that a folder cannot be synced here, which is no failure. */
const unsyncable = ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EISDIR", "EPERM", "EBADF"];

/** Makes renames in a folder durable. Windows cannot, and does not need it. */
export async function syncFolder(disk: Disk, dir: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await disk.open(dir, "r");
  try {
    await folder.sync();
  } catch (error) {
    if (!unsyncable.includes(errorCode(error))) throw error;
  } finally {
    await folder.close();
  }
}

/** @throws {StateError} if there is no such folder. */
export async function checkFolder(disk: Disk, dir: string): Promise<void> {
  const stat = await disk.stat(dir).catch((error: unknown) => {
    const what = errorCode(error) === "ENOENT" ? "there is no such folder" : errorText(error);
    throw new StateError(
      `Cannot keep the state in "${dir}": ${what}. Make it, or name another one with --state-dir.`,
      {
        cause: error,
      },
    );
  });
  if (stat.isDirectory()) return;
  throw new StateError(`Cannot keep the state in "${dir}": it is no folder. Name one with --state-dir.`);
}

/**
 * Proves by a real write and rename that the state can be saved there, before any job is handed out.
 *
 * @throws {StateError} if it cannot.
 */
export async function proveWritable(disk: Disk, files: StateFiles): Promise<void> {
  const path = `${files.state}.tmp.${randomBytes(4).toString("hex")}`;
  try {
    const file = await disk.open(path, "wx", 0o600);
    try {
      await file.write(Uint8Array.of(0));
      await file.sync();
    } finally {
      await file.close();
    }
    await disk.rename(path, `${files.state}.tmp`);
    await disk.unlink(`${files.state}.tmp`);
  } catch (error) {
    await removeFile(disk, path).catch(() => {});
    throw new StateError(
      `Cannot keep the state in "${files.dir}": ${
        errorText(error)
      }. Make the folder writable, or name another one with ` +
        `--state-dir.`,
      { cause: error },
    );
  }
}

/** Who takes a dead master's lock away sets it aside for a moment only. */
const asideMsMax = 3_600_000;

/**
 * Removes what a save or a takeover that was cut short left behind.
 *
 * @throws {StateError} if one of these names is a symbolic link.
 */
export async function sweepTemporaries(disk: Disk, files: StateFiles): Promise<void> {
  const name = files.key.replaceAll(".", "\\.");
  const temporary = new RegExp(`^${name}\\.(state|state\\.prev|lock)\\.tmp(\\.[0-9a-f]{8})?$`);
  const aside = new RegExp(`^${name}\\.lock\\.dead\\.[0-9a-f]{8}$`);
  for (const entry of await disk.readdir(files.dir)) {
    if (!temporary.test(entry) && !aside.test(entry)) continue;
    const path = join(files.dir, entry);
    const stat = await disk.lstat(path).catch(() => null);
    if (stat?.isSymbolicLink()) throw linkError(path);
    // A fresh one may be another start's, which may have to put it back.
    if (stat === null || (aside.test(entry) && wallMs() < stat.ctimeMs + asideMsMax)) continue;
    await removeFile(disk, path);
  }
}
