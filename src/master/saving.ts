import { monotonicMs } from "../base/clock.ts";
import { StateError } from "../base/errors.ts";
import type { JobSpan } from "../base/job_span.ts";
import type { Log } from "../base/log.ts";
import { whyOf } from "../base/printable.ts";
import type { Ranges } from "../base/ranges.ts";
import type { DeadLetter, RunState } from "../core/types.ts";
import { NoRoomError, SaveError, type StateStore } from "../state/store.ts";
import { Burials } from "./burials.ts";
import { Checkpoints } from "./checkpoints.ts";
import { LateLetters, loadLateLetters } from "./late_letters.ts";

export type SavingOptions = Readonly<{
  store: Pick<StateStore, "loaded" | "save" | "bury" | "lastLetters" | "handled">;
  checkpointMs: number | "auto";
  capture: () => { version: number; state: RunState } | null;
  isDirty: () => boolean;
  onSaved: (version: number, tookMs: number) => number;
  onBuried: (letters: readonly DeadLetter[], seqs: Ranges) => void;
  /** The state is another master's now: this one is to end, and to write no more. */
  onLost: (error: unknown) => void;
  /** Dead letters would take more than they may: the run is to end, and to save what it has. */
  onNoRoom: (message: string) => void;
  wakeBy: (atMs: number) => void;
  log: Log;
}>;

/** All that a master writes: checkpoints and dead letters, each one write at a time. */
export class Saving {
  readonly #checkpoints: Checkpoints;
  readonly #burials: Burials;
  readonly #store: SavingOptions["store"];
  #late = new LateLetters();

  constructor({ store, onLost, onNoRoom, onBuried, wakeBy, log, ...parts }: SavingOptions) {
    const isFinal = (error: unknown) => error instanceof StateError;
    const shared = { isFinal, onFinal: onLost, wakeBy, nowMs: monotonicMs, log };
    this.#store = store;
    this.#burials = new Burials({
      ...shared,
      write: (letters) => store.bury(letters),
      isFinal: (error) => isFinal(error) || error instanceof NoRoomError,
      onFinal: (error) => error instanceof NoRoomError ? onNoRoom(error.message) : onLost(error),
      onBuried: (letters, seqs) => {
        this.#late.buried(seqs);
        onBuried(letters, seqs);
      },
    });
    this.#checkpoints = new Checkpoints({ ...shared, ...parts, save: (state) => this.#save(state) });
  }

  /** These jobs are handed out. */
  handedOut(spans: readonly JobSpan[]): void {
    this.#late.compare(spans);
  }

  bury(letters: readonly DeadLetter[]): void {
    this.#burials.bury(letters);
  }

  /** @throws {StateError} if it cannot be saved, or the dead letters cannot be read. */
  async saveFirst(): Promise<void> {
    this.#late = await loadLateLetters(this.#store);
    await this.#checkpoints.saveFirst().catch((error: unknown) => {
      if (!(error instanceof SaveError)) throw error;
      const advice = "Nothing was handed out. Look at that disk, or name another folder with --state-dir.";
      throw new StateError(`Cannot save the state: ${whyOf(error)}. ${advice}`, { cause: error });
    });
  }

  /** Null once what is in memory is durable; else the error. */
  async saveLast(hurry: AbortSignal): Promise<unknown> {
    await this.#burials.close();
    return await this.#checkpoints.saveLast(hurry);
  }

  /** Starts a checkpoint if one is due; after each turn. Returns when to wake next. */
  tickCheckpoints(nowMs: number): number {
    return this.#checkpoints.tick(nowMs);
  }

  tick(nowMs: number): number {
    return Math.min(this.#burials.tick(nowMs), this.#checkpoints.tick(nowMs));
  }

  /** No more checkpoints; `close` ends the rest. */
  stopCheckpoints(): void {
    this.#checkpoints.close();
  }

  /** Starts no write any more; resolves when none is under way. */
  async close(): Promise<void> {
    this.#checkpoints.close();
    await Promise.all([this.#checkpoints.idle(), this.#burials.close()]);
  }

  /** Letters are taken back first: if we die in between, their jobs run again, and what comes of it is on record. */
  async #save(state: RunState): Promise<number> {
    const settled = this.#late.settledIn(state);
    if (settled.length > 0) {
      await this.#store.handled(settled);
      this.#late.takenBack(settled);
    }
    return await this.#store.save(state);
  }
}
