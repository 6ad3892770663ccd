import { randomBytes } from "node:crypto";
import { type FileHandle, link, mkdir, open, realpath, unlink } from "node:fs/promises";
import { dirname, join, sep } from "node:path";
import { ConnectError } from "../../base/errors.ts";

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
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0 && !await isExempt(path, credentialsFolder)) throw tooOpen(path, mode);
    const buffer = new Uint8Array(fileBytesMax + 1);
    const { length } = await readAll(file, buffer);
    if (length > fileBytesMax) {
      throw new ConnectError(`The token file ${path} is longer than ${fileBytesMax} bytes: it is no token.`);
    }
    return new TextDecoder().decode(buffer.subarray(0, length)).trim();
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new ConnectError(`Cannot read the token file ${path}: ${message}. ${elsewhere}`, { cause: error });
  } finally {
    await file?.close();
  }
}

async function readAll(file: FileHandle, buffer: Uint8Array): Promise<{ length: number }> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return { length };
}

function tooOpen(path: string, mode: number): ConnectError {
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  return new ConnectError(
    `Others can use the token file ${path} (mode ${shown}): make it yours alone with \`chmod 600 ${path}\`.`,
  );
}

/** Folders in which a supervisor of services guards the files itself; Windows has no such modes. */
async function isExempt(path: string, credentialsFolder: string | undefined): Promise<boolean> {
  if (process.platform === "win32") return true;
  const real = await realpath(path);
  for (const folder of ["/run/secrets", credentialsFolder]) {
    if (!folder?.startsWith("/")) continue;
    const root = await realpath(folder).catch(() => folder);
    if (real.startsWith(root.endsWith(sep) ? root : root + sep)) return true;
  }
  return false;
}

/**
 * Puts a token into a file of mode 0600 unless the file is there; its folder is made, mode 0700. It appears whole or
 * not at all, and of many processes at once exactly one makes it.
 *
 * @returns whether it was this call that made the file.
 * @throws {ConnectError} if it cannot be made.
 */
export async function createTokenFile(path: string, text: string): Promise<boolean> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await writeOnce(path, text);
  } catch (error) {
    throw new ConnectError(
      `Cannot make the token file ${path}: ${(error as Error).message}. ${elsewhere}`,
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
