import { clearTimeout, setTimeout } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { whyOf } from "../base/printable.ts";
import type { RunState } from "../core/types.ts";

/** A state above this is saved less often than asked for: at most a tenth of the time goes into saving. */
const largeStateBytes = 8 << 20;
const largeShareMax = 0.1;
/**
 * What `auto` keeps to: the share of this thread that goes into saving, and of the time, so that a slow disk is not kept
 * busy, nor a core that workers need; and the interval in ms. How long a save takes is not all the disk's doing: its dozen calls wait for their turn
 * on a busy thread.
 */
const threadShareMax = 0.02;
const timeShareMax = 0.05;
/** The share of the time where a save takes so long that it would be under way all the time. */
const slowShareMax = 0.5;
const autoMinMs = 50;
const autoMaxMs = 1_000;
/**
 * What is not measured of a save: its calls to the system, and what it leaves to be collected, about as much as what
 * is measured; and a message to each slave.
 */
const callsMs = 0.25;
const leftTimes = 2;
const messageMs = 0.02;
/** How often the last save of all is tried, and how long it waits in between. */
const finalTries = 3;
const finalPauseMs = 300;

export type CheckpointsOptions = Readonly<{
  /** Null if there is none to be had any more. */
  capture: () => { version: number; state: RunState } | null;
  isDirty: () => boolean;
  /** Resolves when the state is durable, with how long this thread was held for it, in ms. */
  save: (state: RunState) => Promise<number>;
  /** Returns to how many slaves a message goes. */
  onSaved: (version: number, tookMs: number) => number;
  /** Whether a failed save ends this master (another one took the run over) instead of being tried again. */
  isFinal: (error: unknown) => boolean;
  onFinal: (error: unknown) => void;
  checkpointMs: number | "auto";
  wakeBy: (atMs: number) => void;
  nowMs: () => number;
  log: Log;
}>;

/**
 * Saves the state: one save at a time, every `checkpointMs` while it has changed. A failed save warns and is tried
 * again; the run goes on meanwhile, and the last good file stays.
 *
 * `auto`: as often as it costs little. Between 50 ms and 1 s after the beginning of the last save, such that saving takes
 * at most 2 % of this thread, and a save is under way at most a twentieth of the time; half of it where one takes longer
 * than a quarter of a second.
 *
 *            tick, due and dirty            saved, failed
 *     IDLE ----------------------> SAVING ----------------> IDLE
 *       '------------------------------ close ------------------> CLOSED (only `saveLast` saves from then on)
 */
export class Checkpoints {
  readonly #options: CheckpointsOptions;
  #saving: Promise<unknown> | null = null;
  #dueAtMs = -Infinity;
  #isClosed = false;
  #failures = 0;

  constructor(options: CheckpointsOptions) {
    this.#options = options;
  }

  /** Starts a save if one is due. Returns when to wake next. */
  tick(nowMs: number): number {
    if (this.#isClosed || this.#saving !== null || !this.#options.isDirty()) return Infinity;
    if (nowMs < this.#dueAtMs) return this.#dueAtMs;
    this.#saving = this.#saveOnce().finally(() => {
      this.#saving = null;
      this.#options.wakeBy(this.#dueAtMs);
    });
    return Infinity;
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
    await this.#saving;
    for (let tries = 1;; tries++) {
      const error = await this.#save().then(() => null, asIs);
      if (error === null || tries === finalTries || hurry.aborted || this.#options.isFinal(error)) {
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

  /** Resolves when no save is under way. */
  async idle(): Promise<void> {
    await this.#saving;
  }

  async #saveOnce(): Promise<void> {
    try {
      await this.#save();
      this.#failures = 0;
    } catch (error) {
      this.#failed(error);
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
    const { isFinal, onFinal, log } = this.#options;
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
