import * as promises from "node:fs/promises";
import { join } from "node:path";
import { StateError, TaskmasterError, UsageError } from "../lib/errors.ts";
import { holdStandardFiles } from "../lib/exit_guard.ts";
import { asClause, printable } from "../lib/text.ts";

const keyRule = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * A key becomes part of file names, so it can neither leave its folder nor hide, nor be longer than names may be.
 *
 * @throws {UsageError} naming the rule.
 */
export function checkKey(key: string): void {
  if (keyRule.test(key)) return;
  throw new UsageError(
    `Cannot use the key "${
      printable(key, 80)
    }": a key is 1 to 64 letters, digits, ".", "_" or "-", and begins with a letter or a ` +
      `digit. Give one with --key.`,
  );
}

/** The files of one key in its folder. */
export type StateFiles = Readonly<
  { dir: string; key: string; state: string; prev: string; dead: string; lock: string }
>;

export function stateFiles(dir: string, key: string): StateFiles {
  const state = join(dir, `${key}.state`);
  return {
    dir,
    key,
    state,
    prev: `${state}.prev`,
    dead: join(dir, `${key}.dead.ndjson`),
    lock: join(dir, `${key}.lock`),
  };
}

/**
 * A state or dead letter could not be made durable this time (disk full, I/O error); the last good file stays.
 * The message is the end of a sentence that says what failed and why. The caller should try again, whereas a
 * `StateError` ends the run. If the last save of a run fails, the program exits with 6.
 */
export class SaveError extends TaskmasterError {
  readonly exitCode = 6;
}

/** The dead letters would exceed their limit on the disk; nothing was written. Retrying is useless: end the run. */
export class NoRoomError extends Error {}

/**
 * The file system calls that the state uses, as `node:fs/promises` has them. None of them blocks the event loop. Tests
 * replace it by one that fails or stops at a chosen step.
 */
export type Disk = Pick<
  typeof promises,
  "open" | "link" | "copyFile" | "rename" | "unlink" | "lstat" | "readdir" | "stat"
>;

export const nodeDisk: Disk = {
  ...promises,
  open: (...args: Parameters<typeof promises.open>) => {
    holdStandardFiles();
    return promises.open(...args);
  },
};

/** What a file system without hard links answers to one. */
export const linkless: readonly string[] = [
  "EPERM",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
  "EXDEV",
  "EMLINK",
  "UNKNOWN",
];

/** The code of a system error (`ENOENT`), or an empty string. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/**
 * A system error as a part of a sentence: `permission denied (EACCES)`. It leaves out the path in the error, which is
 * often that of a temporary file that the user does not know; the caller's sentence names the file.
 */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const code = errorCode(error);
  const found = /^E[A-Z0-9]+: ([^,]+)/.exec(message);
  return code === "" || found === null ? asClause(message) : `${found[1]} (${code})`;
}

/** A system error as one that tells what could not be done; any other error as it is. */
export function explained(error: unknown, what: string): unknown {
  if (errorCode(error) === "" || error instanceof StateError) return error;
  const { path } = error as NodeJS.ErrnoException;
  const where = typeof path !== "string" || isTemporary(path) ? "" : `, "${path}"`;
  return new StateError(
    `${what}: ${errorText(error)}${where}. Look at that disk, or name another folder with --state-dir.`,
    {
      cause: error,
    },
  );
}

function isTemporary(path: string): boolean {
  return /\.tmp(?:\.[0-9a-f]{8})?$/.test(path);
}

/**
 * Whether an open file is a regular one. If `stat` fails, the file is closed before the error is thrown: a handle that
 * is garbage collected while open ends the process (Bun, Node).
 */
export async function isRegular(file: promises.FileHandle): Promise<boolean> {
  try {
    return (await file.stat()).isFile();
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Removes a file; succeeds too if there is none. */
export async function removeFile(disk: Disk, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}
