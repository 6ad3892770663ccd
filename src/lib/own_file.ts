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
 * A file or folder that this program made for itself, and which one that is: at the same path there may be another one
 * later, of another user, once something that clears temporary folders has been there.
 */
export type OwnFile = Readonly<{ path: string; dev: number; ino: number }>;

type FileStats = Readonly<Pick<Stats, "dev" | "ino" | "uid" | "mode">>;

const { O_RDWR, O_CREAT, O_EXCL } = constants;
// Windows has none of them; Node's types do not say so.
const noFollow = (constants.O_NOFOLLOW as number | undefined) ?? 0;
const noBlock = (constants.O_NONBLOCK as number | undefined) ?? 0;
const isWindows = process.platform === "win32";

/** Of this user: there is none on Windows, where a temporary folder is the user's own. */
export function ownUid(): number | undefined {
  return process.geteuid?.();
}

/**
 * Makes a file that this user alone can open.
 *
 * @throws {Error} if there is anything at that path, be it a link that leads nowhere, or the disk is full.
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
 * Opens it for reading and writing.
 *
 * @throws {Error} if it is gone, or something else is there.
 */
export function openOwnFile(file: OwnFile): number {
  // Not every runtime passes all flags on: what is no file of ours is not opened.
  if (!isSame(lstatSync(file.path), file)) throw new Error(`${file.path} is not what was made there`);
  const fd = openSync(file.path, O_RDWR | noFollow | noBlock);
  if (isOwnFile(fd, file)) return fd;
  closeSync(fd);
  throw new Error(`${file.path} is not what was made there`);
}

/** Whether this descriptor is of that file: a plugin may have closed it, and got the number for something else. */
export function isOwnFile(fd: number, file: OwnFile): boolean {
  try {
    return isSame(fstatSync(fd), file);
  } catch {
    return false;
  }
}

/** All that is in an open file. */
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
 * Makes a folder that this user alone can open.
 *
 * @throws {Error} if it cannot be made, or a file system without owners would not keep others out.
 */
export function makeOwnFolder(prefix: string): OwnFile {
  const path = mkdtempSync(prefix);
  const folder = identify(path, lstatSync(path));
  if (!isWindows) chmodSync(path, 0o700);
  if (isOwnFolder(folder)) return folder;
  rmdirSync(path);
  throw new Error(`${path} does not keep others out`);
}

/** Whether it is there as it was made: no other one, no link, and closed to others. */
export function isOwnFolder(folder: OwnFile): boolean {
  try {
    const stats = lstatSync(folder.path);
    return stats.isDirectory() && isSame(stats, folder) && (isWindows || (stats.mode & 0o777) === 0o700);
  } catch {
    return false;
  }
}

/**
 * Removes the files with these names, and the folder if nothing else is in it. Where it is no more what was made, nothing is
 * touched: not what a stranger put there, nor what a link of his leads to.
 */
export function removeOwnFolder(folder: OwnFile, isOurs: (name: string) => boolean): void {
  if (!isOwnFolder(folder)) return;
  try {
    for (const name of readdirSync(folder.path)) if (isOurs(name)) unlinkSync(join(folder.path, name));
    rmdirSync(folder.path);
  } catch {
    // Something else is in it, or has just cleared it.
  }
}

/** What is at this path, no link followed. @throws {Error} if nothing is. */
export function ownFileAt(path: string): OwnFile {
  return identify(path, lstatSync(path));
}

/** Whether the same is still at its path. */
export function isThere(file: OwnFile): boolean {
  try {
    return isSame(lstatSync(file.path), file);
  } catch {
    return false;
  }
}

/**
 * Whether nobody but this user and root can put something else at a path in this folder: of it, and of all above it, others
 * may not rename what is in it. `real` is free of links.
 */
export function isKeptFromOthers(real: string): boolean {
  if (isWindows) return true;
  // In a user namespace root may have another number.
  const trusted = [0, ownUid(), statSync("/").uid];
  for (let folder = real;; folder = dirname(folder)) {
    const { uid, mode } = lstatSync(folder);
    const isOpen = (mode & 0o022) !== 0 && (mode & 0o1000) === 0;
    if (isOpen || !trusted.includes(uid)) return false;
    if (folder === dirname(folder)) return true;
  }
}

/** The path without links. @throws {Error} if there is nothing. */
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
