import { StateError } from "../base/errors.ts";
import type { DeadLetter, RunState } from "../core/types.ts";
import type { DeadLetterFile } from "./dead_letter_file.ts";
import { type Disk, explained } from "./disk.ts";
import type { Identity } from "./identity.ts";
import { lastLetters } from "./last_letters.ts";
import type { Lock } from "./lock.ts";
import type { StateWriter } from "./state_writer.ts";

/** The files of one run, held by its master. */
export interface StateStore {
  readonly runId: string;
  /** The number of this master's life under the run id: one above the last that was saved. */
  readonly epoch: number;
  /** What was saved last; null on a fresh start. */
  readonly loaded: RunState | null;
  /** Of the state file. */
  readonly path: string;
  /** Of the dead letters. */
  readonly deadPath: string;
  /**
   * Resolves when the state is durable, with how long this thread was held for it, in ms. One save runs at a time. The
   * epoch is raised on disk by the first one.
   *
   * @throws {SaveError} if it could not be written this time: try again.
   * @throws {StateError} if another master took the run over: end.
   */
  save(state: RunState): Promise<number>;
  /**
   * Resolves when the dead letters are durable: only then may a state forget their jobs.
   *
   * @throws {SaveError} if they could not be written this time: try again, all of them.
   * @throws {NoRoomError} if they would be more than there may be: end.
   * @throws {StateError} if the file cannot be used at all.
   */
  bury(letters: readonly DeadLetter[]): Promise<void>;
  /**
   * The jobs, by seq, of the dead letters on record that were appended last, if their seq is wanted.
   *
   * @throws {StateError} if the file cannot be used at all.
   */
  lastLetters(isWanted: (seq: number) => boolean): Promise<Map<number, Uint8Array | null>>;
  /** Takes the dead letters of these jobs back. Resolves when that is durable. @throws as `bury`. */
  handled(seqs: readonly number[]): Promise<void>;
  /** Says in `<key>.lock` where this master can be reached. @throws {StateError} if it cannot be written. */
  setAddress(address: string): Promise<void>;
  /** Waits for what is being written, frees the lock. Idempotent. */
  close(): Promise<void>;
}

export type StoreParts = Readonly<{
  identity: Identity;
  epoch: number;
  loaded: RunState | null;
  path: string;
  disk: Disk;
  writer: StateWriter;
  dead: DeadLetterFile;
  lock: Lock;
}>;

export class OpenStore implements StateStore {
  readonly #parts: StoreParts;
  #saving: Promise<unknown> = Promise.resolve();
  #burying: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  get runId(): string {
    return this.#parts.identity.runId;
  }

  get epoch(): number {
    return this.#parts.epoch;
  }

  get loaded(): RunState | null {
    return this.#parts.loaded;
  }

  get path(): string {
    return this.#parts.path;
  }

  get deadPath(): string {
    return this.#parts.dead.path;
  }

  async save(state: RunState): Promise<number> {
    this.#checkOpen("save");
    const { writer, identity } = this.#parts;
    const saved = this.#saving.then(() => writer.save({ identity, state }));
    this.#saving = saved.catch(() => {});
    return await saved;
  }

  bury(letters: readonly DeadLetter[]): Promise<void> {
    return this.#append(() => this.#parts.dead.append(letters));
  }

  handled(seqs: readonly number[]): Promise<void> {
    return this.#append(() => this.#parts.dead.takeBack(seqs));
  }

  async #append(append: () => Promise<void>): Promise<void> {
    this.#checkOpen("bury");
    const appended = this.#burying.then(append);
    this.#burying = appended.catch(() => {});
    await appended;
  }

  async lastLetters(isWanted: (seq: number) => boolean): Promise<Map<number, Uint8Array | null>> {
    this.#checkOpen("read the dead letters of");
    const { disk, dead } = this.#parts;
    return await lastLetters(dead.path, disk, isWanted).catch((error: unknown) => {
      throw explained(error, `Cannot read the dead letters in "${dead.path}"`);
    });
  }

  async setAddress(address: string): Promise<void> {
    this.#checkOpen("set the address");
    await this.#parts.lock.setAddress(address).catch((error: unknown) => {
      throw explained(error, `Cannot say in a file beside "${this.path}" where this master is`);
    });
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.all([this.#saving, this.#burying]);
    await this.#parts.lock.release();
  }

  #checkOpen(what: string): void {
    if (this.#closing !== null) throw new StateError(`Cannot ${what} "${this.path}": its store is closed.`);
  }
}
