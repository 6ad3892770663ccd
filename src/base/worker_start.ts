import { readSync } from "node:fs";
import type { LogLevel } from "./log.ts";
import type { OwnFile } from "./own_file.ts";

/** How a worker is to log. */
export type WorkerLog = Readonly<{ level: LogLevel; format: "text" | "json" }>;

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
  log: WorkerLog | null;
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
