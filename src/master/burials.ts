import type { Log } from "../base/log.ts";
import { whyOf } from "../base/printable.ts";
import { rangesOf } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import type { DeadLetter } from "../core/types.ts";

/** First pause after a write that failed; doubles. */
const retryMs = 1_000;
const retryMsMax = 30_000;

export type BurialsOptions = Readonly<{
  /** Resolves when these are durable. */
  write: (letters: readonly DeadLetter[]) => Promise<void>;
  onBuried: (letters: readonly DeadLetter[], seqs: Ranges) => void;
  /** The write failed in a way that ends this master, or null to try again. */
  isFinal: (error: unknown) => boolean;
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
export class Burials {
  readonly #options: BurialsOptions;
  #waiting: DeadLetter[] = [];
  #writing: Promise<void> | null = null;
  #failures = 0;
  #retryAtMs = -Infinity;
  #isClosed = false;

  constructor(options: BurialsOptions) {
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
    if (this.#options.isFinal(error)) {
      this.#isClosed = true;
      return this.#options.onFinal(error);
    }
    const pauseMs = Math.min(retryMsMax, retryMs * 2 ** this.#failures++);
    this.#retryAtMs = this.#options.nowMs() + pauseMs;
    this.#options.log(
      "warn",
      `Cannot write dead letters: ${whyOf(error)}. They stay in the state; trying again in ${
        pauseMs / 1000
      } s.`,
    );
  }
}
