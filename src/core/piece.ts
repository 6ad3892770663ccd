import { type Block, JobSpan, sizeOfBlock } from "../lib/bytes.ts";
import { crashesMax, errorMessageCharsMax, jobErrorBytesMax } from "../lib/limits.ts";
import type { Ranges } from "../lib/ranges.ts";
import { cutToWritten, printable, writtenBytes } from "../lib/text.ts";
import type { Alone, Attempt, History } from "./types.ts";
import type { LeaseName } from "../protocol/messages.ts";

/** A job runs alone in a slave once this many sessions were lost while it was in flight. */
export const lostSessionsMax = 2;

/** The first line of a message of several lines, with the second line if the first only introduces it. */
export function headline(message: string): string {
  const [first = "", second = ""] = message.split("\n").map((line) => line.trim()).filter((line) =>
    line !== ""
  );
  return first.endsWith(":") && second !== "" ? `${first} ${second}` : first;
}

/** `FILE:LINE:COLUMN` of the first stack frame in a message of several lines; empty if there is none. */
export function placeIn(message: string): string {
  for (const line of message.split("\n")) {
    const frame = /^\s*at (?:.*\()?(?:file:\/\/)?((?:\/|[A-Za-z]:[\\/]).*:\d+:\d+)\)?$/.exec(line);
    if (frame !== null) return frame[1]!;
  }
  return "";
}

/**
 * Where a programming error (`TypeError` and the like) was thrown, as ` (plugin.ts:12:7)`; empty for any other failure.
 */
export function placeOfFault({ message, stack }: Pick<Attempt, "message" | "stack">): string {
  if (!/^(?:Type|Reference|Range|Syntax)Error\b/.test(message)) return "";
  const [, place] = /\n\s*at (?!.*\b(?:node|bun|ext):).*?([^/\\(\s]+:\d+:\d+)\)?(?:\n|$)/.exec(stack) ?? [];
  return place === undefined ? "" : ` (${printable(place, 100)})`;
}

/** The history of a job that never ran. Shared by all fresh jobs. */
export const untried: History = {
  failures: 0,
  crashes: 0,
  crashesInCompany: 0,
  lostSessions: 0,
  attempts: [],
};

/** The attempt threw, timed out or was fatal: charged. */
export function failed(history: History, attempt: Attempt): History {
  return { ...history, failures: history.failures + 1, attempts: withAttempt(history.attempts, attempt) };
}

/**
 * Its process crashed, and no other job can have been the cause. `inCompany`: earlier multi-suspect crashes that are
 * charged to it now.
 */
export function crashedAlone(history: History, attempt: Attempt, inCompany: number): History {
  return {
    ...history,
    crashes: history.crashes + inCompany + 1,
    crashesInCompany: 0,
    attempts: withAttempt(history.attempts, attempt),
  };
}

/** Its process crashed while other jobs may have been running in it: not charged yet. */
export function crashedInCompany(history: History): History {
  return { ...history, crashesInCompany: history.crashesInCompany + 1 };
}

/** Its session was lost: not charged, because the job may never have started. */
export function lostWithSession(history: History): History {
  return { ...history, lostSessions: history.lostSessions + 1 };
}

/** Takes charges back that were not the job's fault. */
export function takenBack(history: History, failures: number, crashes: number): History {
  const left = {
    failures: Math.max(0, history.failures - failures),
    crashes: Math.max(0, history.crashes - crashes),
  };
  const isClear = left.failures + left.crashes === 0;
  return {
    ...history,
    ...left,
    attempts: isClear ? [] : history.attempts.slice(0, left.failures + left.crashes),
  };
}

/** How isolated the job must run next. */
export function aloneOf(history: History): Alone {
  if (history.lostSessions >= lostSessionsMax) return "in slave";
  return history.crashes + history.crashesInCompany > 0 ? "in worker" : "no";
}

/** Whether the job has no attempt left. */
export function isSpent(history: History, failuresMax: number): boolean {
  return history.failures >= failuresMax || history.crashes >= crashesMax ||
    history.attempts.at(-1)?.how === "fatal";
}

/** Number of the next attempt, from 1. */
export function nextAttempt(history: History): number {
  return history.failures + history.crashes + 1;
}

/** Whether jobs with these histories may share a batch. */
export function isAlike(a: History, b: History): boolean {
  return a === b || (
    a.attempts.length === 0 && b.attempts.length === 0 && a.failures === b.failures &&
    a.crashes === b.crashes && a.crashesInCompany === b.crashesInCompany && a.lostSessions === b.lostSessions
  );
}

/** Size of the error text in bytes, counted against the buffer's limit. */
export function errorBytes(history: History): number {
  let bytes = 0;
  for (const attempt of history.attempts) bytes += attemptBytes(attempt);
  return bytes;
}

function attemptBytes(attempt: Attempt): number {
  return textBytes(attempt.message) + textBytes(attempt.stack) + textBytes(attempt.slave);
}

/** The larger of a text's size in memory (two bytes a character) and in a dead letter (escaped), in bytes. */
function textBytes(text: string): number {
  return Math.max(2 * text.length, writtenBytes(text));
}

/** Drops the oldest attempts, then the end of the newest one's stack, to stay within `jobErrorBytesMax`. */
function withAttempt(attempts: readonly Attempt[], newest: Attempt): readonly Attempt[] {
  const kept = [shortened(newest)];
  let bytes = attemptBytes(kept[0]!);
  for (const attempt of attempts.toReversed()) {
    bytes += attemptBytes(attempt);
    if (bytes > jobErrorBytesMax) break;
    kept.unshift(attempt);
  }
  return kept;
}

function shortened(attempt: Attempt): Attempt {
  const message = cutToBytes(attempt.message.slice(0, errorMessageCharsMax), jobErrorBytesMax / 2);
  const slave = cutToBytes(attempt.slave.slice(0, errorMessageCharsMax), jobErrorBytesMax / 4);
  const room = jobErrorBytesMax - textBytes(message) - textBytes(slave);
  return { ...attempt, message, slave, stack: cutToBytes(attempt.stack, room) };
}

function cutToBytes(text: string, bytesMax: number): string {
  return cutToWritten(text.slice(0, bytesMax / 2), bytesMax);
}

/**
 * The lost lease that held the jobs last. Its slave may still hold or have finished them, and gets them back if it
 * names them before they are leased again. `before` is their history before the loss.
 */
type FormerLease = Readonly<{ name: LeaseName; slaveId: string; before: History }>;

/** Consecutive jobs of one block that share history, former lease and slave to avoid. */
export type Piece = Readonly<{
  span: JobSpan;
  history: History;
  holder: FormerLease | null;
  /**
   * The slave of the last failure, charged or not; until `untilMs` the job waits for another slave. Null: it has not
   * failed.
   */
  avoid: Readonly<{ slaveId: string; untilMs: number }> | null;
}>;

/** The jobs with `from <= seq < to`. */
function cutPiece(piece: Piece, from: number, to: number): Piece {
  const { span } = piece;
  return from === span.seq && to === span.end ? piece : { ...piece, span: span.cut(from, to) };
}

/** Splits pieces (ascending, disjoint) by whether `jobs` names them. Costs time per piece and range, not per job. */
export function divide(pieces: readonly Piece[], jobs: Ranges): { named: Piece[]; rest: Piece[] } {
  const named: Piece[] = [];
  const rest: Piece[] = [];
  let i = 0;
  for (const piece of pieces) {
    let from = piece.span.seq;
    const { end } = piece.span;
    while (i < jobs.length && jobs[i + 1]! <= from) i += 2;
    for (let k = i; k < jobs.length && jobs[k]! < end; k += 2) {
      if (jobs[k]! > from) rest.push(cutPiece(piece, from, jobs[k]!));
      const start = Math.max(from, jobs[k]!);
      from = Math.min(end, jobs[k + 1]!);
      named.push(cutPiece(piece, start, from));
    }
    if (from < end) rest.push(cutPiece(piece, from, end));
  }
  return { named, rest };
}

export function countJobs(pieces: Iterable<Piece>): number {
  let count = 0;
  for (const { span } of pieces) count += span.count;
  return count;
}

export function bySeq(a: Piece, b: Piece): number {
  return a.span.seq - b.span.seq;
}

/** The seqs of pieces (ascending, disjoint). */
export function seqsOf(pieces: Iterable<Piece>): Ranges {
  const ranges: number[] = [];
  for (const { span } of pieces) {
    if (ranges.length > 0 && ranges.at(-1) === span.seq) ranges[ranges.length - 1] = span.end;
    else ranges.push(span.seq, span.end);
  }
  return ranges;
}

/**
 * Counts the bytes of all unsettled jobs, and of the blocks that they keep in memory. A block is freed as a whole, so
 * one long job can keep many times its size in memory. Once more than half is waste, plus some slack so that the work
 * pays off, jobs are copied out of blocks that are mostly waste.
 */
export class BlockMemory {
  /** Encoded bytes of unsettled jobs and of their error text. */
  jobBytes = 0;
  /** Bytes of the blocks that those jobs keep in memory. */
  blockBytes = 0;
  readonly #slackBytes: number;
  /** Bytes of unsettled jobs, by block. */
  #live = new Map<Block, number>();

  constructor(bytesMax: number) {
    this.#slackBytes = Math.max(1 << 20, bytesMax / 4);
  }

  add(span: JobSpan): void {
    const { block, byteLength } = span;
    const live = this.#live.get(block);
    if (live === undefined) this.blockBytes += sizeOfBlock(block);
    this.#live.set(block, (live ?? 0) + byteLength);
    this.jobBytes += byteLength;
  }

  /** Call when the jobs are settled or were copied. */
  free(span: JobSpan): void {
    const { block, byteLength } = span;
    const live = this.#live.get(block)! - byteLength;
    this.jobBytes -= byteLength;
    if (live > 0) {
      this.#live.set(block, live);
      return;
    }
    this.#live.delete(block);
    this.blockBytes -= sizeOfBlock(block);
  }

  get isWasteful(): boolean {
    return this.blockBytes > 2 * this.jobBytes + this.#slackBytes;
  }

  /** The same piece, copied out of its block if that is mostly waste. */
  compact(piece: Piece): Piece {
    const { span } = piece;
    if (2 * this.#live.get(span.block)! >= sizeOfBlock(span.block)) return piece;
    const copy = copyOf(span);
    this.add(copy);
    this.free(span);
    return { ...piece, span: copy };
  }

  /** Adjusts the count of error text to a changed history. */
  recount(before: Piece, after: Piece): Piece {
    if (before.history !== after.history) {
      this.jobBytes += errorBytes(after.history) - errorBytes(before.history);
    }
    return after;
  }
}

/** Copies without cursors: jobs that were handed out need none. */
function copyOf(span: JobSpan): JobSpan {
  const start = span.from === 0 ? 0 : span.block.ends[span.from - 1]!;
  const ends = span.block.ends.slice(span.from, span.from + span.count).map((end) => end - start);
  return new JobSpan({ bytes: span.bytes.slice(), ends, cursors: null }, 0, span.count, span.seq);
}
