import { randomBytes } from "node:crypto";
import { StateError } from "../base/errors.ts";
import { type Disk, errorCode, errorText, removeFile } from "./disk.ts";
import { lockTextBytesMax } from "../base/state_limits.ts";
import { type Holder, holderText, isSamePlace, parseHolder } from "./holder.ts";
import { openOwn, readExactly } from "./read_state_file.ts";
import type { StateFiles } from "./state_files.ts";

export function lockedError(files: StateFiles, holder: Holder | null): StateError {
  const who = holder === null ? "an unknown pid" : holderText(holder);
  return new StateError(
    `Cannot start "${files.key}" in "${files.dir}": a master of it already runs, ${who}. Stop that one first, or give ` +
      `this run a --key of its own.`,
  );
}

/**
 * Null if there is none, or it is no note: one is shorter than 4 KiB.
 *
 * @throws {StateError} if it is a symbolic link, no file, or not readable.
 */
export async function readNote(disk: Disk, path: string): Promise<Holder | null> {
  const file = await openOwn(disk, path);
  if (file === null) return null;
  try {
    const bytes = await readExactly(file, lockTextBytesMax + 1);
    return bytes.length > lockTextBytesMax ? null : parseHolder(new TextDecoder().decode(bytes));
  } finally {
    await file.close();
  }
}

/** Whole or not at all: through a temporary name. */
export async function writeNote(disk: Disk, path: string, holder: Holder): Promise<void> {
  const temporary = await writeNew(disk, path, holder);
  try {
    await disk.rename(temporary, path);
  } catch (error) {
    await removeFile(disk, temporary).catch(() => {});
    throw error;
  }
}

/** The note in a file beside `path`; returns its name. */
export async function writeNew(disk: Disk, path: string, holder: Holder): Promise<string> {
  const temporary = `${path}.tmp.${randomBytes(4).toString("hex")}`;
  const file = await disk.open(temporary, "wx", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(holder)}\n`);
  } finally {
    await file.close();
  }
  return temporary;
}

/** Unless it is another's by now. */
export async function removeNote(disk: Disk, path: string, holder: Holder): Promise<void> {
  const note = await readNote(disk, path);
  if (note !== null && isSamePlace(note, holder) && note.pid === holder.pid) await removeFile(disk, path);
}

export function noteError(files: StateFiles, error: unknown): StateError {
  const why = errorCode(error) === "EROFS" ? "it is read-only (EROFS)" : errorText(error);
  return new StateError(
    `Cannot keep the state in "${files.dir}": ${why}. Make the folder writable, or name another one with --state-dir.`,
    { cause: error },
  );
}
