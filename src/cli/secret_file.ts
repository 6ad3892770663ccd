import { constants, type Stats } from "node:fs";
import { type FileHandle, lstat, open, realpath, stat } from "node:fs/promises";
import { dirname, sep } from "node:path";
import { monotonicMs, setTimeout } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { ownUid } from "../lib/own_file.ts";
import { shellQuote } from "../terminal/text_width.ts";

type NamedFile = Readonly<{
  path: string;
  /** "token file": for sentences. */
  what: string;
  /** Longest that it may be. */
  bytesMax: number;
  /** What to do when it cannot be read, as a sentence. */
  otherwise: string;
}>;

type SecretFile =
  & NamedFile
  & Readonly<{
    /** CREDENTIALS_DIRECTORY. */
    credentialsFolder: string | undefined;
  }>;

/** Does not block if the path is a pipe, and does not make a terminal the controlling one. */
const readFlags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0);

/** A file that is open already, in the hands of who started this program: `--token-file <(pass show tm)`. */
const handedOver = /^\/(?:dev|proc\/self)\/fd\/\d+$/;
/** How long a pipe that was handed over may take. */
const pipeMs = 5_000;
const pipeLookMs = 20;

/**
 * The text of a file that holds a secret; undefined if there is none. It is a regular file of this user or root, which
 * nobody else may use: else somebody could have chosen the secret, or know it. All that is judged of the open file, so
 * that none can be put in its place meanwhile. A pipe may be one that was handed over.
 *
 * @throws {ConnectError} if it is anything else, or cannot be read.
 */
export async function readSecretFile(secret: SecretFile): Promise<string | undefined> {
  return await readFileText(secret, async (found) => {
    const fault = foreignFault(secret, found) ?? openFault(secret, found);
    if (fault !== null && !await isExempt(secret, found)) throw new ConnectError(fault);
  });
}

/**
 * The text of a file that is no secret, such as a certificate; undefined if there is none.
 *
 * @throws {ConnectError} if it is no regular file, or cannot be read.
 */
export async function readPublicFile(file: NamedFile): Promise<string | undefined> {
  return await readFileText(file, async () => {});
}

async function readFileText(
  named: NamedFile,
  judge: (found: Stats) => Promise<void>,
): Promise<string | undefined> {
  const { path, what, bytesMax, otherwise } = named;
  let file: FileHandle | undefined;
  try {
    // Looked at first: to open a device may do something.
    refuseSpecial(path, await stat(path));
    file = await open(path, readFlags);
    const found = await file.stat();
    refuseSpecial(path, found);
    await judge(found);
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

function refuseSpecial(path: string, found: Stats): void {
  if (found.isFile() || (found.isFIFO() && handedOver.test(path))) return;
  const kind = found.isDirectory()
    ? "a folder"
    : found.isFIFO()
    ? "a pipe"
    : found.isSocket()
    ? "a socket"
    : "a device";
  throw new Error(`it is ${kind}, and must be a regular file`);
}

/** Reads until the buffer is full or the file ends; returns how much. */
async function fill(file: FileHandle, buffer: Uint8Array): Promise<number> {
  let length = 0;
  for (const untilMs = monotonicMs() + pipeMs; length < buffer.length;) {
    const bytesRead = await readSome(file, buffer.subarray(length));
    if (bytesRead === 0) break;
    length += bytesRead ?? 0;
    if (bytesRead !== null) continue;
    if (monotonicMs() > untilMs) throw new Error(`it is a pipe that did not end within ${pipeMs / 1_000} s`);
    await new Promise((resolve) => setTimeout(resolve, pipeLookMs));
  }
  return length;
}

/** Reads bytes into `into`; null if a pipe has none yet. */
async function readSome(file: FileHandle, into: Uint8Array): Promise<number | null> {
  try {
    return (await file.read(into, 0, into.length, null)).bytesRead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return null;
    throw error;
  }
}

function foreignFault({ path, what }: SecretFile, { uid }: Stats): string | null {
  if (isOwnOrRoots(uid)) return null;
  return `The ${what} ${path} belongs to another user (uid ${uid}), who can read it and change it: copy it to a file of ` +
    "your own, with mode 0600, or have it given to you by `chown`.";
}

function openFault({ path, what }: SecretFile, { mode }: Stats): string | null {
  if (process.platform === "win32" || (mode & 0o077) === 0) return null;
  return `Others can use the ${what} ${path} (mode ${shownMode(mode)}): make it yours alone with \`${
    shellQuote(["chmod", "600", path])
  }\`.`;
}

/** Windows has neither such owners nor such modes. */
function isOwnOrRoots(uid: number): boolean {
  const own = process.platform === "win32" ? undefined : ownUid();
  return own === undefined || uid === own || uid === 0;
}

function shownMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, "0");
}

/** Folders in which a supervisor of services guards the files itself. */
async function isExempt({ path, credentialsFolder }: SecretFile, found: Stats): Promise<boolean> {
  const real = await realpath(path);
  const { dev, ino } = await stat(real);
  if (dev !== found.dev || ino !== found.ino) return false;
  for (const folder of ["/run/secrets", credentialsFolder]) {
    if (!folder?.startsWith("/")) continue;
    const root = await realpath(folder).catch(() => folder);
    if (real.startsWith(root.endsWith(sep) ? root : root + sep)) return true;
  }
  return false;
}

/**
 * Why a file is not even looked for that nobody named, as a sentence: whoever can write to its folder could have put it
 * there, or replace it. Null if it may be looked for; an empty text if it may not, and is not there.
 */
export async function whyNotSought(path: string): Promise<string | null> {
  const folder = dirname(path);
  const found = await stat(folder).catch(() => null);
  if (process.platform === "win32" || found === null) return null;
  const { uid, mode } = found;
  const isOpen = (mode & 0o022) !== 0;
  if (isOwnOrRoots(uid) && !isOpen) return null;
  if (!await lstat(path).then(() => true, () => false)) return "";
  const why = isOpen
    ? `others can write to its folder (mode ${shownMode(mode)})`
    : `its folder belongs to another user (uid ${uid})`;
  return `${path} is not looked at, for ${why} and could put a file of theirs there. ` +
    `${
      isOpen ? `\`${shellQuote(["chmod", "go-w", folder])}\` mends that; or name` : "Name"
    } the file with --token-file.`;
}
