import { closeSync, writeSync } from "node:fs";
import { isThere, openOwnFile, type OwnFile } from "../lib/own_file.ts";
import type { Ranges } from "../lib/ranges.ts";
import { watchSlots } from "../lib/watchdog.ts";
import { layNote, noteOffset } from "../lib/worker_start.ts";

/** Writes down what may be running, before it begins. */
export interface Notes {
  readonly isExact: boolean;
  coveredTo(next: number): number;
  cover(running: Ranges, next: number, callEnd: number, end: number, nowMs: number): void;
  rest(nowMs: number): void;
  settle(running: Ranges, nowMs: number): void;
}

/** The file of a worker's notes. What was written outlives the process, whatever ends it. */
interface NoteFile {
  write(note: Float64Array): void;
}

/** The file must have its whole length. @throws {Error} if it cannot be opened, or another one is in its place. */
export function openNoteFile(file: OwnFile): NoteFile {
  const fd = openOwnFile(file);
  const bytes = mapped(file, fd);
  if (bytes === null) return new WrittenFile(fd);
  closeSync(fd);
  return new MappedFile(bytes);
}

/**
 * A memory-mapped file with two places for notes. The last store of a note switches to its place, so no note is half
 * written.
 */
class MappedFile implements NoteFile {
  readonly #which: Int32Array;
  readonly #notes: readonly Float64Array[];

  constructor({ buffer, byteOffset }: Uint8Array) {
    this.#which = new Int32Array(buffer, byteOffset, 1);
    const length = (noteOffset(1) - noteOffset(0)) / 8;
    this.#notes = [0, 1].map((which) => new Float64Array(buffer, byteOffset + noteOffset(which), length));
  }

  write(note: Float64Array): void {
    const next = 1 - this.#which[0]!;
    this.#notes[next]!.set(note);
    // Atomic, since a compiler may move a plain store before those of the note.
    Atomics.store(this.#which, 0, next);
  }
}

/** A file that is written once for each note, always at the first of its two places. */
class WrittenFile implements NoteFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(note: Float64Array): void {
    writeSync(this.#fd, note, 0, note.byteLength, noteOffset(0));
  }
}

/**
 * The bytes of the file; null where they cannot be mapped: under Deno, Node, and on some file systems. A file is mapped by a
 * path: on Linux by that of the descriptor, which is no other file's.
 */
function mapped(file: OwnFile, fd: number): Uint8Array | null {
  const { Bun } = globalThis as { Bun?: { mmap(path: string, options: { shared: boolean }): Uint8Array } };
  const path = process.platform === "linux" ? `/proc/self/fd/${fd}` : file.path;
  try {
    const bytes = Bun?.mmap(path, { shared: true }) ?? null;
    return process.platform === "linux" || isThere(file) ? bytes : null;
  } catch {
    return null;
  }
}

/** Within this time all jobs that one note covers should begin. A note that is a write takes some 15 microseconds. */
const noteMs = 0.2;
/** Most jobs that one note covers ahead. */
const aheadMax = 4_096;
/** A note covers at most this many times as many jobs as the one before. */
const growth = 4;

/**
 * Writes down which jobs may be running, before they begin: synchronously, so that it outlives any death of this
 * process. A note a job would cost more than a small job, so a note looks ahead, as far as jobs begin within some
 * 200 microseconds; jobs slower than that get a note each.
 */
export class StartNotes implements Notes {
  readonly #file: NoteFile;
  readonly #watch: Float64Array;
  #number = 0;
  #aheadFrom = 0;
  #aheadTo = 0;
  #notedAtMs = 0;
  /**
   * When the worker first ran out of jobs after the latest note, in milliseconds; before `#notedAtMs` if it did not.
   */
  #restedAtMs = -Infinity;
  #isExact = true;

  /** @param watch Numbers shared with the watchdog, see `watchSlots`. */
  constructor(file: OwnFile, watch: Float64Array) {
    this.#file = openNoteFile(file);
    this.#watch = watch;
  }

  /** Whether the latest note names exactly the running jobs, and none ahead. */
  get isExact(): boolean {
    return this.#isExact;
  }

  /** One past the last job that may begin without another note, if `next` may. */
  coveredTo(next: number): number {
    return next >= this.#aheadFrom && next < this.#aheadTo ? this.#aheadTo : next;
  }

  /**
   * Covers jobs from `next`: those up to `callEnd`, which begin together, and as many more as seem right, at most up to
   * `end`. Call when those of the next call are not covered.
   */
  cover(running: Ranges, next: number, callEnd: number, end: number, nowMs: number): void {
    const announced = this.#aheadTo - this.#aheadFrom;
    const untilMs = this.#restedAtMs > this.#notedAtMs ? this.#restedAtMs : nowMs;
    const tookMs = Math.max(untilMs - this.#notedAtMs, 0.001);
    const fitting = Math.floor(announced / tookMs * noteMs);
    const ahead = Math.max(1, Math.min(fitting, announced * growth, aheadMax));
    this.#write(running, next, Math.max(callEnd, Math.min(next + ahead, end)), nowMs);
  }

  /** Nothing is left to run, so the time until the next note says nothing about jobs. */
  rest(nowMs: number): void {
    if (this.#restedAtMs <= this.#notedAtMs) this.#restedAtMs = nowMs;
  }

  /** Notes exactly the running jobs. No job may begin before the next note. */
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

/** Where no file can be written: if the worker dies, all its jobs are suspects. */
export const noNotes = {
  isExact: true,
  coveredTo: () => Infinity,
  cover: () => {},
  rest: () => {},
  settle: () => {},
};
