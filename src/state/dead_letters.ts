import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import type { Attempt, DeadLetter } from "../core/types.ts";
import { StateError } from "../lib/errors.ts";
import { jobJson } from "../lib/job_json.ts";
import type { Log } from "../lib/log.ts";
import { safeJson } from "../lib/text.ts";
import { formatSize } from "../lib/units.ts";
import { decode } from "../protocol/cbor.ts";
import { type Disk, errorCode, errorText, isRegular, NoRoomError, SaveError } from "./disk.ts";
import { linkError, openOwn, syncFolder } from "./read_state.ts";

/** Longest text of a job in a dead letter, for people, as it is written; its exact bytes stand beside it. */
const deadLetterShownBytes = 4 << 10;
/** Dead letters are written in groups of about this many bytes: one write each, bounded memory. */
const deadLetterGroupBytes = 8 << 20;
/** How much of the dead letters a start looks at: more than are written between two states. */
const lastLettersBytes = 64 << 20;

/**
 * A dead letter as one line of JSON, newline included, with `\u` escapes for what is unsafe to show. `time` is when it was buried, ISO 8601, UTC. A row that could
 * not be sent has no bytes: its cursor, and what is wrong with it where, stand in their place.
 */
export function deadLetterLine({ seq, job, history, row }: DeadLetter, time: string): string {
  const { failures, crashes, attempts } = history;
  const fields = { seq, time, failures, crashes, attempts: attempts.map(attemptFields) };
  if (job === null) {
    const head = safeJson(JSON.stringify({ ...fields, path: row.path, reason: row.reason }));
    return `${head.slice(0, -1)},"cursor":${shown(row.cursor)},"job":null,"cbor":null}\n`;
  }
  const head = safeJson(JSON.stringify(fields));
  return `${head.slice(0, -1)},"job":${shown(job)},"cbor":"${Buffer.from(job).toString("base64")}"}\n`;
}

/** A line that takes the letter of a job back, newline included. `time` as above. */
export function handledLine(seq: number, time: string): string {
  return `${JSON.stringify({ seq, handled: time })}\n`;
}

function attemptFields({ how, message, stack, slave, durationMs, at }: Attempt) {
  return { how, error: message, stack, slave, durationMs, at };
}

/** Never the reason that a letter cannot be buried: the exact bytes stand beside it. */
function shown(item: Uint8Array): string {
  try {
    return jobJson(decode(item), deadLetterShownBytes);
  } catch {
    return "null";
  }
}

const appendFlags = constants.O_RDWR | constants.O_APPEND | (constants.O_NOFOLLOW ?? 0) |
  (constants.O_NONBLOCK ?? 0);
const newline = 0x0a;

type DeadLetterFileOptions = Readonly<{
  disk: Disk;
  path: string;
  /** The folder it stands in. */
  dir: string;
  nowIso: () => string;
  /** No letter is appended that would make it longer. @default without a limit */
  bytesMax?: number | undefined;
  log: Log;
}>;

/** `<key>.dead.ndjson`: dead letters, a line each, appended in groups and synced. One append at a time. */
export class DeadLetterFile {
  readonly #options: DeadLetterFileOptions;

  constructor(options: DeadLetterFileOptions) {
    this.#options = options;
  }

  get path(): string {
    return this.#options.path;
  }

  /**
   * Proves that it can be opened to append to it, if it is there, before a letter needs it.
   *
   * @throws {StateError} if it cannot.
   */
  async check(): Promise<void> {
    try {
      await (await this.#open(appendFlags)).close();
    } catch (error) {
      if (errorCode(error) === "ENOENT") return;
      if (error instanceof StateError) throw error;
      throw new StateError(
        `Cannot write dead letters to "${this.path}": ${
          errorText(error)
        }. Make it writable, or move it away.`,
        { cause: error },
      );
    }
  }

  /**
   * Resolves when all of them are durable.
   *
   * @throws {SaveError} if not all were written; some may have been, and the last line of a seq counts.
   * @throws {NoRoomError} likewise, if they would be more than the file may hold.
   * @throws {StateError} if the file is a symbolic link, or no file.
   */
  async bury(letters: readonly DeadLetter[]): Promise<void> {
    if (letters.length > 0) await this.#append(letters, deadLetterLine, this.#options.bytesMax);
  }

  /**
   * Takes the letters of these jobs back: they are done after all. Resolves when that is durable.
   *
   * @throws as `bury`.
   */
  async takeBack(seqs: readonly number[]): Promise<void> {
    if (seqs.length > 0) await this.#append(seqs, handledLine);
  }

  async #append<T>(
    items: readonly T[],
    line: (item: T, time: string) => string,
    bytesMax = Infinity,
  ): Promise<void> {
    const { disk, path, dir, nowIso } = this.#options;
    const time = nowIso();
    try {
      const file = await this.#open(appendFlags | constants.O_CREAT);
      try {
        for (const group of groups(items, (item) => line(item, time))) {
          await this.#write(file, group, bytesMax);
        }
        await file.sync();
      } finally {
        await file.close();
      }
      await syncFolder(disk, dir);
    } catch (error) {
      if (error instanceof StateError || error instanceof NoRoomError) throw error;
      throw new SaveError(`writing "${path}" failed: ${errorText(error)}`, { cause: error });
    }
  }

  /** Opened anew each time, so that a file that was moved away or deleted is made again. */
  async #open(flags: number): Promise<FileHandle> {
    const { disk, path } = this.#options;
    if (!constants.O_NOFOLLOW && await isLink(disk, path)) throw linkError(path);
    const file = await disk.open(path, flags, 0o600).catch((error: unknown) => {
      throw errorCode(error) === "ELOOP" ? linkError(path) : error;
    });
    if (await isRegular(file)) return file;
    await file.close();
    throw new StateError(`Cannot write dead letters to "${path}": it is no file. Move it away.`);
  }

  /** One write. If it comes out short, nothing of it stays: no line is ever torn, nor run together with the next. */
  async #write(file: FileHandle, lines: Uint8Array, bytesMax: number): Promise<void> {
    const size = await this.#mend(file);
    if (size + lines.length > bytesMax) {
      throw new NoRoomError(
        `"${this.path}" has ${formatSize(size)}, ${formatSize(lines.length)} more were to be written, and ` +
          `${formatSize(bytesMax)} are allowed`,
      );
    }
    try {
      const { bytesWritten } = await file.write(lines);
      if (bytesWritten < lines.length) {
        throw new Error(`no space left: ${bytesWritten} of ${lines.length} bytes written`);
      }
    } catch (error) {
      // If this fails too, the next append mends it.
      await file.truncate(size).catch(() => {});
      throw error;
    }
  }

  /**
   * Ends the last line if a crash cut it off: a whole letter by its newline, anything else by taking it away. It was
   * never durable, so the state still carries its job. Returns the size.
   */
  async #mend(file: FileHandle): Promise<number> {
    const { size } = await file.stat();
    const tail = await lastLine(file, size);
    if (tail === null) {
      throw new StateError(
        `Cannot write dead letters to "${this.path}": its last line is longer than any letter. Move it away.`,
      );
    }
    if (tail.length === 0) return size;
    if (isJson(tail)) {
      await file.write(Uint8Array.of(newline));
      return size + 1;
    }
    this.#options.log(
      "warn",
      `The last line of "${this.path}" was cut off; its job is still in the state. Removing it`,
    );
    await file.truncate(size - tail.length);
    return size - tail.length;
  }
}

/** What stands behind the last newline, read backwards; null if that is longer than what is ever looked at. */
async function lastLine(file: FileHandle, size: number): Promise<Uint8Array | null> {
  for (let length = 1; length <= lastLettersBytes; length = Math.min(size, length * 4_096)) {
    const bytes = new Uint8Array(Math.min(size, length));
    await file.read(bytes, 0, bytes.length, size - bytes.length);
    const end = bytes.lastIndexOf(newline);
    if (end >= 0) return bytes.subarray(end + 1);
    if (length >= size) return bytes;
  }
  return null;
}

function isJson(line: Uint8Array): boolean {
  try {
    return JSON.parse(new TextDecoder().decode(line)) !== null;
  } catch {
    return false;
  }
}

/** Lines of about as many bytes as one write should have. */
function* groups<T>(items: readonly T[], line: (item: T) => string): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let text = "";
  for (const item of items) {
    text += line(item);
    if (text.length < deadLetterGroupBytes) continue;
    yield encoder.encode(text);
    text = "";
  }
  if (text !== "") yield encoder.encode(text);
}

async function isLink(disk: Disk, path: string): Promise<boolean> {
  return await disk.lstat(path).then((stat) => stat.isSymbolicLink(), () => false);
}

/**
 * The jobs of the dead letters appended last, by seq: those whose seq is wanted, null for a row that has no bytes. Of a long file only the end is read.
 *
 * @throws {StateError} if it is a symbolic link, no file, or not readable.
 */
export async function lastLetters(
  path: string,
  disk: Disk,
  isWanted: (seq: number) => boolean,
): Promise<Map<number, Uint8Array | null>> {
  const jobs = new Map<number, Uint8Array | null>();
  for await (const { read } of deadLetterLines(path, disk, lastLettersBytes)) {
    for (const line of read) {
      if (!isWanted(line.seq)) continue;
      if ("handled" in line) jobs.delete(line.seq);
      else jobs.set(line.seq, line.cbor);
    }
  }
  return jobs;
}

/** One attempt as a dead letter shows it. */
type DeadAttempt = Readonly<{
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
  /** Attempts whose worker process died. */
  crashes: number;
  attempts: readonly DeadAttempt[];
  /** The job as JSON for people, see `jobJson`. */
  job: unknown;
  /** The job's exact encoding; null for a row that could not be sent. */
  cbor: Uint8Array | null;
  /** What was wrong with that row, and where in it; and its cursor, for people as the job. */
  row?: Readonly<{ path: string; reason: string; cursor: unknown }>;
}>;

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

/**
 * The lines that end in a text. `begun` are the parts of the first of them that came before, and then those of the
 * next.
 */
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

/** One line, without its newline; null if it is no dead letter, nor takes one back. */
export function parseLine(text: string, from = 0, to = text.length): DeadLetterRecord | Handled | null {
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
  if (typeof cbor !== "string" || !/[\w+/-]{2}/.test(cbor)) return null;
  return {
    ...letter,
    // Decoded when it is asked for: of a million letters, those that are counted need it for none.
    get cbor() {
      return new Uint8Array(Buffer.from(cbor, "base64"));
    },
  };
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
