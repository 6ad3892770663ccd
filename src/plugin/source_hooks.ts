import type { Block, Unsendable } from "../base/job_span.ts";
import type { Log } from "../base/log.ts";

/**
 * What a source needs of its master. None is called from inside `open`, `pull` or `close`, so each may call
 * any of the three.
 */
export interface SourceHooks {
  /** What the source may yield now; 0 jobs or 0 bytes pause it until `pull`. Asked again after each block. */
  demand(): Readonly<{ jobs: number; bytes: number }>;
  /** @param moreAtHand Whether a limit ended the block, and not the source, which had more at hand. */
  onBlock(block: Block, moreAtHand: boolean): void;
  /** A row whose data cannot be sent, in its place among the jobs. */
  onRow(row: Unsendable): void;
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
