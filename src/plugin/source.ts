import type { RunEvent } from "../core/types.ts";
import { clearTimeout, setTimeout } from "../lib/clock.ts";
import { invariant } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { ArgValues } from "./types.ts";

/** The core's events that a source sends: a block of jobs, a row that cannot be sent, the end, a failure. */
export type SourceEvent = Extract<
  RunEvent,
  { kind: "yielded" | "unsendable" | "source ended" | "source failed" }
>;

/**
 * What a source needs of its master. None of these is called from inside `open`, `pull` or `close`, so each may call
 * any of the three.
 */
export type SourceNeeds = Readonly<{
  /** What `ctx.args` is. */
  args: ArgValues;
  log: Log;
  /** What may be yielded now; 0 jobs or 0 bytes pause the source until `pull`. Ask again after each block. */
  demand(): Readonly<{ jobs: number; bytes: number }>;
  /** The seq that the next job will get, for messages. */
  nextSeq(): number;
  /** Reports jobs and rows in order, then the end or a failure; nothing may follow that. */
  tell(event: SourceEvent): void;
}>;

/** One reading of a source, from its cursor to its end. */
export interface Reading {
  /** True once the reading ended, failed or was closed; it sends no more events. */
  readonly isOver: boolean;
  /** Counts how often somebody else (the plugin, a database) was asked for jobs; null while no answer is due. */
  readonly unanswered: number | null;
  /** The demand may have grown. Called often: must be cheap. */
  pull(): void;
  /** Aborts the reading; no event follows. Resolves when nothing of it runs any more, however long that takes. */
  close(): Promise<void>;
}

/**
 * Whatever yields blocks of encoded jobs to a master. `getJobs` of a plugin is one (see `IterableSource`). A source only
 * knows how to read; that there is one reading at a time, and how long a close may take, is up to the `SourceReader`.
 */
export interface JobSource {
  /** What messages call it, at the beginning of a sentence. */
  readonly name: string;
  /**
   * Begins to read. Sends no event before the next microtask.
   *
   * @param last The cursor to go on from, encoded; undefined on a fresh start.
   */
  read(last: Uint8Array | undefined, needs: SourceNeeds): Reading;
}

/** Longest `close` waits for the source, in milliseconds. */
const closeMsMax = 5_000;

/**
 * Reads the source of a master: one reading at a time, another one after an error.
 *
 *              open                  ended, failed
 *     CLOSED ---------> READING ---------------------> CLOSED
 *        ^                 |
 *        '----- close -----'
 *
 * CLOSED: nothing of the source runs, except a close that outlives its 5 s.
 * READING: jobs are yielded as `demand` allows.
 */
export class SourceReader {
  readonly #source: JobSource;
  readonly #needs: SourceNeeds;
  #reading: Reading | undefined = undefined;
  /** The latest reading that was closed. */
  #closed: Readonly<{ reading: Reading; over: Promise<void> }> | undefined = undefined;
  /** The unanswered question that was seen last, and when it was first seen. */
  #owed: number | null = null;
  #owedSinceMs = 0;

  constructor(source: JobSource, needs: SourceNeeds) {
    this.#source = source;
    this.#needs = needs;
  }

  get name(): string {
    return this.#source.name;
  }

  /** @param last An encoded cursor; undefined on a fresh start. */
  open(last: Uint8Array | undefined): void {
    invariant(this.#reading?.isOver ?? true, "Cannot open the source: it is being read");
    this.#owed = null;
    this.#reading = this.#source.read(last, this.#needs);
  }

  /** Says that demand may have grown. Cheap: call it as often as you like. */
  pull(): void {
    this.#reading?.pull();
  }

  /** Since when the source owes a job, accurate to the pause between two calls. Null if it owes none. */
  owedSince(nowMs: number): number | null {
    const owed = this.#reading?.isOver === false ? this.#reading.unanswered : null;
    if (owed !== this.#owed) {
      this.#owed = owed;
      this.#owedSinceMs = nowMs;
    }
    return owed === null ? null : this.#owedSinceMs;
  }

  /** Closes the reading, and waits for it at most 5 s. Afterwards nothing is told. Idempotent. */
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
    this.#needs.log(
      "warn",
      `${this.name} did not end within ${closeMsMax / 1_000} s of its signal and return(): it is left behind`,
    );
  }
}
