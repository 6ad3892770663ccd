import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { isSameBytes } from "../lib/bytes.ts";
import { monotonicMs } from "../lib/clock.ts";
import { StateError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type Disk, errorCode, errorText, linkless, removeFile, SaveError, type StateFiles } from "./disk.ts";
import { readHeader, syncFolder } from "./read_state.ts";
import { stateVersion } from "./state_fields.ts";
import {
  bodyParts,
  encodeHeader,
  gather,
  headerBytes,
  runTag,
  type StateContents,
  type StateHeader,
} from "./state_format.ts";

/** State bytes encoded, hashed and written in one step: some half a millisecond of the event loop. */
const stateStepBytes = 256 << 10;

/** Exclusive, so that a link in its place is refused. */
const newFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0);

type StateWriterOptions = Readonly<{
  disk: Disk;
  files: StateFiles;
  runId: string;
  epoch: number;
  /** The header of the state that was loaded; null if there was no good one. */
  loaded: StateHeader | null;
  log: Log;
}>;

/**
 * Replaces the state file atomically: whenever this process ends, the complete old file or the complete new file
 * exists. The caller makes sure that only one save runs at a time. The steps, and what a crash in each of them leaves:
 *
 *     WRITE the temporary file, sync it       old state, leftover temporary file
 *     LOOK whose state is there now           the same
 *     LINK the old state to .prev             the same, .prev is the old state too
 *     RENAME the temporary file over it       new state, not yet durable; .prev is the old one
 *     SYNC the folder                         new state, durable
 */
export class StateWriter {
  readonly #options: StateWriterOptions;
  readonly #writer = new Uint8Array(randomBytes(8));
  /** Where the parts of each save are gathered. */
  readonly #step = new Uint8Array(stateStepBytes);
  /** What this master last saw or put at the state's path. */
  #seen: StateHeader | null;

  constructor(options: StateWriterOptions) {
    this.#options = options;
    this.#seen = options.loaded;
  }

  /**
   * Resolves when the state is durable, with the time in ms that this thread spent on it, system calls excluded.
   *
   * @throws {SaveError} if it could not be written this time; the state file is then the old one or the new one.
   * @throws {StateError} if another master took the run over.
   */
  async save(contents: StateContents): Promise<number> {
    const { disk, files } = this.#options;
    const temporary = `${files.state}.tmp.${randomBytes(4).toString("hex")}`;
    try {
      const { header, heldMs } = await this.#write(temporary, contents);
      if (await this.#isOursThere()) await this.#keepPrevious();
      await disk.rename(temporary, files.state);
      this.#seen = header;
      await syncFolder(disk, files.dir);
      return heldMs;
    } catch (error) {
      // After a failed sync the file cannot be trusted, even if a later sync succeeds: remove it.
      await removeFile(disk, temporary).catch(() => {});
      if (error instanceof StateError) throw error;
      throw new SaveError(`writing "${files.state}" failed: ${errorText(error)}`, { cause: error });
    }
  }

  async #write(path: string, contents: StateContents): Promise<{ header: StateHeader; heldMs: number }> {
    const file = await this.#options.disk.open(path, newFlags, 0o600);
    try {
      const hash = createHash("sha256");
      let bodyBytes = 0;
      let heldMs = 0;
      let fromMs = monotonicMs();
      for (const step of gather(bodyParts(contents), this.#step)) {
        hash.update(step);
        heldMs += monotonicMs() - fromMs;
        await writeAll(file, step, headerBytes + bodyBytes);
        bodyBytes += step.length;
        fromMs = monotonicMs();
      }
      const header = this.#header(bodyBytes, hash.digest());
      // The header is written last, so that an incomplete file has none.
      await writeAll(file, encodeHeader(header), 0);
      await file.sync();
      return { header, heldMs };
    } finally {
      await file.close();
    }
  }

  #header(bodyBytes: number, bodyHash: Uint8Array): StateHeader {
    const { runId, epoch } = this.#options;
    return { version: stateVersion, epoch, bodyBytes, runTag: runTag(runId), writer: this.#writer, bodyHash };
  }

  /**
   * Whether the state file is the one that this master last saw or saved. False if it is damaged, gone, or older; then
   * the save goes on and replaces it.
   *
   * @throws {StateError} if the file is of a newer master or of another run.
   */
  async #isOursThere(): Promise<boolean> {
    const { disk, files, log } = this.#options;
    const there = await headerThere(disk, files.state);
    if (there !== null && this.#seen !== null && isSameHeader(there, this.#seen)) return true;
    if (there !== null) this.#checkOlder(there);
    if (there !== null || this.#seen !== null) {
      log(
        "warn",
        `"${files.state}" was ${
          there === null ? "deleted or damaged" : "replaced by an older one"
        } meanwhile; writing it anew`,
      );
    }
    return false;
  }

  #checkOlder(there: StateHeader): void {
    const { files, runId, epoch } = this.#options;
    const who = isSameBytes(there.runTag, runTag(runId))
      ? "another master took this run over"
      : "it is of another run now";
    const isOlder = there.epoch < epoch || (there.epoch === epoch && isSameBytes(there.writer, this.#writer));
    if (isSameBytes(there.runTag, runTag(runId)) && isOlder) return;
    throw new StateError(
      `Cannot save "${files.state}": ${who} (epoch ${there.epoch}, this master's is ${epoch}). Nothing of it was changed; ` +
        `let that one go on.`,
    );
  }

  /** Replaces `.prev` through a temporary name, so that it is never absent. */
  async #keepPrevious(): Promise<void> {
    const { disk, files } = this.#options;
    const temporary = `${files.prev}.tmp.${randomBytes(4).toString("hex")}`;
    try {
      await linkOrCopy(disk, files.state, temporary);
      await disk.rename(temporary, files.prev);
    } catch (error) {
      await removeFile(disk, temporary).catch(() => {});
      throw error;
    }
  }
}

/** The header of the state file; null if there is none, or the path holds something else. */
async function headerThere(disk: Disk, path: string): Promise<StateHeader | null> {
  try {
    return (await disk.lstat(path)).isFile() ? await readHeader(disk, path) : null;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    // The file may be readable next time. It must not be replaced before it is known whose it is.
    throw new Error(errorText(error), { cause: error });
  }
}

function isSameHeader(a: StateHeader, b: StateHeader): boolean {
  return isSameBytes(encodeHeader(a), encodeHeader(b));
}

async function linkOrCopy(disk: Disk, from: string, to: string): Promise<void> {
  try {
    await disk.link(from, to);
  } catch (error) {
    if (!linkless.includes(errorCode(error))) throw error;
    await disk.copyFile(from, to, constants.COPYFILE_EXCL);
    const copy = await disk.open(to, "r+");
    await copy.sync().finally(() => copy.close());
  }
}

/** Writes all bytes, also when single writes are short. */
async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at, position + at);
    if (bytesWritten === 0) throw new Error("no space left: a write took nothing");
    at += bytesWritten;
  }
}
