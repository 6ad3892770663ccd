import type { FileHandle } from "node:fs/promises";
import { type Disk, nodeDisk } from "./disk.ts";
import { openOwn } from "./read_state_file.ts";

/** One attempt as a dead letter shows it. */
export type DeadAttempt = Readonly<{
  how: string;
  error: string;
  stack: string;
  slave: string;
  durationMs: number;
  /** ISO 8601, UTC. */
  at: string;
}>;

/** A dead letter as its line shows it. */
export type DeadLetterRecord = Readonly<{
  seq: number;
  /** When it was buried, ISO 8601, UTC. */
  time: string;
  /** Attempts that threw or timed out. */
  failures: number;
  /** Deaths of its process. */
  crashes: number;
  attempts: readonly DeadAttempt[];
  /** For people, see `jobJson`. */
  job: unknown;
  /** The job's exact encoding; null for a row that could not be sent. */
  cbor: Uint8Array | null;
  /** What was wrong with that row, and where in it; and its cursor, for people as the job. */
  row?: Readonly<{ path: string; reason: string; cursor: unknown }>;
}>;

export type DeadLetters = Readonly<{
  /** By seq; the last line of each counts, and those taken back are left out. */
  letters: readonly DeadLetterRecord[];
  /** Lines that are no dead letters: cut off by a crash, or not ours. */
  damagedLines: number;
}>;

/**
 * Reads `<key>.dead.ndjson`; empty if there is none. Holds them all in memory. Takes no lock: a master may append
 * meanwhile, and what it is just writing may be missing.
 *
 * @throws {StateError} if it is a symbolic link, no file, or not readable.
 */
export async function readDeadLetters(path: string, disk: Disk = nodeDisk): Promise<DeadLetters> {
  const letters = new Map<number, DeadLetterRecord>();
  let damagedLines = 0;
  for await (const { read, damaged } of deadLetterLines(path, disk)) {
    damagedLines += damaged;
    for (const line of read) {
      if ("handled" in line) letters.delete(line.seq);
      else letters.set(line.seq, line);
    }
  }
  return { letters: [...letters.values()].sort((a, b) => a.seq - b.seq), damagedLines };
}

/** Some lines of the file, in order. */
type Lines = Readonly<{ read: readonly (DeadLetterRecord | Handled)[]; damaged: number }>;

/**
 * The lines of the file in turn, some at once. If the file is longer than `bytesMax`, only its end is read: the first
 * line may be the rest of one, and damaged.
 */
export async function* deadLetterLines(path: string, disk: Disk, bytesMax = Infinity): AsyncGenerator<Lines> {
  const file = await openOwn(disk, path);
  if (file === null) return;
  try {
    const { size } = await file.stat();
    yield* linesOf(file, Math.max(0, size - bytesMax));
  } finally {
    await file.close();
  }
}

/** Split at newlines only: `readline` splits at U+2028 too, which may stand within a line. */
async function* linesOf(file: FileHandle, from: number): AsyncGenerator<Lines> {
  const chunk = new Uint8Array(64 << 10);
  const decoder = new TextDecoder();
  const begun: string[] = [];
  for (let position = from;;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    yield linesIn(decoder.decode(chunk.subarray(0, bytesRead), { stream: true }), begun);
  }
  const tail = begun.join("") + decoder.decode();
  if (tail !== "") yield linesIn(`${tail}\n`, []);
}

/** The lines that end in a text. `begun` are the parts of the first of them that came before, and then those of the next. */
function linesIn(text: string, begun: string[]): Lines {
  const read: (DeadLetterRecord | Handled)[] = [];
  let damaged = 0, from = 0;
  for (let to = text.indexOf("\n"); to >= 0; to = text.indexOf("\n", from)) {
    const line = begun.length > 0
      ? parseLine(begun.splice(0).join("") + text.slice(from, to))
      : parseLine(text, from, to);
    if (line === null) damaged++;
    else read.push(line);
    from = to + 1;
  }
  if (from < text.length) begun.push(text.slice(from));
  return { read, damaged };
}

/** How each line begins (see `deadLetterLine`, `handledLine`), and the least characters of one. */
const lineStart = '{"seq":', lineCharsMin = '{"seq":0,"handled":0}'.length;

type Handled = Readonly<{ seq: number; handled: unknown }>;

function parseLine(text: string, from = 0, to = text.length): DeadLetterRecord | Handled | null {
  // Not left to the parser: of a file that is nothing of ours, each line would cost an error.
  if (to - from < lineCharsMin || !text.startsWith(lineStart, from)) return null;
  try {
    const value = JSON.parse(text.slice(from, to));
    if (!Number.isSafeInteger(value.seq) || value.seq < 0) return null;
    return "handled" in value ? { seq: value.seq, handled: value.handled } : toRecord(value);
  } catch {
    return null;
  }
}

// deno-lint-ignore no-explicit-any
function toRecord(line: any): DeadLetterRecord | null {
  const { seq, time, failures, crashes, attempts, job, cbor, path, reason, cursor } = line;
  if (![failures, crashes].every(isCount) || typeof time !== "string") return null;
  if (!Array.isArray(attempts) || !attempts.every(isAttempt)) return null;
  const letter = { seq, time, failures, crashes, attempts, job };
  if (cbor === null) {
    const isRow = typeof path === "string" && typeof reason === "string" && cursor !== undefined;
    return isRow ? { ...letter, cbor, row: { path, reason, cursor } } : null;
  }
  if (typeof cbor !== "string") return null;
  const bytes = new Uint8Array(Buffer.from(cbor, "base64"));
  return bytes.length === 0 ? null : { ...letter, cbor: bytes };
}

// deno-lint-ignore no-explicit-any
function isAttempt(value: any): value is DeadAttempt {
  const { how, error, stack, slave, at, durationMs } = value ?? {};
  return [how, error, stack, slave, at].every((word) => typeof word === "string") &&
    Number.isFinite(durationMs);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
