import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { StateError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { formatSize } from "../base/size.ts";
import { deadLetterGroupBytes, lastLettersBytes } from "../base/state_limits.ts";
import type { DeadLetter } from "../core/types.ts";
import { deadLetterLine, handledLine } from "./dead_letter_line.ts";
import { type Disk, errorCode, errorText, isRegular } from "./disk.ts";
import { syncFolder } from "./folder.ts";
import { linkError } from "./read_state_file.ts";
import { NoRoomError, SaveError } from "./save_error.ts";

const appendFlags = constants.O_RDWR | constants.O_APPEND | (constants.O_NOFOLLOW ?? 0) |
  (constants.O_NONBLOCK ?? 0);
const newline = 0x0a;

export type DeadLetterFileOptions = Readonly<{
  disk: Disk;
  path: string;
  /** The folder it stands in. */
  dir: string;
  nowIso: () => string;
  /** No letter is appended that would make it longer. @default without a limit */
  bytesMax?: number | undefined;
  log: Log;
}>;

/** `<key>.dead.ndjson`: dead letters, a line each, appended in groups and synced. One append at a time. */
export class DeadLetterFile {
  readonly #options: DeadLetterFileOptions;

  constructor(options: DeadLetterFileOptions) {
    this.#options = options;
  }

  get path(): string {
    return this.#options.path;
  }

  /**
   * Proves that it can be opened to append to it, if it is there, before a letter needs it.
   *
   * @throws {StateError} if it cannot.
   */
  async check(): Promise<void> {
    try {
      await (await this.#open(appendFlags)).close();
    } catch (error) {
      if (errorCode(error) === "ENOENT") return;
      if (error instanceof StateError) throw error;
      throw new StateError(
        `Cannot write dead letters to "${this.path}": ${
          errorText(error)
        }. Make it writable, or move it away.`,
        { cause: error },
      );
    }
  }

  /**
   * Resolves when all of them are durable.
   *
   * @throws {SaveError} if not all were written; some may have been, and the last line of a seq counts.
   * @throws {NoRoomError} likewise, if they would be more than the file may hold.
   * @throws {StateError} if the file is a symbolic link, or no file.
   */
  async append(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length > 0) await this.#append(letters, deadLetterLine, this.#options.bytesMax);
  }

  /**
   * Takes the letters of these jobs back: they are done after all. Resolves when that is durable.
   *
   * @throws as `append`.
   */
  async takeBack(seqs: readonly number[]): Promise<void> {
    if (seqs.length > 0) await this.#append(seqs, handledLine);
  }

  async #append<T>(
    items: readonly T[],
    line: (item: T, time: string) => string,
    bytesMax = Infinity,
  ): Promise<void> {
    const { disk, path, dir, nowIso } = this.#options;
    const time = nowIso();
    try {
      const file = await this.#open(appendFlags | constants.O_CREAT);
      try {
        for (const group of groups(items, (item) => line(item, time))) {
          await this.#write(file, group, bytesMax);
        }
        await file.sync();
      } finally {
        await file.close();
      }
      await syncFolder(disk, dir);
    } catch (error) {
      if (error instanceof StateError || error instanceof NoRoomError) throw error;
      throw new SaveError(`writing "${path}" failed: ${errorText(error)}`, { cause: error });
    }
  }

  /** Opened anew each time, so that a file that was moved away or deleted is made again. */
  async #open(flags: number): Promise<FileHandle> {
    const { disk, path } = this.#options;
    if (!constants.O_NOFOLLOW && await isLink(disk, path)) throw linkError(path);
    const file = await disk.open(path, flags, 0o600).catch((error: unknown) => {
      throw errorCode(error) === "ELOOP" ? linkError(path) : error;
    });
    if (await isRegular(file)) return file;
    await file.close();
    throw new StateError(`Cannot write dead letters to "${path}": it is no file. Move it away.`);
  }

  /** One write. If it comes out short, nothing of it stays: no line is ever torn, nor run together with the next. */
  async #write(file: FileHandle, lines: Uint8Array, bytesMax: number): Promise<void> {
    const size = await this.#mend(file);
    if (size + lines.length > bytesMax) {
      throw new NoRoomError(
        `"${this.path}" has ${formatSize(size)}, ${formatSize(lines.length)} more were to be written, and ` +
          `${formatSize(bytesMax)} are allowed`,
      );
    }
    try {
      const { bytesWritten } = await file.write(lines);
      if (bytesWritten < lines.length) {
        throw new Error(`no space left: ${bytesWritten} of ${lines.length} bytes written`);
      }
    } catch (error) {
      // If this fails too, the next append mends it.
      await file.truncate(size).catch(() => {});
      throw error;
    }
  }

  /**
   * Ends the last line if a crash cut it off: a whole letter by its newline, anything else by taking it away. It was
   * never durable, so the state still carries its job. Returns the size.
   */
  async #mend(file: FileHandle): Promise<number> {
    const { size } = await file.stat();
    const tail = await lastLine(file, size);
    if (tail === null) {
      throw new StateError(
        `Cannot write dead letters to "${this.path}": its last line is longer than any letter. Move it away.`,
      );
    }
    if (tail.length === 0) return size;
    if (isJson(tail)) {
      await file.write(Uint8Array.of(newline));
      return size + 1;
    }
    this.#options.log(
      "warn",
      `The last line of "${this.path}" was cut off; its job is still in the state. Removing it`,
    );
    await file.truncate(size - tail.length);
    return size - tail.length;
  }
}

/** What stands behind the last newline, read backwards; null if that is longer than what is ever looked at. */
async function lastLine(file: FileHandle, size: number): Promise<Uint8Array | null> {
  for (let length = 1; length <= lastLettersBytes; length = Math.min(size, length * 4_096)) {
    const bytes = new Uint8Array(Math.min(size, length));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    const end = bytes.lastIndexOf(newline);
    if (end >= 0) return bytes.subarray(end + 1);
    if (length >= size) return bytes;
  }
  return null;
}

function isJson(line: Uint8Array): boolean {
  try {
    return JSON.parse(new TextDecoder().decode(line)) !== null;
  } catch {
    return false;
  }
}

/** Lines of about as many bytes as one write should have. */
function* groups<T>(items: readonly T[], line: (item: T) => string): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  for (const item of items) {
    text += line(item);
    if (text.length < deadLetterGroupBytes) continue;
    yield encoder.encode(text);
    text = "";
  }
  if (text !== "") yield encoder.encode(text);
}

async function isLink(disk: Disk, path: string): Promise<boolean> {
  return await disk.lstat(path).then((stat) => stat.isSymbolicLink(), () => false);
}
