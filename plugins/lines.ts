/**
 * Runs over the lines of a text or NDJSON file of any size, and counts:
 *
 *     taskmaster run plugins/lines.ts file=access.log                  lines, words and characters
 *     taskmaster run plugins/lines.ts file=events.ndjson field=type    lines by their value of a field
 *
 * Each worker process logs what it counted when it ends. Lines appended later are the jobs of the next start.
 */
import { Buffer } from "node:buffer";
import { type FileHandle, open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Context, JobContext, SourceContext } from "../mod.ts";

/** `offset` is where the line begins in the file, in bytes; `line` is without its end of line. */
type Line = { offset: number; line: string };
type Counts = { lines: number; words: number; characters: number; values: Map<string, number> };

/** The most that a job may have. A line that is longer becomes a dead letter; the run goes on. */
const jobBytesMax = 1 << 20;
const newline = 10;
/** Most values of a field that one worker tells apart. */
const valuesMax = 10_000;

/**
 * All lines from byte `last` on, so `last` is read as inclusive: the line there comes again, and is dropped if it
 * is still the same. A start costs the same however far into the file it is. One buffer is all the memory.
 */
export async function* getJobs(last: number | undefined, ctx: SourceContext): AsyncGenerator<Line> {
  const path = pathOf(ctx);
  const file = await openFile(path, ctx);
  const buffer = Buffer.allocUnsafe(jobBytesMax * 2);
  try {
    let offset = last ?? 0; // Of the buffer's first byte, where a line begins.
    let held = 0; // Bytes in the buffer.
    let isSkipped = false; // The line in which the buffer begins: it was too long, and yielded already.
    if (last !== undefined) await checkLineBegins(file, last, path, ctx);
    for (;;) {
      const { bytesRead } = await file.read(buffer, held, buffer.length - held, offset + held);
      const bytes = buffer.subarray(0, held + bytesRead);
      let from = 0;
      for (let to: number; (to = bytes.indexOf(newline, from)) >= 0; from = to + 1) {
        if (!isSkipped) yield lineAt(bytes, from, to, offset + from);
        isSkipped = false;
      }
      if (bytesRead === 0) {
        if (from < bytes.length && !isSkipped) yield lineAt(bytes, from, bytes.length, offset + from);
        return;
      }
      // Its beginning is too long already: no part of it can be taken for the line.
      if (bytes.length - from > jobBytesMax) {
        if (!isSkipped) yield lineAt(bytes, from, bytes.length, offset + from);
        isSkipped = true;
        from = bytes.length;
      }
      held = bytes.copy(buffer, 0, from);
      offset += from;
    }
  } finally {
    await file.close();
  }
}

/** No two lines begin at one byte, and none appears behind one that was read. */
export const cursor = (job: Line): number => job.offset;

export function setup(): Counts {
  return { lines: 0, words: 0, characters: 0, values: new Map() };
}

export function handleJob({ line }: Line, { args, shared, skip }: JobContext<Counts>): void {
  if (line.trim() === "") skip("empty line");
  const value = args.field === undefined ? undefined : fieldOf(line, args.field);
  shared.lines++;
  shared.words += line.match(/\S+/g)!.length;
  shared.characters += line.length;
  if (value !== undefined) count(shared.values, value);
}

export function teardown({ shared, args, log }: Context & { shared: Counts }): void {
  const { values, ...counted } = shared;
  log.info("Counted", counted);
  const most = [...values].sort(([, a], [, b]) => b - a).slice(0, 10);
  if (args.field !== undefined) log.info(`Most frequent values of ${args.field}`, Object.fromEntries(most));
}

/** What is wrong with a path that trying again does not mend. */
const hopeless = ["ENOENT", "ENOTDIR", "EACCES", "EPERM", "ELOOP", "ENAMETOOLONG"];

/** A pipe or a device would be waited for, and cannot be read from a byte on. */
async function openFile(path: string, { fatal }: SourceContext): Promise<FileHandle> {
  try {
    const found = await stat(path);
    if (found.isDirectory()) fatal(`Cannot read ${path}: it is a folder`);
    if (!found.isFile()) fatal(`Cannot read ${path}: it is no regular file`);
    return await open(path);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (hopeless.includes(code)) fatal(`Cannot read ${path}: ${message}`);
    throw error;
  }
}

function pathOf({ args, fatal }: SourceContext): string {
  const unknown = Object.keys(args).find((name) => name !== "file" && name !== "field");
  if (unknown !== undefined) fatal(`There is no argument ${unknown}: it takes file=PATH and field=NAME`);
  if (!args.file) fatal("Name the file to read: taskmaster run plugins/lines.ts file=PATH");
  return resolve(args.file!);
}

/** A file that was rewritten since the last start would be read from the middle of a line, or not at all. */
async function checkLineBegins(
  file: FileHandle,
  offset: number,
  path: string,
  { fatal }: SourceContext,
): Promise<void> {
  if (offset === 0) return;
  const { bytesRead, buffer } = await file.read(Buffer.alloc(2), 0, 2, offset - 1);
  if (bytesRead === 2 && buffer[0] === newline) return;
  fatal(`No line begins at byte ${offset} of ${path} any more: it was rewritten. Start over with --reset`);
}

/** Bytes that are not UTF-8 become U+FFFD; a byte order mark is left out. */
function lineAt(bytes: Buffer, from: number, to: number, offset: number): Line {
  const isCrlf = to > from && bytes[to - 1] === 13;
  const line = bytes.toString("utf8", from, isCrlf ? to - 1 : to);
  return { offset, line: line.startsWith("\ufeff") ? line.slice(1) : line };
}

/** A line that is not JSON is a SyntaxError: three attempts, then a dead letter. */
function fieldOf(line: string, field: string): string {
  const value: unknown = JSON.parse(line)?.[field];
  return value === undefined ? "(missing)" : String(value);
}

function count(values: Map<string, number>, value: string): void {
  const key = values.has(value) || values.size < valuesMax ? value : "(other)";
  values.set(key, (values.get(key) ?? 0) + 1);
}
