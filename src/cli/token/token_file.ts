import { randomBytes } from "node:crypto";
import { link, mkdir, open, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConnectError } from "../../base/errors.ts";
import { readSecretFile } from "../secret_file.ts";

const elsewhere = "Name another file with --token-file, or put the token itself into TASKMASTER_TOKEN.";
/** Longest token file: a secret is one line. */
const fileBytesMax = 4_096;

/**
 * The text of a token file without the white space around it; undefined if there is none.
 *
 * @throws {ConnectError} if it cannot be read, or if others can read it.
 */
export async function readTokenFile(
  path: string,
  credentialsFolder: string | undefined,
): Promise<string | undefined> {
  const what = { what: "token file", bytesMax: fileBytesMax, otherwise: elsewhere };
  return (await readSecretFile({ path, credentialsFolder, ...what }))?.trim();
}

/**
 * Puts a token into a file of mode 0600 unless the file is there; its folder is made, mode 0700. It appears whole or
 * not at all, and of many processes at once exactly one makes it.
 *
 * @param otherwise what to do when it cannot be made, as a sentence.
 * @returns whether it was this call that made the file.
 * @throws {ConnectError} if it cannot be made.
 */
export async function createTokenFile(path: string, text: string, otherwise = elsewhere): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await writeOnce(path, text);
  } catch (error) {
    throw new ConnectError(
      `Cannot make the token file ${path}: ${(error as Error).message}. ${otherwise}`,
      { cause: error },
    );
  }
}

async function writeOnce(path: string, text: string): Promise<boolean> {
  const temporary = join(dirname(path), `.taskmaster-token-${randomBytes(6).toString("hex")}`);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(`${text}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(temporary, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await unlink(temporary).catch(() => {});
  }
}
