import { openSync, writeSync } from "node:fs";
import { noteOffset } from "../base/start_note.ts";

/** The file of a worker's notes. What was written outlives the process, whatever ends it. */
export interface NoteFile {
  write(note: Float64Array): void;
}

/** The file must have its whole length. @throws {Error} if it cannot be opened. */
export function openNoteFile(path: string): NoteFile {
  const bytes = mapped(path);
  return bytes === null ? new WrittenFile(path) : new MappedFile(bytes);
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

  constructor(path: string) {
    this.#fd = openSync(path, "r+");
  }

  write(note: Float64Array): void {
    writeSync(this.#fd, note, 0, note.byteLength, noteOffset(0));
  }
}

/** The bytes of the file; null where they cannot be mapped: under Deno, Node, and on some file systems. */
function mapped(path: string): Uint8Array | null {
  const { Bun } = globalThis as { Bun?: { mmap(path: string, options: { shared: boolean }): Uint8Array } };
  try {
    return Bun?.mmap(path, { shared: true }) ?? null;
  } catch {
    return null;
  }
}
