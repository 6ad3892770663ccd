import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { type RunState, settledOf } from "../core/types.ts";
import { isSameBytes, sha256 } from "../lib/bytes.ts";
import { isoTime, wallMs } from "../lib/clock.ts";
import { StateError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { formatDuration } from "../lib/units.ts";
import { type Disk, errorCode, errorText, isRegular, removeFile, type StateFiles } from "./disk.ts";
import { DamageError, stateVersion } from "./state_fields.ts";
import {
  decodeBody,
  decodeHeader,
  headerBytes,
  parseBody,
  readCounters,
  runTag,
  type StateContents,
  type StateHeader,
} from "./state_format.ts";

export type ReadState = StateContents & Readonly<{ header: StateHeader; savedAtMs: number }>;

/** Follows no links, and does not block if the path is a pipe. */
const readFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/**
 * Opens a file of ours for reading; null if there is none. Close it.
 *
 * @throws {StateError} if it is a symbolic link, no file, or not readable.
 */
export async function openOwn(disk: Disk, path: string): Promise<FileHandle | null> {
  try {
    // Where the open cannot refuse links (Windows), this does.
    if (!constants.O_NOFOLLOW && (await disk.lstat(path)).isSymbolicLink()) throw linkError(path);
    const file = await disk.open(path, readFlags);
    if (await isRegular(file)) return file;
    await file.close();
    throw new StateError(`Cannot read "${path}": it is no file. Move it away.`);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    if (["ELOOP", "EMLINK"].includes(errorCode(error))) throw linkError(path);
    if (error instanceof StateError) throw error;
    throw new StateError(`Cannot read "${path}": ${errorText(error)}. Make it readable for this user.`, {
      cause: error,
    });
  }
}

export function linkError(path: string): StateError {
  return new StateError(
    `Cannot use "${path}": it is a symbolic link, which could lead a write anywhere. Put the file itself in its place.`,
  );
}

/**
 * The header of a state file; null if there is no file, or no good header in it.
 *
 * @throws {StateError} as `openOwn`.
 */
export async function readHeader(disk: Disk, path: string): Promise<StateHeader | null> {
  const file = await openOwn(disk, path);
  if (file === null) return null;
  try {
    return decodeHeader(await readExactly(file, headerBytes));
  } finally {
    await file.close();
  }
}

/**
 * Reads and checks a state file; null if there is none.
 *
 * @throws {DamageError} if it is damaged.
 * @throws {StateError} if it is a symbolic link, not readable, or written by a newer version.
 */
export async function readStateFile(disk: Disk, path: string): Promise<ReadState | null> {
  const file = await openOwn(disk, path);
  if (file === null) return null;
  try {
    const { size, mtimeMs } = await file.stat();
    // Before anything is read that is as long as the file says.
    checkHeader(await readExactly(file, Math.min(size, headerBytes)), size, path);
    return { ...parseStateFile(await readExactly(file, size), path), savedAtMs: mtimeMs };
  } finally {
    await file.close();
  }
}

/** As `readStateFile`, of bytes at hand. `path` is for the message. */
export function parseStateFile(bytes: Uint8Array, path: string): StateContents & { header: StateHeader } {
  const header = checkHeader(bytes, bytes.length, path);
  const body = bytes.subarray(headerBytes);
  if (!isSameBytes(sha256(body), header.bodyHash)) throw new DamageError("its checksum does not hold");
  const contents = parseBody(decodeBody(body), header.version);
  if (!isSameBytes(runTag(contents.identity.runId), header.runTag)) {
    throw new DamageError("its header is of another run");
  }
  return { ...contents, header };
}

/** The header of a file that has so many bytes. `start`: those it begins with. */
function checkHeader(start: Uint8Array, fileBytes: number, path: string): StateHeader {
  if (start.length < headerBytes) throw new DamageError(`it has only ${start.length} bytes`);
  const header = decodeHeader(start);
  if (header === null) throw new DamageError("its header is damaged");
  if (header.version > stateVersion) {
    throw new StateError(
      `Cannot read "${path}": it was written by a newer taskmaster (version ${header.version} of the format, this one ` +
        `knows ${stateVersion}). Use that taskmaster.`,
    );
  }
  const bodyBytes = fileBytes - headerBytes;
  if (bodyBytes !== header.bodyBytes) {
    throw new DamageError(`its body has ${bodyBytes} bytes instead of ${header.bodyBytes}`);
  }
  return header;
}

/** The first `size` bytes, fewer only where the file ends. */
export async function readExactly(file: FileHandle, size: number): Promise<Uint8Array> {
  const bytes = roomFor(size);
  let at = 0;
  while (at < size) {
    const { bytesRead } = await file.read(bytes, at, size - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** Allocates room for a file. A sparse file can claim more bytes than memory has: the error then says so. */
function roomFor(size: number): Uint8Array {
  try {
    return new Uint8Array(size);
  } catch (error) {
    throw new StateError(`Cannot read a state of ${size} bytes: there is not enough memory.`, {
      cause: error,
    });
  }
}

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

/** A loaded state, and from which of the two files. */
export type LoadedState =
  & ReadState
  & Readonly<{
    from: "state" | "prev";
    /** No master of this run had a higher epoch. */
    epochSeen: number;
  }>;

/**
 * Loads the state from which the next master of a key resumes; null if there is none. If the state file is damaged or
 * gone, loads the `.prev` file, and warns how much that loses. An unreadable state is never taken for a fresh start.
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

/** Marks a state that was not its master's last: jobs settled after that save are unknown, and may run again. */
function resumed(state: RunState, from: LoadedState["from"]): RunState {
  const isKnown = from === "state" && state.final;
  return isKnown ? state : { ...state, repeatedAtLeast: true };
}

/** Says what resuming from `.prev` loses: its age, its counters, and what can be read of the damaged state. */
function costOf({ state, savedAtMs }: ReadState, lost: DamagedState | null): string {
  const { handedOut } = state;
  const until = lost === null
    ? `${formatDuration(Math.max(0, wallMs() - savedAtMs))} ago`
    : `${formatDuration(Math.max(0, lost.savedAtMs - savedAtMs))} before the damaged one`;
  const more = lost?.counters != null && lost.counters.handedOut >= handedOut
    ? `; the damaged one says ${lost.counters.handedOut} and ${lost.counters.settled}`
    : "";
  return `it was saved at ${isoTime(savedAtMs)}, ${until}, and knows of ${handedOut} jobs handed out, ${
    settledOf(state)
  } of them ` +
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

/** Reads what a damaged state still says; null if there is no file. */
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
  // `.prev` may have been saved by the master before, whose epoch is lower by one.
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
