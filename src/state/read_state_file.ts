import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { StateError } from "../base/errors.ts";
import { sha256 } from "../base/digest.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import type { Disk } from "./disk.ts";
import { errorCode, errorText, isRegular } from "./disk.ts";
import { DamageError } from "./fields.ts";
import { migrate, stateVersion } from "./migrate.ts";
import { decodeBody, parseBody } from "./parse_body.ts";
import type { StateContents } from "./state_body.ts";
import { decodeHeader, headerBytes, runTag, type StateHeader } from "./state_header.ts";

export type ReadState = StateContents & Readonly<{ header: StateHeader; savedAtMs: number }>;

/** No links followed, and a pipe in its place cannot hold us. */
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
  const contents = parseBody(migrate(decodeBody(body), header.version));
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

/** A file may be made longer than any memory by a single call, and take no room on its disk. */
function roomFor(size: number): Uint8Array {
  try {
    return new Uint8Array(size);
  } catch (error) {
    throw new StateError(`Cannot read a state of ${size} bytes: there is not enough memory.`, {
      cause: error,
    });
  }
}
