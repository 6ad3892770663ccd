import { readSync } from "node:fs";
import type { LogSettings } from "./log.ts";
import type { OwnFile } from "./own_file.ts";
import type { Ranges } from "./ranges.ts";

/**
 * What a supervisor tells a worker at its start, over standard input. Not through the environment: that is visible in
 * `/proc`, and a program that a handler starts by `Bun.spawn` without `env` inherits the environment of the start,
 * whatever was removed since.
 */
export type WorkerStart = Readonly<{
  /** The socket to connect to. */
  address: string;
  /** Its number among the workers of its supervisor. */
  worker: number;
  /** Known only to the worker and its supervisor: each proves to the other that it knows it. */
  secret: Uint8Array;
  /** The socket as a file in `folder`; null if it is not a file. */
  socket: OwnFile | null;
  /** The supervisor's folder, removed when the supervisor is gone; null if there is none. */
  folder: OwnFile | null;
  /** File for start notes; null if there is none. */
  note: OwnFile | null;
  /** File for what could not be reported before an exit; null if there is none. */
  last: OwnFile | null;
  /** Null: the worker's own default. */
  log: LogSettings | null;
}>;

/** Longest valid start message. */
const startBytesMax = 65_536;
/** How often a worker polls for its start message, on systems where reading does not wait. */
const waitTries = 3_000;
const waitMs = 10;

/**
 * Exit code of a worker that lost its connection to the supervisor. Only a handler or a rejected frame can cause that.
 */
export const cutOffExitCode = 71;
/** Exit code of a worker after something threw outside of any job. It reports what, if it still can. */
export const brokenExitCode = 70;

/** Encodes a start message as one line of text. */
export function encodeStart(start: WorkerStart): string {
  return `${JSON.stringify({ ...start, secret: Buffer.from(start.secret).toString("base64url") })}\n`;
}

/**
 * Reads the start message, before anything of a plugin is loaded. Later readers of standard input find its end.
 *
 * @throws {Error} if no supervisor started this process.
 */
export function takeStart(): WorkerStart {
  const start = parseStart(readLine());
  if (start === null) {
    throw new Error("Cannot run as a worker: only a slave starts workers. Use `taskmaster slave`.");
  }
  return start;
}

function parseStart(line: string): WorkerStart | null {
  try {
    const start = JSON.parse(line) as WorkerStart & { secret: string };
    const secret = new Uint8Array(Buffer.from(start.secret, "base64url"));
    return typeof start.address === "string" && secret.length >= 32 ? { ...start, secret } : null;
  } catch {
    return null;
  }
}

function readLine(): string {
  const bytes = Buffer.alloc(startBytesMax);
  let filled = 0;
  for (let tries = 0; filled < bytes.length && bytes[filled - 1] !== 10 && tries < waitTries;) {
    const count = readSome(bytes.subarray(filled));
    if (count === 0) break;
    filled += count ?? 0;
    if (count === null) tries++;
  }
  return bytes.toString("utf8", 0, filled);
}

/** Reads what is available; null, after a pause, if nothing is yet. */
function readSome(bytes: Uint8Array): number | null {
  try {
    return readSync(0, bytes);
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === "EOF") return 0;
    if (code !== "EAGAIN") throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, waitMs);
    return null;
  }
}

/**
 * A worker's note of the jobs that may be running: written before any of them begins, read by the supervisor after the
 * worker died. Its numbers (float64, native byte order):
 *
 *     number, aheadFrom, aheadTo, n, from 1, to 1, ... from n, to n
 *
 * The ranges are running for certain; jobs from `aheadFrom` up to `aheadTo` may begin without another note. The file
 * holds two notes, and begins with the index of the valid one (int32, 0 or 1): if the worker dies while it writes a
 * note in mapped memory, the previous one stays valid. At `recordOffset` the watchdog thread writes `number, seq`:
 * during note `number`, the call of job `seq` hung. A record with another number is outdated.
 */
export type StartNote = Readonly<{
  /** Counts up from one note to the next. */
  number: number;
  running: Ranges;
  /** Jobs that may have begun: `[from, to)`, in this order. */
  ahead: readonly [from: number, to: number];
  /** The job whose handler was on the stack for 100 ms or more; null if unknown. */
  onStack: number | null;
}>;

const headNumbers = 4;
/** Most ranges in a note; more are merged, which only adds suspects. */
const rangesMax = 4_000;
const noteNumbers = headNumbers + 2 * rangesMax;
/** Byte offset of the watchdog's record. */
export const recordOffset = noteOffset(2);
/** Length of the whole file in bytes. */
export const noteFileBytes = recordOffset + 16;

/** Byte offset of note `which` (0 or 1). */
export function noteOffset(which: number): number {
  return (1 + which * noteNumbers) * 8;
}

/** Encodes a note as numbers. */
export function layNote(number: number, running: Ranges, ahead: readonly [number, number]): Float64Array {
  const ranges = running.length > 2 * rangesMax ? [running[0]!, running[running.length - 1]!] : running;
  const numbers = new Float64Array(headNumbers + ranges.length);
  numbers[0] = number;
  numbers[1] = ahead[0];
  numbers[2] = ahead[1];
  numbers[3] = ranges.length / 2;
  numbers.set(ranges, headNumbers);
  return numbers;
}

/** Reads a note file; null if nothing was noted yet, or if the content is invalid, since handlers can write to it. */
export function readNote(file: Uint8Array): StartNote | null {
  if (file.byteLength < noteFileBytes) return null;
  const { buffer } = file.slice();
  const [which = 0] = new Int32Array(buffer, 0, 1);
  if (which !== 0 && which !== 1) return null;
  const note = new Float64Array(buffer, noteOffset(which), noteNumbers);
  const [number = 0, aheadFrom = 0, aheadTo = 0, count = 0] = note;
  if (number === 0 || !isWhole(count) || count > rangesMax) return null;
  const running = [...note.subarray(headNumbers, headNumbers + 2 * count)];
  if (!isAscending([aheadFrom, aheadTo], 0) || !isAscending(running, 1)) return null;
  const [recorded, onStack = 0] = new Float64Array(buffer, recordOffset, 2);
  return {
    number,
    running,
    ahead: [aheadFrom, aheadTo],
    onStack: recorded === number && isWhole(onStack) ? onStack : null,
  };
}

/** Whether these are seqs, each at least `step` larger than the previous one. */
function isAscending(numbers: readonly number[], step: number): boolean {
  return numbers.every((number, at) => isWhole(number) && (at === 0 || number >= numbers[at - 1]! + step));
}

function isWhole(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}
