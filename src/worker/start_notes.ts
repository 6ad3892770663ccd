import { watchSlots } from "../base/watchdog.ts";
import { layNote } from "../base/start_note.ts";
import type { OwnFile } from "../base/own_file.ts";
import type { Ranges } from "../base/ranges.ts";
import { type NoteFile, openNoteFile } from "./note_file.ts";

/** How long what one note announces should take to begin: where a note is a write, it costs some 15 microseconds. */
const noteMs = 0.2;
/** Most jobs one note announces. */
const aheadMax = 4_096;
/** A note may announce at most this many times as many jobs as the one before. */
const growth = 4;

/**
 * Writes down which jobs may be running, before they begin: synchronously, so that it outlives any death of this
 * process. A note a job would cost more than a small job, so a note looks ahead, as far as jobs begin within some
 * 200 microseconds; jobs slower than that get a note each.
 */
export class StartNotes {
  readonly #file: NoteFile;
  readonly #watch: Float64Array;
  #number = 0;
  #aheadFrom = 0;
  #aheadTo = 0;
  #notedAtMs = 0;
  /** When there was nothing to run; before the latest note, if there was something ever since. */
  #restedAtMs = -Infinity;
  #isExact = true;

  /** @param watch Numbers shared with the watchdog, see `watchSlots`. */
  constructor(file: OwnFile, watch: Float64Array) {
    this.#file = openNoteFile(file);
    this.#watch = watch;
  }

  /** Whether the latest note names just what runs. */
  get isExact(): boolean {
    return this.#isExact;
  }

  /** One past the last job that may begin without another note, if `next` may. */
  coveredTo(next: number): number {
    return next >= this.#aheadFrom && next < this.#aheadTo ? this.#aheadTo : next;
  }

  /** Covers jobs from `next`, as many as seem right, at most up to `end`. Call when `next` is not covered. */
  cover(running: Ranges, next: number, end: number, nowMs: number): void {
    const announced = this.#aheadTo - this.#aheadFrom;
    const untilMs = this.#restedAtMs > this.#notedAtMs ? this.#restedAtMs : nowMs;
    const tookMs = Math.max(untilMs - this.#notedAtMs, 0.001);
    const fitting = Math.floor(announced / tookMs * noteMs);
    const ahead = Math.max(1, Math.min(fitting, announced * growth, aheadMax));
    this.#write(running, next, Math.min(next + ahead, end), nowMs);
  }

  /** Nothing is left to run, so the time until the next note says nothing about jobs. */
  rest(nowMs: number): void {
    if (this.#restedAtMs <= this.#notedAtMs) this.#restedAtMs = nowMs;
  }

  /** Names just what runs: nothing begins before the next note. */
  settle(running: Ranges, nowMs: number): void {
    this.#write(running, this.#aheadTo, this.#aheadTo, nowMs);
  }

  #write(running: Ranges, from: number, to: number, nowMs: number): void {
    this.#number++;
    this.#watch[watchSlots.note] = this.#number;
    this.#watch[watchSlots.recorded] = 0;
    this.#aheadFrom = from;
    this.#aheadTo = to;
    this.#notedAtMs = nowMs;
    this.#isExact = to === from;
    this.#file.write(layNote(this.#number, running, [from, to]));
  }
}

/** Where no file can be written: whoever dies here has all its jobs for suspects. */
export const noNotes = {
  isExact: true,
  coveredTo: () => Infinity,
  cover: () => {},
  rest: () => {},
  settle: () => {},
};
