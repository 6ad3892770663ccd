import type { Block } from "../base/job_span.ts";
import { invariant } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { Reading } from "./reading.ts";
import type { Plugin } from "./types.ts";

/** Longest `close` waits for the plugin, in milliseconds. */
const closeMsMax = 5_000;

/**
 * What a source needs of its master. None is called from inside `open`, `pull` or `close`, so each may call
 * any of the three.
 */
export interface SourceHooks {
  /** What the source may yield now; 0 jobs or 0 bytes pause it until `pull`. Asked again after each block. */
  demand(): Readonly<{ jobs: number; bytes: number }>;
  onBlock(block: Block): void;
  /** The iterator ended; all its jobs were handed over. */
  onEnd(): void;
  /**
   * `getJobs` threw, or (fatal) yielded what cannot be sent, so that calling it again cannot help. Jobs before
   * it were handed over. `message` is a sentence, then the lines of the plugin's stack if there is one.
   */
  onError(error: Readonly<{ message: string; fatal: boolean }>): void;
  /** The seq that the next job handed over will get, for messages; without it jobs are counted from 0. */
  nextSeq?(): number;
  readonly log: Log;
}

/** What `ctx` of `getJobs` is made of, besides signal and log. */
export type SourceParts = Readonly<{ args: Readonly<Record<string, string>> }>;

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
    this.#reading = new Reading(this.#plugin, this.#parts, this.#hooks, last);
  }

  /** Says that demand may have grown. Cheap: call it as often as you like. */
  pull(): void {
    this.#reading?.pull();
  }

  /**
   * Aborts the signal of `getJobs`, calls `return()` of its iterator once, and waits for both at most 5 s.
   * Afterwards no hook is called. Idempotent; what the plugin throws from now on is ignored.
   */
  async close(): Promise<void> {
    const reading = this.#reading;
    if (reading === undefined) return;
    const over = reading.close();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, closeMsMax));
    await Promise.race([over, late]);
    clearTimeout(timer);
  }
}
