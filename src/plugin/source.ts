import { clearTimeout, setTimeout } from "../lib/clock.ts";
import { invariant } from "../lib/errors.ts";
import { Reading, type SourceHooks, type SourceParts } from "./reading.ts";
import type { Plugin } from "./types.ts";

/** Longest `close` waits for the plugin, in milliseconds. */
const closeMsMax = 5_000;

/**
 * The running `getJobs` of a master. One at a time: `open` calls it, and again after an error.
 *
 *              open                  onEnd, onError
 *     CLOSED ---------> READING ---------------------> CLOSED
 *        ^                 |
 *        '----- close -----'
 *
 * CLOSED: nothing of the plugin runs, but for a `return()` that outlives its 5 s.
 * READING: `getJobs` was called; jobs are pulled as `demand` allows.
 */
export class Source {
  readonly #plugin: Plugin;
  readonly #parts: SourceParts;
  readonly #hooks: SourceHooks;
  #reading: Reading | undefined = undefined;
  /** The latest reading that was closed. */
  #closed: Readonly<{ reading: Reading; over: Promise<void> }> | undefined = undefined;
  /** What it owed an answer to when it was looked last, and since when it does as far as it was looked. */
  #owed: number | null = null;
  #owedSinceMs = 0;

  constructor(plugin: Plugin, parts: SourceParts, hooks: SourceHooks) {
    this.#plugin = plugin;
    this.#parts = parts;
    this.#hooks = hooks;
  }

  /**
   * Calls `getJobs`, in a later microtask.
   *
   * @param last An encoded cursor; undefined on a fresh start.
   */
  open(last: Uint8Array | undefined): void {
    invariant(this.#reading?.isOver ?? true, "Cannot open the source: it is being read");
    this.#owed = null;
    this.#reading = new Reading(this.#plugin, this.#parts, this.#hooks, last);
  }

  /** Says that demand may have grown. Cheap: call it as often as you like. */
  pull(): void {
    this.#reading?.pull();
  }

  /**
   * Since when the plugin owes a job, as far as it was looked: ask about once a second. Null if it owes none.
   */
  owedSince(nowMs: number): number | null {
    const owed = this.#reading?.unanswered ?? null;
    if (owed !== this.#owed) {
      this.#owed = owed;
      this.#owedSinceMs = nowMs;
    }
    return owed === null ? null : this.#owedSinceMs;
  }

  /**
   * Aborts the signal of `getJobs`, calls `return()` of its iterator once, and waits for both at most 5 s.
   * Afterwards no hook is called. Idempotent; what the plugin throws from now on is ignored.
   */
  close(): Promise<void> {
    const reading = this.#reading;
    if (reading === undefined) return Promise.resolve();
    if (this.#closed?.reading !== reading) this.#closed = { reading, over: this.#close(reading) };
    return this.#closed.over;
  }

  async #close(reading: Reading): Promise<void> {
    const over = reading.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<"late">((resolve) => timer = setTimeout(() => resolve("late"), closeMsMax));
    const ended = await Promise.race([over, late]);
    clearTimeout(timer);
    if (ended !== "late") return;
    const { log } = this.#hooks;
    log(
      "warn",
      `getJobs did not end within ${closeMsMax / 1_000} s of its signal and return(): it is left behind`,
    );
  }
}
