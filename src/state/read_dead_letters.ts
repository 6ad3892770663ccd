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
  /** The job's exact encoding. */
  cbor: Uint8Array;
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
  for await (const lines of deadLetterLines(path, disk)) {
    for (const line of lines) {
      if (line === null) damagedLines += 1;
      else if ("handled" in line) letters.delete(line.seq);
      else letters.set(line.seq, line);
    }
  }
  return { letters: [...letters.values()].sort((a, b) => a.seq - b.seq), damagedLines };
}

/**
 * The lines of the file in turn, some at once; null is one that is no dead letter. If the file is longer than `bytesMax`, only its
 * end is read: the first line may be the rest of one, and null.
 */
export async function* deadLetterLines(
  path: string,
  disk: Disk,
  bytesMax = Infinity,
): AsyncGenerator<readonly (DeadLetterRecord | Handled | null)[]> {
  const file = await openOwn(disk, path);
  if (file === null) return;
  try {
    const { size } = await file.stat();
    for await (const lines of linesOf(file, Math.max(0, size - bytesMax))) yield lines.map(parseLine);
  } finally {
    await file.close();
  }
}

/** Split at newlines only: `readline` splits at U+2028 too, which may stand within a line. */
async function* linesOf(file: FileHandle, from: number): AsyncGenerator<string[]> {
  const chunk = new Uint8Array(64 << 10);
  const decoder = new TextDecoder();
  let rest: string[] = [];
  for (let position = from;;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    const lines = decoder.decode(chunk.subarray(0, bytesRead), { stream: true }).split("\n");
    const last = lines.pop()!;
    if (lines.length > 0) {
      lines[0] = rest.join("") + lines[0];
      rest = [];
      yield lines;
    }
    rest.push(last);
  }
  const tail = rest.join("") + decoder.decode();
  if (tail !== "") yield [tail];
}

type Handled = Readonly<{ seq: number; handled: unknown }>;

function parseLine(line: string): DeadLetterRecord | Handled | null {
  // Not left to the parser: of a file that is nothing of ours, each line would cost an error.
  if (!line.startsWith("{")) return null;
  try {
    const value = JSON.parse(line);
    if (!Number.isSafeInteger(value.seq) || value.seq < 0) return null;
    return "handled" in value ? { seq: value.seq, handled: value.handled } : toRecord(value);
  } catch {
    return null;
  }
}

// deno-lint-ignore no-explicit-any
function toRecord({ seq, time, failures, crashes, attempts, job, cbor }: any): DeadLetterRecord | null {
  if (![failures, crashes].every(isCount) || typeof time !== "string" || typeof cbor !== "string") {
    return null;
  }
  if (!Array.isArray(attempts) || !attempts.every(isAttempt)) return null;
  const bytes = new Uint8Array(Buffer.from(cbor, "base64"));
  return bytes.length === 0 ? null : { seq, time, failures, crashes, attempts, job, cbor: bytes };
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
