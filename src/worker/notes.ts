import { closeSync, writeSync } from "node:fs";
import { isThere, openOwnFile, type OwnFile } from "../lib/own_file.ts";
import type { Ranges } from "../lib/ranges.ts";
import { watchSlots } from "../lib/watchdog.ts";
import {
  headOffset,
  headSlots,
  noteFileBytes,
  placeBytes,
  placesMax,
  placesOffset,
} from "../lib/worker_start.ts";

/** Writes down what may be running, before it begins. */
export interface Notes {
  readonly isExact: boolean;
  coveredTo(next: number): number;
  cover(next: number, callEnd: number, end: number, nowMs: number): void;
  hold(from: number, to: number): number;
  free(place: number): void;
  rest(nowMs: number): void;
  settle(nowMs: number): void;
  nameOnly(jobs: Ranges): void;
}

/** The file of a worker's notes. What was written outlives the process, whatever ends it. */
interface NoteFile {
  /** The whole file, as it is or will be. */
  readonly bytes: Uint8Array;
  /** Brings what was stored before byte `end` into the file. */
  flush(end: number): void;
}

/** The file must have its whole length. @throws {Error} if it cannot be opened, or another one is in its place. */
function openNoteFile(file: OwnFile): NoteFile {
  const fd = openOwnFile(file);
  const bytes = mapped(file, fd);
  if (bytes === null) return new WrittenFile(fd);
  closeSync(fd);
  return { bytes, flush: () => {} };
}

/** The system copies that much of a write at once, or nothing of it. */
const pageBytes = 4_096;

/** A file that is written once for each note. */
class WrittenFile implements NoteFile {
  readonly bytes = new Uint8Array(noteFileBytes);
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The head last: until it is written the one before covers what the places may lack. */
  flush(end: number): void {
    if (end > pageBytes) writeSync(this.#fd, this.bytes, placesOffset, end - placesOffset, placesOffset);
    writeSync(this.#fd, this.bytes, 0, Math.min(end, pageBytes), 0);
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

/** The places of a note file: each holds the jobs of one call that goes on. */
class Places {
  /** Places that were ever taken. */
  used = 0;
  readonly #seqs: Float64Array;
  readonly #counts: Int32Array;
  readonly #free: number[] = [];

  constructor({ buffer, byteOffset }: Uint8Array) {
    this.#seqs = new Float64Array(buffer, byteOffset + placesOffset, placesMax * placeBytes / 8);
    this.#counts = new Int32Array(buffer, byteOffset + placesOffset, placesMax * placeBytes / 4);
  }

  /** Returns the place; -1 if none is free. */
  take(from: number, to: number): number {
    const place = this.#free.pop() ?? this.used;
    if (place === placesMax) return -1;
    if (place === this.used) this.used++;
    this.#seqs[place * 2] = from;
    // Atomic, since a compiler may move a plain store before that of the seq.
    Atomics.store(this.#counts, place * 4 + 2, to - from);
    return place;
  }

  free(place: number): void {
    Atomics.store(this.#counts, place * 4 + 2, 0);
    this.#free.push(place);
  }

  /** From now on only places are taken that never were before. */
  close(): void {
    this.#free.length = 0;
  }
}

/**
 * Writes down which jobs may be running, before they begin: synchronously, so that it outlives any death of this
 * process. A note a job would cost more than a small job, so a note looks ahead, as far as jobs begin within some
 * 200 microseconds; jobs slower than that get a note each. Calls that go on are held in places of their own, which the
 * notes to come leave as they are.
 */
export class StartNotes implements Notes {
  readonly #file: NoteFile;
  readonly #which: Int32Array;
  readonly #heads: readonly Float64Array[];
  readonly #places: Places;
  readonly #watch: Float64Array;
  #number = 0;
  #aheadFrom = 0;
  #aheadTo = 0;
  #notedAtMs = 0;
  /** Calls that go on and found no place, and which jobs theirs are at most. */
  #crowd = 0;
  #crowdFrom = Infinity;
  #crowdTo = 0;
  /**
   * When the worker first ran out of jobs after the latest note, in milliseconds; before `#notedAtMs` if it did not.
   */
  #restedAtMs = -Infinity;

  /** @param watch Numbers shared with the watchdog, see `watchSlots`. */
  constructor(file: OwnFile, watch: Float64Array) {
    this.#file = openNoteFile(file);
    const { buffer, byteOffset } = this.#file.bytes;
    const numbers = Object.keys(headSlots).length;
    this.#which = new Int32Array(buffer, byteOffset, 1);
    this.#heads = [0, 1].map((which) => new Float64Array(buffer, byteOffset + headOffset(which), numbers));
    this.#places = new Places(this.#file.bytes);
    this.#watch = watch;
  }

  /** Whether the latest note names exactly the running jobs, and none ahead. */
  get isExact(): boolean {
    return this.#aheadFrom === this.#aheadTo;
  }

  /** One past the last job that may begin without another note, if `next` may. */
  coveredTo(next: number): number {
    return next >= this.#aheadFrom && next < this.#aheadTo ? this.#aheadTo : next;
  }

  /**
   * Covers jobs from `next`: those up to `callEnd`, which begin together, and as many more as seem right, at most up to
   * `end`. Call when those of the next call are not covered.
   */
  cover(next: number, callEnd: number, end: number, nowMs: number): void {
    const announced = this.#aheadTo - this.#aheadFrom;
    const untilMs = this.#restedAtMs > this.#notedAtMs ? this.#restedAtMs : nowMs;
    const tookMs = Math.max(untilMs - this.#notedAtMs, 0.001);
    const fitting = Math.floor(announced / tookMs * noteMs);
    const ahead = Math.max(1, Math.min(fitting, announced * growth, aheadMax));
    this.#write(next, Math.max(callEnd, Math.min(next + ahead, end)), nowMs);
  }

  /**
   * A call goes on whose jobs the latest note covers: they are named until `free` is called with what this returns.
   */
  hold(from: number, to: number): number {
    const place = this.#places.take(from, to);
    if (place < 0) {
      this.#crowd++;
      this.#crowdFrom = Math.min(this.#crowdFrom, from);
      this.#crowdTo = Math.max(this.#crowdTo, to);
    }
    return place;
  }

  /** The call that is held there has ended. */
  free(place: number): void {
    if (place >= 0) return this.#places.free(place);
    if (--this.#crowd === 0) this.#clearCrowd();
  }

  /** Nothing is left to run, so the time until the next note says nothing about jobs. */
  rest(nowMs: number): void {
    if (this.#restedAtMs <= this.#notedAtMs) this.#restedAtMs = nowMs;
  }

  /** Notes exactly the running jobs. No job may begin before the next note. */
  settle(nowMs: number): void {
    this.#write(this.#aheadTo, this.#aheadTo, nowMs);
  }

  /** Names these jobs and no others, as this process ends. */
  nameOnly(jobs: Ranges): void {
    const placesFrom = this.#places.used;
    this.#places.close();
    this.#clearCrowd();
    for (let at = 0; at < jobs.length; at += 2) this.hold(jobs[at]!, jobs[at + 1]!);
    this.#write(this.#aheadTo, this.#aheadTo, this.#notedAtMs, placesFrom);
  }

  #clearCrowd(): void {
    this.#crowd = 0;
    this.#crowdFrom = Infinity;
    this.#crowdTo = 0;
  }

  #write(from: number, to: number, nowMs: number, placesFrom = 0): void {
    this.#number++;
    this.#watch[watchSlots.note] = this.#number;
    this.#watch[watchSlots.recorded] = 0;
    this.#aheadFrom = from;
    this.#aheadTo = to;
    this.#notedAtMs = nowMs;
    const which = 1 - this.#which[0]!;
    const head = this.#heads[which]!;
    const placesTo = this.#places.used;
    head[headSlots.number] = this.#number;
    head[headSlots.aheadFrom] = from;
    head[headSlots.aheadTo] = to;
    head[headSlots.crowdFrom] = Math.min(this.#crowdFrom, this.#crowdTo);
    head[headSlots.crowdTo] = this.#crowdTo;
    head[headSlots.placesFrom] = placesFrom;
    head[headSlots.placesTo] = placesTo;
    // Atomic, since a compiler may move a plain store before those of the head.
    Atomics.store(this.#which, 0, which);
    this.#file.flush(placesOffset + placesTo * placeBytes);
  }
}

/** Where no file can be written: if the worker dies, all its jobs are suspects. */
export const noNotes: Notes = {
  isExact: true,
  coveredTo: () => Infinity,
  cover: () => {},
  hold: () => 0,
  free: () => {},
  rest: () => {},
  settle: () => {},
  nameOnly: () => {},
};
