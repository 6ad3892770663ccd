import { closeSync, writeSync } from "node:fs";
import { isThere, openOwnFile, type OwnFile } from "../base/own_file.ts";
import { noteOffset } from "../base/start_note.ts";

/** The file of a worker's notes. What was written outlives the process, whatever ends it. */
export interface NoteFile {
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

/** Memory that is the file: a note is some stores, the last of which makes it count. */
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
    // Not a plain store: no compiler may put it before the others.
    Atomics.store(this.#which, 0, next);
  }
}

/** A write for each note, always the first one of the file. */
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
