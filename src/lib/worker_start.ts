import { readSync } from "node:fs";
import type { LogSettings } from "./log.ts";
import type { OwnFile } from "./own_file.ts";
import type { Ranges } from "./ranges.ts";

/**
 * What a worker is told by its supervisor as it begins, over its standard input. Not by its environment: that is shown in
 * `/proc`, and a program that a handler starts by `Bun.spawn` without `env` begins with it, whatever was taken out since.
 */
export type WorkerStart = Readonly<{
  /** The socket to connect to. */
  address: string;
  /** Its number among the workers of its supervisor. */
  worker: number;
  /** Known to its supervisor and to it alone: each proves to the other that it knows it. */
  secret: Uint8Array;
  /** The socket as a file, in that folder; null if it is none. */
  socket: OwnFile | null;
  /** Of the supervisor, removed when that is gone; null if there is none. */
  folder: OwnFile | null;
  /** For start notes; null if there is none. */
  note: OwnFile | null;
  /** For what could not be said before an exit; null if there is none. */
  last: OwnFile | null;
  /** Null: as it does by itself. */
  log: LogSettings | null;
}>;

/** More is no start of a worker. */
const startBytesMax = 65_536;
/** How long a worker waits for its start, where the system does not wait for it. */
const waitTries = 3_000;
const waitMs = 10;

/** What a worker exits with whose connection to the supervisor is gone: only a handler, or a frame refused, ends it. */
export const cutOffExitCode = 71;
/** What it exits with when something threw outside of any job. It says what, if it still can. */
export const brokenExitCode = 70;

/** As text, which ends with its line. */
export function encodeStart(start: WorkerStart): string {
  return `${JSON.stringify({ ...start, secret: Buffer.from(start.secret).toString("base64url") })}\n`;
}

/**
 * Reads what the supervisor says, before anything of a plugin is loaded: who reads the standard input later finds its end.
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

/** Null if nothing has come yet, after a pause. */
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
 * A worker's note of the jobs that may be running: written before any of them begins, read by the supervisor once
 * the worker died. Numbers (float64, this machine's byte order):
 *
 *     number, aheadFrom, aheadTo, n, from 1, to 1, ... from n, to n
 *
 * The ranges run for certain; `aheadFrom` up to `aheadTo` may begin without another note. The file has room for two of
 * them, and begins with which one counts (an int32, 0 or 1): in mapped memory a death amid a note leaves the one before. At `recordOffset`
 * the watchdog thread puts `number, seq`: during note `number`, the call of job `seq` hangs. A record of another note is old.
 */
export type StartNote = Readonly<{
  /** Counts up. */
  number: number;
  running: Ranges;
  /** May have begun: `[from, to)`, in this order. */
  ahead: readonly [from: number, to: number];
  /** The job whose handler was on the stack for 100 ms or more; null if unknown. */
  onStack: number | null;
}>;

const headNumbers = 4;
/** Most ranges in a note; more are merged, which only adds suspects. */
const rangesMax = 4_000;
const noteNumbers = headNumbers + 2 * rangesMax;
/** Byte at which the watchdog's record lies. */
export const recordOffset = noteOffset(2);
/** Bytes of the whole file. */
export const noteFileBytes = recordOffset + 16;

/** Byte at which the note that counts when the file begins with `which` lies. */
export function noteOffset(which: number): number {
  return (1 + which * noteNumbers) * 8;
}

/** A note as numbers. */
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

/** Reads a note file; null if nothing was noted yet, or if it holds what no worker writes: handlers may reach it. */
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

/** Whether these are seqs, each larger than the one before by at least so much. */
function isAscending(numbers: readonly number[], step: number): boolean {
  return numbers.every((number, at) => isWhole(number) && (at === 0 || number >= numbers[at - 1]! + step));
}

function isWhole(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}
