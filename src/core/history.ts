import { crashesMax, errorMessageCharsMax, jobErrorBytesMax, lostSessionsMax } from "../base/limits.ts";
import { cutToWritten, writtenBytes } from "../base/printable.ts";
import type { Alone, Attempt, History } from "./types.ts";

/** Of a job that nothing happened to yet. Shared by all fresh jobs. */
export const untried: History = {
  failures: 0,
  crashes: 0,
  crashesInCompany: 0,
  lostSessions: 0,
  attempts: [],
};

/** It threw or timed out (or was fatal): that is charged. */
export function failed(history: History, attempt: Attempt): History {
  return { ...history, failures: history.failures + 1, attempts: withAttempt(history.attempts, attempt) };
}

/** Its process died, and no other job can have done it. `inCompany` deaths before that are charged to it now, too. */
export function crashedAlone(history: History, attempt: Attempt, inCompany: number): History {
  return {
    ...history,
    crashes: history.crashes + inCompany + 1,
    crashesInCompany: 0,
    attempts: withAttempt(history.attempts, attempt),
  };
}

/** Its process died while others may have been running there: nobody is charged yet. */
export function crashedInCompany(history: History): History {
  return { ...history, crashesInCompany: history.crashesInCompany + 1 };
}

/** Its session was lost: nobody is charged, the job may never have started. */
export function lostWithSession(history: History): History {
  return { ...history, lostSessions: history.lostSessions + 1 };
}

/** Some of what it was charged for is taken back: that was not its doing. */
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

/** How the job must run next. */
export function aloneOf(history: History): Alone {
  if (history.lostSessions >= lostSessionsMax) return "in slave";
  return history.crashes + history.crashesInCompany > 0 ? "in worker" : "no";
}

/** Whether no attempt is left: the job is to be buried. */
export function isSpent(history: History, failuresMax: number): boolean {
  return history.failures >= failuresMax || history.crashes >= crashesMax ||
    history.attempts.at(-1)?.how === "fatal";
}

/** Number of the attempt that comes next, from 1. */
export function nextAttempt(history: History): number {
  return history.failures + history.crashes + 1;
}

/** Whether jobs of both may share a batch. */
export function isAlike(a: History, b: History): boolean {
  return a === b || (
    a.attempts.length === 0 && b.attempts.length === 0 && a.failures === b.failures &&
    a.crashes === b.crashes && a.crashesInCompany === b.crashesInCompany && a.lostSessions === b.lostSessions
  );
}

/** Memory of the error text, in bytes (two a character), which the buffer's cap counts. */
export function errorBytes(history: History): number {
  let bytes = 0;
  for (const attempt of history.attempts) bytes += attemptBytes(attempt);
  return bytes;
}

function attemptBytes(attempt: Attempt): number {
  return textBytes(attempt.message) + textBytes(attempt.stack) + textBytes(attempt.slave);
}

/** What a text takes: in memory two bytes a character, in a dead letter as many as it has there once it is escaped. */
function textBytes(text: string): number {
  return Math.max(2 * text.length, writtenBytes(text));
}

/** Drops the oldest attempts, and at last the end of the newest one's stack, to stay within the limit. */
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
