import { type FileHandle, open, realpath } from "node:fs/promises";
import { sep } from "node:path";
import { ConnectError } from "../base/errors.ts";

export type SecretFile = Readonly<{
  path: string;
  /** "token file": for sentences. */
  what: string;
  /** Longest that it may be. */
  bytesMax: number;
  /** What to do when it cannot be read, as a sentence. */
  otherwise: string;
  /** CREDENTIALS_DIRECTORY. */
  credentialsFolder: string | undefined;
}>;

/**
 * The text of a file that holds a secret; undefined if there is none.
 *
 * @throws {ConnectError} if it cannot be read, or if others can read it.
 */
export async function readSecretFile(secret: SecretFile): Promise<string | undefined> {
  const { path, what, bytesMax, otherwise } = secret;
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { mode } = await file.stat();
    if ((mode & 0o077) !== 0 && !await isExempt(secret)) throw tooOpen(secret, mode);
    const buffer = new Uint8Array(bytesMax + 1);
    const length = await fill(file, buffer);
    if (length > bytesMax) {
      throw new ConnectError(`The ${what} ${path} is longer than ${bytesMax} bytes: it is no such file.`);
    }
    return new TextDecoder().decode(buffer.subarray(0, length));
  } catch (error) {
    if (error instanceof ConnectError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new ConnectError(`Cannot read the ${what} ${path}: ${message}. ${otherwise}`, { cause: error });
  } finally {
    await file?.close();
  }
}

/** Reads until the buffer is full or the file ends; returns how much. */
async function fill(file: FileHandle, buffer: Uint8Array): Promise<number> {
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return length;
}

function tooOpen({ path, what }: SecretFile, mode: number): ConnectError {
  const shown = (mode & 0o777).toString(8).padStart(4, "0");
  return new ConnectError(
    `Others can use the ${what} ${path} (mode ${shown}): make it yours alone with \`chmod 600 ${path}\`.`,
  );
}

/** Folders in which a supervisor of services guards the files itself; Windows has no such modes. */
async function isExempt({ path, credentialsFolder }: SecretFile): Promise<boolean> {
  if (process.platform === "win32") return true;
  const real = await realpath(path);
  for (const folder of ["/run/secrets", credentialsFolder]) {
    if (!folder?.startsWith("/")) continue;
    const root = await realpath(folder).catch(() => folder);
    if (real.startsWith(root.endsWith(sep) ? root : root + sep)) return true;
  }
  return false;
}
