import { backoffMs } from "../lib/units.ts";
import type { DeadLetter, RunState } from "../core/types.ts";
import { clearTimeout, monotonicMs, setTimeout } from "../lib/clock.ts";
import { StateError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { type Ranges, rangesOf } from "../lib/ranges.ts";
import { whyOf } from "../lib/text.ts";
import { NoRoomError, SaveError } from "../state/disk.ts";
import type { StateStore } from "../state/store.ts";

/** First pause after a write that failed; doubles. */
const retryMs = 1_000;
const retryMsMax = 30_000;

/** Whether a write that failed ends this master, instead of being tried again. */
function isFinal(error: unknown): boolean {
  return error instanceof StateError || error instanceof NoRoomError;
}

type DeadLetterWriterOptions = Readonly<{
  /** Resolves when these are durable. */
  write: (letters: readonly DeadLetter[]) => Promise<void>;
  onBuried: (letters: readonly DeadLetter[], seqs: Ranges) => void;
  /** Told of an error that ends this master. */
  onFinal: (error: unknown) => void;
  /** Wakes `tick` then. */
  wakeBy: (atMs: number) => void;
  nowMs: () => number;
  log: Log;
}>;

/**
 * Makes dead letters durable, in groups: what comes while one write is under way is the next group. A write that
 * fails (a full disk) is tried again until it succeeds; the state carries the jobs until then.
 */
export class DeadLetterWriter {
  readonly #options: DeadLetterWriterOptions;
  #waiting: DeadLetter[] = [];
  #writing: Promise<void> | null = null;
  #failures = 0;
  #retryAtMs = -Infinity;
  #isClosed = false;

  constructor(options: DeadLetterWriterOptions) {
    this.#options = options;
  }

  bury(letters: readonly DeadLetter[]): void {
    this.#waiting.push(...letters);
    this.tick(this.#options.nowMs());
  }

  /** Starts the next write if one is due. Returns when to wake next. */
  tick(nowMs: number): number {
    if (this.#waiting.length === 0 || this.#writing !== null || this.#isClosed) return Infinity;
    if (nowMs < this.#retryAtMs) return this.#retryAtMs;
    const letters = this.#waiting;
    this.#waiting = [];
    this.#writing = this.#write(letters).finally(() => {
      this.#writing = null;
      this.#options.wakeBy(this.#retryAtMs);
    });
    return Infinity;
  }

  /** Starts no write any more; resolves when none is under way. What still waits stays in the state. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#writing;
  }

  async #write(letters: readonly DeadLetter[]): Promise<void> {
    try {
      await this.#options.write(letters);
      this.#failures = 0;
      this.#retryAtMs = -Infinity;
      this.#options.onBuried(letters, rangesOf(letters.map(({ seq }) => seq)));
    } catch (error) {
      this.#waiting = [...letters, ...this.#waiting];
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (isFinal(error)) {
      this.#isClosed = true;
      return this.#options.onFinal(error);
    }
    const pauseMs = backoffMs(this.#failures++, retryMs, retryMsMax);
    this.#retryAtMs = this.#options.nowMs() + pauseMs;
    this.#options.log(
      "warn",
      `Cannot write dead letters: ${whyOf(error)}. They stay in the state; trying again in ${
        pauseMs / 1000
      } s.`,
    );
  }
}

/** A state above this is saved less often than asked for: at most a tenth of the time goes into saving. */
const largeStateBytes = 8 << 20;
const largeShareMax = 0.1;
/**
 * What `auto` aims at: the largest share of this thread's time spent on saving, and the largest share of the time in
 * which a save is under way, so that neither a slow disk nor a core that workers need is kept busy. The interval stays
 * between `autoMinMs` and `autoMaxMs`, even where that exceeds a share, unless `slowShareMax` requires a longer one. A
 * save also takes long on a busy thread, because its dozen system calls wait there for their turn.
 */
const threadShareMax = 0.02;
const timeShareMax = 0.05;
/** The share of the time in which a save may be under way where the interval has to exceed `autoMaxMs`. */
const slowShareMax = 0.5;
const autoMinMs = 50;
const autoMaxMs = 1_000;
/**
 * Estimates of what is not measured of a save: its system calls in ms; garbage collection, about as long as the part
 * that is measured, hence twice that in all; and the message to each slave, in ms.
 */
const callsMs = 0.25;
const leftTimes = 2;
const messageMs = 0.02;
/** How often the last save of all is tried, and how long it waits in between. */
const finalTries = 3;
const finalPauseMs = 300;

type CheckpointsOptions = Readonly<{
  /** Null if there is none to be had any more. */
  capture: () => { version: number; state: RunState } | null;
  isDirty: () => boolean;
  /** Resolves when the state is durable, with how long this thread was held for it, in ms. */
  save: (state: RunState) => Promise<number>;
  /** Returns to how many slaves a message goes. */
  onSaved: (version: number, tookMs: number) => number;
  /** Told of an error that ends this master. */
  onFinal: (error: unknown) => void;
  checkpointMs: number | "auto";
  wakeBy: (atMs: number) => void;
  nowMs: () => number;
  log: Log;
}>;

/**
 * Saves the state: one save at a time, every `checkpointMs` while it has changed. A failed save logs a warning and is
 * tried again; the run goes on meanwhile, and the last good file stays.
 *
 * `auto` starts a save 50 ms to 1 s after the start of the one before, as soon as saving takes at most 2 % of this
 * thread and a save is under way at most a twentieth of the time. A save that costs more (20 ms of the thread, or 50 ms
 * in all) still starts after 1 s. If a save takes longer than 500 ms, the interval is twice its duration.
 *
 *            tick, due and dirty            saved, failed
 *     IDLE ----------------------> SAVING ----------------> IDLE
 *       '------------------------------ close ------------------> CLOSED (only `saveLast` saves from then on)
 */
export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #isSaving = false;
  #dueAtMs = -Infinity;
  #isClosed = false;
  #failures = 0;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  /** Starts a save if one is due. Returns when to wake next. */
  tick(nowMs: number): number {
    if (this.#isClosed || this.#isSaving || !this.#options.isDirty()) return Infinity;
    if (nowMs < this.#dueAtMs) return this.#dueAtMs;
    this.#isSaving = true;
    void this.#saveOnce().finally(() => {
      this.#isSaving = false;
      this.#options.wakeBy(this.#dueAtMs);
    });
    return Infinity;
  }

  /** Saves what is in memory now, whatever is due. @throws what the save throws; it is dealt with as for any other. */
  async saveNow(): Promise<{ tookMs: number }> {
    if (this.#isClosed) throw new Error("the run ends, and is saved then");
    const startedMs = this.#options.nowMs();
    const error = await this.#saveOnce();
    if (error !== null) throw error;
    return { tookMs: this.#options.nowMs() - startedMs };
  }

  /** Saves now and at once: the first save of a start. @throws what the save throws. */
  async saveFirst(): Promise<void> {
    await this.#save();
  }

  /**
   * The last save: what is in memory now, durable. Null when it is; else the error, after a few tries or once
   * `hurry` is aborted.
   */
  async saveLast(hurry: AbortSignal): Promise<unknown> {
    this.close();
    for (let tries = 1;; tries++) {
      const error = await this.#save().then(() => null, asIs);
      if (error === null || tries === finalTries || hurry.aborted || isFinal(error)) {
        return error;
      }
      this.#options.log("warn", `Cannot save the state: ${whyOf(error)}. Trying again.`);
      await pause(finalPauseMs, hurry);
    }
  }

  /** Starts no save any more. */
  close(): void {
    this.#isClosed = true;
  }

  async #saveOnce(): Promise<unknown> {
    try {
      await this.#save();
      this.#failures = 0;
      return null;
    } catch (error) {
      this.#failed(error);
      return asIs(error);
    }
  }

  async #save(): Promise<void> {
    const { capture, save, onSaved, nowMs, checkpointMs } = this.#options;
    const startedMs = nowMs();
    // If it fails; a full disk is not asked twenty times a second.
    this.#dueAtMs = startedMs + (checkpointMs === "auto" ? autoMaxMs : checkpointMs);
    const taken = capture();
    if (taken === null) throw new Error("the run has ended by a fault of the program");
    const { version, state } = taken;
    const capturedMs = nowMs() - startedMs;
    const heldMs = await save(state);
    const tookMs = nowMs() - startedMs;
    const messages = onSaved(version, tookMs);
    const threadMs = callsMs + leftTimes * (capturedMs + heldMs) + messageMs * messages;
    const isLarge = byteLength(state) > largeStateBytes;
    this.#dueAtMs = startedMs + intervalMs({ checkpointMs, threadMs, tookMs, isLarge });
  }

  #failed(error: unknown): void {
    if (this.#isClosed) return; // the last save says more
    const { onFinal, log } = this.#options;
    if (isFinal(error)) return onFinal(error);
    this.#failures += 1;
    const times = this.#failures === 1 ? "" : ` (${this.#failures} times in a row)`;
    log("warn", `Cannot save the state${times}: ${whyOf(error)}. The last good one stays; trying again.`);
  }
}

/** From the beginning of one save to that of the next, by what the first one cost. */
export function intervalMs(
  { checkpointMs, threadMs, tookMs, isLarge }: Readonly<{
    checkpointMs: number | "auto";
    threadMs: number;
    tookMs: number;
    isLarge: boolean;
  }>,
): number {
  const pacedMs = Math.max(autoMinMs, threadMs / threadShareMax, tookMs / timeShareMax);
  const autoMs = Math.max(Math.min(autoMaxMs, pacedMs), tookMs / slowShareMax);
  const wantedMs = checkpointMs === "auto" ? autoMs : checkpointMs;
  return isLarge ? Math.max(wantedMs, tookMs / largeShareMax) : wantedMs;
}

/** About how large the file gets: jobs and error texts are all that grows. */
function byteLength(state: RunState): number {
  let bytes = 0;
  for (const { span, history } of state.stranded) {
    bytes += span.byteLength;
    for (const { message, stack } of history.attempts) bytes += message.length + stack.length;
  }
  return bytes;
}

function asIs(error: unknown): unknown {
  return error ?? new Error("the save failed without a reason");
}

function pause(ms: number, hurry: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    hurry.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

type PersistenceOptions = Readonly<{
  store: Pick<StateStore, "save" | "bury">;
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

/** All that a master writes: checkpoints and dead letters. The store makes each one write at a time. */
export class Persistence {
  readonly #checkpoints: Checkpoints;
  readonly #writer: DeadLetterWriter;

  constructor({ store, onLost, onNoRoom, onBuried, wakeBy, log, ...parts }: PersistenceOptions) {
    const onFinal = (error: unknown) =>
      error instanceof NoRoomError ? onNoRoom(error.message) : onLost(error);
    const shared = { onFinal, wakeBy, nowMs: monotonicMs, log };
    this.#writer = new DeadLetterWriter({ ...shared, write: (letters) => store.bury(letters), onBuried });
    this.#checkpoints = new Checkpoints({ ...shared, ...parts, save: (state) => store.save(state) });
  }

  bury(letters: readonly DeadLetter[]): void {
    this.#writer.bury(letters);
  }

  /** @throws {StateError} if it cannot be saved. */
  async saveFirst(): Promise<void> {
    await this.#checkpoints.saveFirst().catch((error: unknown) => {
      if (!(error instanceof SaveError)) throw error;
      const advice = "Nothing was handed out. Look at that disk, or name another folder with --state-dir.";
      throw new StateError(`Cannot save the state: ${whyOf(error)}. ${advice}`, { cause: error });
    });
  }

  /** Saves what is in memory now. @throws {Error} if it cannot be saved: it is tried again all the same. */
  saveNow(): Promise<{ tookMs: number }> {
    return this.#checkpoints.saveNow();
  }

  /** Null once what is in memory is durable; else the error. */
  async saveLast(hurry: AbortSignal): Promise<unknown> {
    await this.#writer.close();
    return await this.#checkpoints.saveLast(hurry);
  }

  /** Starts a checkpoint if one is due; after each turn. Returns when to wake next. */
  tickCheckpoints(nowMs: number): number {
    return this.#checkpoints.tick(nowMs);
  }

  tick(nowMs: number): number {
    return Math.min(this.#writer.tick(nowMs), this.#checkpoints.tick(nowMs));
  }

  /** No more checkpoints; `close` ends the rest. */
  stopCheckpoints(): void {
    this.#checkpoints.close();
  }

  /** Starts no write any more; resolves when no letters are being written. The store waits for what is being saved. */
  async close(): Promise<void> {
    this.#checkpoints.close();
    await this.#writer.close();
  }
}
