import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  rmdirSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

/**
 * A file or folder that this program made for itself, identified by device and inode. The same path may belong to
 * another user later, after something cleared the temporary folder.
 */
export type OwnFile = Readonly<{ path: string; dev: number; ino: number }>;

type FileStats = Readonly<Pick<Stats, "dev" | "ino" | "uid" | "mode">>;

const { O_RDWR, O_CREAT, O_EXCL } = constants;
// Windows lacks these constants, which Node's types do not show.
const noFollow = (constants.O_NOFOLLOW as number | undefined) ?? 0;
const noBlock = (constants.O_NONBLOCK as number | undefined) ?? 0;
const isWindows = process.platform === "win32";

/** The user id of this process; undefined on Windows, where each user has a temporary folder of his own. */
export function ownUid(): number | undefined {
  return process.geteuid?.();
}

/**
 * Creates a file that only this user can open.
 *
 * @throws {Error} if anything exists at that path, even a dangling link, or the disk is full.
 */
export function makeOwnFile(path: string, content: Uint8Array): Readonly<{ file: OwnFile; fd: number }> {
  const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL | noFollow, 0o600);
  try {
    for (let at = 0; at < content.length;) at += writeSync(fd, content, at, content.length - at, at);
    return { file: identify(path, fstatSync(fd)), fd };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Opens the file for reading and writing.
 *
 * @throws {Error} if it is gone, or the path belongs to something else.
 */
export function openOwnFile(file: OwnFile): number {
  // Not every runtime passes all flags on, so check before opening.
  if (!isSame(lstatSync(file.path), file)) throw new Error(`${file.path} is not what was made there`);
  const fd = openSync(file.path, O_RDWR | noFollow | noBlock);
  if (isOwnFile(fd, file)) return fd;
  closeSync(fd);
  throw new Error(`${file.path} is not what was made there`);
}

/** Whether the descriptor belongs to that file. A plugin may have closed it, and the number may have been reused. */
export function isOwnFile(fd: number, file: OwnFile): boolean {
  try {
    return isSame(fstatSync(fd), file);
  } catch {
    return false;
  }
}

/** The whole content of an open file. */
export function readWhole(fd: number): Uint8Array {
  const bytes = new Uint8Array(fstatSync(fd).size);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(fd, bytes, filled, bytes.length - filled, filled);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

/**
 * Creates a folder that only this user can open.
 *
 * @throws {Error} if it cannot be created, or the file system has no owners, so that others are not kept out.
 */
export function makeOwnFolder(prefix: string): OwnFile {
  const path = mkdtempSync(prefix);
  const folder = identify(path, lstatSync(path));
  if (!isWindows) chmodSync(path, 0o700);
  if (isOwnFolder(folder)) return folder;
  rmdirSync(path);
  throw new Error(`${path} does not keep others out`);
}

/** Whether the folder is still the one created, not a link, and closed to other users. */
export function isOwnFolder(folder: OwnFile): boolean {
  try {
    const stats = lstatSync(folder.path);
    return stats.isDirectory() && isSame(stats, folder) && (isWindows || (stats.mode & 0o777) === 0o700);
  } catch {
    return false;
  }
}

/**
 * Removes the files with these names, and then the folder if it is empty. If the path no longer belongs to the created
 * folder, nothing is touched: neither another user's files nor the target of his link.
 */
export function removeOwnFolder(folder: OwnFile, isOurs: (name: string) => boolean): void {
  if (!isOwnFolder(folder)) return;
  try {
    for (const name of readdirSync(folder.path)) if (isOurs(name)) unlinkSync(join(folder.path, name));
    rmdirSync(folder.path);
  } catch {
    // not empty, or just removed by something else
  }
}

/** Identifies what is at this path, without following links. @throws {Error} if nothing is. */
export function ownFileAt(path: string): OwnFile {
  return identify(path, lstatSync(path));
}

/** Whether the same file or folder is still at its path. */
export function isThere(file: OwnFile): boolean {
  try {
    return isSame(lstatSync(file.path), file);
  } catch {
    return false;
  }
}

/**
 * Whether only this user and root can replace what is at a path in this folder: no other user may rename entries of it
 * or of any parent folder. `real` must be free of links.
 */
export function isKeptFromOthers(real: string): boolean {
  if (isWindows) return true;
  // In a user namespace root may have another id: that of `/`.
  const trusted = [0, ownUid(), statSync("/").uid];
  for (let folder = real;; folder = dirname(folder)) {
    const { uid, mode } = lstatSync(folder);
    const isOpen = (mode & 0o022) !== 0 && (mode & 0o1000) === 0;
    if (isOpen || !trusted.includes(uid)) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** The path with all links resolved. @throws {Error} if nothing is there. */
export function realPath(path: string): string {
  return realpathSync(path);
}

function identify(path: string, { dev, ino }: FileStats): OwnFile {
  return { path, dev, ino };
}

function isSame(stats: FileStats, { dev, ino }: OwnFile): boolean {
  const uid = ownUid();
  return stats.dev === dev && stats.ino === ino && (uid === undefined || stats.uid === uid);
}
