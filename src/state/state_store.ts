import { StateError } from "../base/errors.ts";
import type { DeadLetter, RunState } from "../core/types.ts";
import type { DeadLetterFile } from "./dead_letter_file.ts";
import type { Identity } from "./identity.ts";
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
   * Resolves when the state is durable; one save runs at a time. The epoch is raised on disk by the first one.
   *
   * @throws {SaveError} if it could not be written this time: try again.
   * @throws {StateError} if another master took the run over: end.
   */
  save(state: RunState): Promise<void>;
  /**
   * Resolves when the dead letters are durable: only then may a state forget their jobs.
   *
   * @throws {SaveError} if they could not be written this time: try again, all of them.
   * @throws {StateError} if the file cannot be used at all.
   */
  bury(letters: readonly DeadLetter[]): Promise<void>;
  /** Says in `<key>.lock` where this master can be reached. */
  setAddress(address: string): Promise<void>;
  /** Waits for what is being written, frees the lock. Idempotent. */
  close(): Promise<void>;
}

export type StoreParts = Readonly<{
  identity: Identity;
  epoch: number;
  loaded: RunState | null;
  path: string;
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

  async save(state: RunState): Promise<void> {
    this.#checkOpen("save");
    const { writer, identity } = this.#parts;
    const saved = this.#saving.then(() => writer.save({ identity, state }));
    this.#saving = saved.catch(() => {});
    await saved;
  }

  async bury(letters: readonly DeadLetter[]): Promise<void> {
    this.#checkOpen("bury");
    const buried = this.#burying.then(() => this.#parts.dead.append(letters));
    this.#burying = buried.catch(() => {});
    await buried;
  }

  async setAddress(address: string): Promise<void> {
    this.#checkOpen("set the address");
    await this.#parts.lock.setAddress(address);
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
