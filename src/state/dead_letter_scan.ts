import type { FileHandle } from "node:fs/promises";
import { type DeadLetterRecord, parseLine } from "./dead_letters.ts";
import { type Disk, nodeDisk } from "./disk.ts";
import { openOwn } from "./read_state.ts";

/** How much is read at once. */
const chunkBytes = 128 << 10;
/** A longer line cannot be a letter and is not kept in memory: a job has at most 1 MiB, its text a few KiB. */
const lineBytesMax = 8 << 20;
/** Most damaged lines that are named. */
const namedMax = 10;
const newline = 0x0a;

/**
 * Reads `<key>.dead.ndjson` backwards, because the last line of a seq is the one that counts: each valid letter is
 * yielded once, the newest first. Memory is bounded, except for the set of seqs seen (about 8 bytes each, and half as
 * much again while a table grows). Takes no lock: lines that a master appends after the scan began are not read, and an
 * incomplete last line does not count as damaged.
 */
export class DeadLetterScan {
  readonly #path: string;
  readonly #disk: Disk;
  readonly #seen = new SeqSet();
  /** Lines so far, counted from the end. */
  #lines = 0;
  /** Numbers, counted from the end, of the damaged lines nearest to the beginning of the file. */
  #damaged: number[] = [];
  /** How many lines are neither a dead letter nor a line that takes one back. */
  damagedCount = 0;

  constructor(path: string, disk: Disk = nodeDisk) {
    this.#path = path;
    this.#disk = disk;
  }

  /** Line numbers, from 1, of the first damaged lines of the file. Valid once `letters` has ended. */
  get damagedLines(): readonly number[] {
    return this.#damaged.map((fromEnd) => this.#lines - fromEnd + 1).reverse();
  }

  /**
   * Yields the letters in groups; nothing if the file does not exist.
   *
   * @throws {StateError} if the path is a symbolic link or not a regular file, or if it cannot be read.
   */
  async *letters(): AsyncGenerator<readonly DeadLetterRecord[]> {
    const file = await openOwn(this.#disk, this.#path);
    if (file === null) return;
    try {
      const { size } = await file.stat();
      let isTail = true;
      for await (const lines of linesFromEnd(file, size)) {
        yield this.#read(lines, isTail);
        isTail = false;
      }
    } finally {
      await file.close();
    }
  }

  /** @param isTail whether these lines end the file: then the last one is empty, unless its newline is missing. */
  #read(lines: string | null, isTail: boolean): DeadLetterRecord[] {
    const letters: DeadLetterRecord[] = [];
    if (lines === null) this.#isDamaged(true);
    for (let to = lines?.length ?? -1; lines !== null && to >= 0;) {
      const from = to === 0 ? 0 : lines.lastIndexOf("\n", to - 1) + 1;
      const line = isTail && from === to ? null : parseLine(lines, from, to);
      if (!isTail || line !== null) this.#isDamaged(line === null);
      if (line !== null && this.#seen.add(line.seq) && !("handled" in line)) letters.push(line);
      isTail = false;
      to = from - 1;
    }
    return letters;
  }

  #isDamaged(isDamaged: boolean): void {
    this.#lines++;
    if (!isDamaged) return;
    this.damagedCount++;
    this.#damaged.push(this.#lines);
    if (this.#damaged.length > namedMax) this.#damaged.shift();
  }
}

/**
 * Yields the lines of a file from its end, as texts of one or more whole lines joined by newlines; null for a line that
 * is too long to be a letter.
 */
async function* linesFromEnd(file: FileHandle, size: number): AsyncGenerator<string | null> {
  const chunk = new Uint8Array(chunkBytes);
  const decoder = new TextDecoder();
  /** The parts of a line whose beginning was not read yet, in order. */
  let rest: Uint8Array[] = [], restBytes = 0;
  const take = (head: Uint8Array) => {
    const lines = restBytes > lineBytesMax
      ? null
      : decoder.decode(rest.length === 0 ? head : Buffer.concat([head, ...rest]));
    rest = [];
    restBytes = 0;
    return lines;
  };
  const keep = (part: Uint8Array) => {
    restBytes += part.length;
    if (restBytes <= lineBytesMax) rest.unshift(part.slice());
    else rest = [];
  };
  for (let position = size; position > 0;) {
    const length = Math.min(chunkBytes, position);
    position -= length;
    const bytes = chunk.subarray(0, await readAll(file, chunk, length, position));
    const first = bytes.indexOf(newline);
    if (first < 0) {
      keep(bytes);
      continue;
    }
    if (restBytes > lineBytesMax) {
      // The long line begins after the last newline of this chunk; the lines before it are whole.
      const last = bytes.lastIndexOf(newline);
      yield take(bytes);
      if (last > first) yield decoder.decode(bytes.subarray(first + 1, last));
    } else yield take(bytes.subarray(first + 1));
    keep(bytes.subarray(0, first));
  }
  if (size > 0) yield take(new Uint8Array(0));
}

/** Returns how many bytes were read: fewer than `length` only if the file became shorter meanwhile. */
async function readAll(
  file: FileHandle,
  into: Uint8Array,
  length: number,
  position: number,
): Promise<number> {
  let read = 0;
  while (read < length) {
    const { bytesRead } = await file.read(into, read, length - read, position + read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return read;
}

/** Seqs per table: a table stores seq + 1, so that each value fits into 32 bits and 0 means an empty place. */
const numbersOfTable = 2 ** 31;

/** A set of seqs; a million take 8 MiB. One open-addressed table per 2^31 seqs; most runs need only the first. */
class SeqSet {
  readonly #tables = new Map<number, { places: Uint32Array; count: number }>();

  /** Adds a seq. Returns false if the set already had it. */
  add(seq: number): boolean {
    const which = Math.floor(seq / numbersOfTable);
    let table = this.#tables.get(which);
    if (table === undefined) this.#tables.set(which, table = { places: new Uint32Array(256), count: 0 });
    if (!put(table.places, seq % numbersOfTable + 1)) return false;
    table.count++;
    if (table.count * 4 > table.places.length * 3) {
      const larger = new Uint32Array(table.places.length * 2);
      for (const value of table.places) if (value !== 0) put(larger, value);
      table.places = larger;
    }
    return true;
  }
}

function put(places: Uint32Array, value: number): boolean {
  const mask = places.length - 1;
  // The multiplier of Knuth's multiplicative hash; its upper bits are the good ones.
  let at = Math.imul(value, 0x9e37_79b1) >>> 8 & mask;
  while (places[at] !== 0) {
    if (places[at] === value) return false;
    at = (at + 1) & mask;
  }
  places[at] = value;
  return true;
}
