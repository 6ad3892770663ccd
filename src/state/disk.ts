import * as promises from "node:fs/promises";
import { StateError } from "../base/errors.ts";

/**
 * What the state needs of a file system; `node:fs/promises` is one. All of it runs off the event loop. Tests put
 * one in its place that fails or stops at a chosen step.
 */
export type Disk = Pick<
  typeof promises,
  "open" | "link" | "copyFile" | "rename" | "unlink" | "lstat" | "readdir" | "stat"
>;

export const nodeDisk: Disk = promises;

/** The code of a system error (`ENOENT`), or an empty string. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}

/** One line for a person about a system error. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A system error as one that tells what could not be done; any other error as it is. */
export function explained(error: unknown, what: string): unknown {
  if (errorCode(error) === "" || error instanceof StateError) return error;
  return new StateError(
    `${what}: ${errorText(error)}. Look at that disk, or name another folder with --state-dir.`,
    {
      cause: error,
    },
  );
}

/**
 * Whether an open file is a regular one. If that cannot be told, it is closed: a handle that is only forgotten ends
 * the process when it is collected (Bun, Node).
 */
export async function isRegular(file: promises.FileHandle): Promise<boolean> {
  try {
    return (await file.stat()).isFile();
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Removes a file; one that is not there is as good. */
export async function removeFile(disk: Disk, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}
