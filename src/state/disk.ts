import * as promises from "node:fs/promises";

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

/** Removes a file; one that is not there is as good. */
export async function removeFile(disk: Disk, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
}
