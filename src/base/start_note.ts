import type { Ranges } from "./ranges.ts";

/**
 * A worker's note of the jobs that may be running: written before any of them begins, read by the supervisor once
 * the worker died. Numbers (float64, this machine's byte order), at the beginning of a file:
 *
 *     number, aheadFrom, aheadTo, n, from 1, to 1, ... from n, to n
 *
 * The ranges run for certain; `aheadFrom` up to `aheadTo` may begin without another note. At `recordOffset` the
 * watchdog thread puts `number, seq`: during note `number`, the call of job `seq` hangs. A record of another note is old.
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
/** Byte at which the watchdog's record lies. */
export const recordOffset = (headNumbers + 2 * rangesMax) * 8;
/** Bytes of the whole file. */
export const noteFileBytes = recordOffset + 16;

/** The note as numbers to write at the beginning of the file. */
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

/** Reads a note file; null if nothing was noted yet. */
export function readNote(file: Uint8Array): StartNote | null {
  if (file.byteLength < headNumbers * 8) return null;
  const numbers = new Float64Array(file.slice(0, file.byteLength - file.byteLength % 8).buffer);
  const number = numbers[0]!;
  const count = numbers[3]!;
  if (number === 0 || count > rangesMax) return null;
  const record = recordOffset / 8;
  const isRecorded = numbers.length >= record + 2 && numbers[record] === number;
  return {
    number,
    running: [...numbers.subarray(headNumbers, headNumbers + 2 * count)],
    ahead: [numbers[1]!, numbers[2]!],
    onStack: isRecorded ? numbers[record + 1]! : null,
  };
}
