import { readSync } from "node:fs";
import type { LogSettings } from "./log.ts";
import type { OwnFile } from "./own_file.ts";
import { type Ranges, rangesOfSpans, type Span } from "./ranges.ts";

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
 * worker died. The file, in native byte order:
 *
 * | where | what |
 * | --- | --- |
 * | 0 | int32: which of the two heads is valid. So a head is never half written, if the file is mapped into memory |
 * | `headOffset(0)`, `headOffset(1)` | a head: the float64 numbers of `headSlots` |
 * | `placesOffset` | a table of `placesMax` places, each for one call that waits for a promise |
 * | `recordOffset` | float64 `number, seq`, by the watchdog thread: in note `number` the call of job `seq` hung |
 *
 * A place is a float64, the seq of the call's first job, and an int32, the number of its jobs: 0 if the place is free.
 * It is taken once the call has returned, while the head still covers its jobs, and freed as the call ends. So whatever
 * waits costs nothing at the next note, and nobody is named who has ended.
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

/** Numbers of a head. */
export const headSlots = {
  /** Counts up from one note to the next. */
  number: 0,
  /** Jobs from `aheadFrom` up to `aheadTo` may begin without another note. */
  aheadFrom: 1,
  aheadTo: 2,
  /** Of calls that found no free place, any of these jobs may run. */
  crowdFrom: 3,
  crowdTo: 4,
  /** Only these places count. */
  placesFrom: 5,
  placesTo: 6,
} as const;

const headNumbers = Object.keys(headSlots).length;
/** Most calls that are named one by one; of more than these the whole range is named, which only adds suspects. */
export const placesMax = 16_384;
/** Bytes of a place: a float64, an int32, and four bytes that align the next. */
export const placeBytes = 16;
export const placesOffset = headOffset(2);
/** Byte offset of the watchdog's record. */
export const recordOffset = placesOffset + placesMax * placeBytes;
/** Length of the whole file in bytes. */
export const noteFileBytes = recordOffset + 16;

/** Byte offset of a head (0 or 1). */
export function headOffset(which: number): number {
  return (1 + which * headNumbers) * 8;
}

/**
 * Reads a note file, by a function that reads some bytes of it; null if nothing was noted yet, or if the content is
 * invalid, since handlers can write to it.
 */
export function readNote(read: (offset: number, length: number) => Uint8Array): StartNote | null {
  const { buffer } = read(0, placesOffset);
  const [which = 0] = new Int32Array(buffer, 0, 1);
  if (which !== 0 && which !== 1) return null;
  const head = new Float64Array(buffer, headOffset(which), headNumbers);
  const [number = 0, aheadFrom = 0, aheadTo = 0, crowdFrom = 0, crowdTo = 0, from = 0, to = 0] = head;
  const isValid = number > 0 && head.every(isSeq) && aheadFrom <= aheadTo && crowdFrom <= crowdTo &&
    from <= to &&
    to <= placesMax;
  if (!isValid) return null;
  const calls = readPlaces(read(placesOffset + from * placeBytes, (to - from) * placeBytes));
  if (calls === null) return null;
  if (crowdFrom < crowdTo) calls.push({ from: crowdFrom, to: crowdTo });
  const record = read(recordOffset, 16);
  const [recorded, onStack = 0] = new Float64Array(record.buffer, 0, 2);
  return {
    number,
    running: rangesOfSpans(calls),
    ahead: [aheadFrom, aheadTo],
    onStack: recorded === number && isSeq(onStack) ? onStack : null,
  };
}

/** The jobs of the calls in these places; null if what is there cannot be. */
function readPlaces({ buffer, byteLength }: Uint8Array): Span[] | null {
  const seqs = new Float64Array(buffer);
  const counts = new Int32Array(buffer);
  const calls: Span[] = [];
  for (let place = 0; place < byteLength / placeBytes; place++) {
    const from = seqs[place * 2]!;
    const count = counts[place * 4 + 2]!;
    if (count < 0 || !isSeq(from)) return null;
    if (count > 0) calls.push({ from, to: from + count });
  }
  return calls;
}

function isSeq(number: number): boolean {
  return Number.isSafeInteger(number) && number >= 0;
}
