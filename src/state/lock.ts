import { randomBytes } from "node:crypto";
import { monotonicMs, setTimeout } from "../base/clock.ts";
import { lockAnswerMs, lockNoteLookMs, lockPauseMs } from "../base/state_limits.ts";
import type { Disk } from "./disk.ts";
import type { ElsewhereOptions } from "./elsewhere.ts";
import { restoreFile, takeFile } from "./file_lock.ts";
import { type Holder, thisHolder } from "./holder.ts";
import { lockedError, noteError, readNote, removeNote, writeNote } from "./lock_note.ts";
import { askHolder, holdSocket, isProof, proofOf, type SocketLock, socketName } from "./socket_lock.ts";
import type { StateFiles } from "./state_files.ts";

export type Lock = Readonly<{
  /** Says in `<key>.lock` where this master can be reached. */
  setAddress(address: string): Promise<void>;
  /** Frees the key. Idempotent. */
  release(): Promise<void>;
}>;

export type LockOptions =
  & ElsewhereOptions
  & Readonly<{
    address: string | null;
    /** Whether the kernel keeps the lock too (abstract sockets, Linux) or a file alone does. */
    isKernel: boolean;
  }>;

/**
 * Takes the lock of a key, so that one master of it runs on this host, and as far as can be told none elsewhere: the
 * kernel's, if there is one and no stranger holds it, then the file.
 *
 * @throws {StateError} naming the one that runs.
 */
export async function takeLock(disk: Disk, files: StateFiles, options: LockOptions): Promise<Lock> {
  const lock = new OpenLock(disk, files, {
    ...await thisHolder(options.address),
    nonce: randomBytes(32).toString("hex"),
  });
  try {
    await lock.take(options);
    return lock;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Nonces of the locks that this process holds. */
const heldHere = new Set<string>();

class OpenLock implements Lock {
  readonly #disk: Disk;
  readonly #files: StateFiles;
  #holder: Holder;
  /** Null where the kernel keeps no lock, or a stranger holds it. */
  #socket: SocketLock | null = null;
  /** From when the file is taken until it is let go. */
  #isHeld = false;
  #isReleased = false;
  #lookedAtMs = -Infinity;

  constructor(disk: Disk, files: StateFiles, holder: Holder) {
    this.#disk = disk;
    this.#files = files;
    this.#holder = holder;
  }

  async take(options: LockOptions): Promise<void> {
    const { isKernel, log } = options;
    const name = isKernel
      ? socketName(await this.#disk.stat(this.#files.dir, { bigint: true }), this.#files.key)
      : null;
    if (name !== null) this.#socket = await this.#takeSocket(name);
    const isAlone = this.#socket !== null;
    await takeFile(this.#disk, this.#files, this.#holder, { ...options, isAlone, heldHere });
    this.#isHeld = true;
    heldHere.add(this.#holder.nonce);
    if (name === null || this.#socket !== null) return;
    // It was another start, perhaps, which has found the file taken by now.
    this.#socket = await this.#hold(name);
    if (this.#socket === null) log("warn", strangerWarning(this.#files));
  }

  async setAddress(address: string): Promise<void> {
    this.#holder = { ...this.#holder, address };
    await writeNote(this.#disk, this.#files.lock, this.#holder).catch((error) => {
      throw noteError(this.#files, error);
    });
  }

  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#isHeld) await removeNote(this.#disk, this.#files.lock, this.#holder).catch(() => {});
    heldHere.delete(this.#holder.nonce);
    await this.#socket?.release();
  }

  /** @throws {StateError} if a master holds it. Null if somebody does who cannot prove that. */
  async #takeSocket(name: string): Promise<SocketLock | null> {
    for (const endMs = monotonicMs() + lockAnswerMs;;) {
      const lock = await this.#hold(name);
      const leftMs = endMs - monotonicMs();
      if (lock !== null || leftMs <= 0) return lock;
      const answer = await askHolder(name, leftMs);
      const note = await readNote(this.#disk, this.#files.lock);
      if (note !== null && isProof(answer, note.nonce, name)) throw lockedError(this.#files, note);
      await new Promise((resolve) => setTimeout(resolve, Math.min(lockPauseMs, leftMs)));
    }
  }

  #hold(name: string): Promise<SocketLock | null> {
    return holdSocket(name, async (question) => {
      const proof = proofOf(this.#holder.nonce, name, question);
      if (proof !== null) await this.#restoreNote().catch(() => {});
      return proof;
    });
  }

  /** Whoever asks looks for the nonce in the note, and whatever clears folders may have removed that. */
  async #restoreNote(): Promise<void> {
    const nowMs = monotonicMs();
    if (!this.#isHeld || this.#isReleased || nowMs < this.#lookedAtMs + lockNoteLookMs) return;
    this.#lookedAtMs = nowMs;
    await restoreFile(this.#disk, this.#files, this.#holder);
  }
}

function strangerWarning({ dir, key, lock }: StateFiles): string {
  return `Another program holds the socket that is the lock of "${key}" in "${dir}", and cannot prove that it is a master ` +
    `of it: "${lock}" alone keeps a second master away. See whose it is with: ss -xlp`;
}
