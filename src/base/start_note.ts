import type { Ranges } from "./ranges.ts";

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
