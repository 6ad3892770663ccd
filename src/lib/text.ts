/** Characters of foreign text (a job, an error, a name) shown on one line. */
export const shownCharsMax = 200;

/**
 * What would move the cursor, colour the screen, break the line, hide, or turn the direction of what follows:
 * - controls, C0 and C1 (Cc): a terminal obeys them
 * - format characters (Cf): marks of direction, zero-width characters, soft hyphens, tags
 * - separators of lines (Zl, Zp), and lone surrogates (Cs)
 * - what is drawn as nothing by default (DI): variation selectors, in which whole texts can hide, and fillers
 * - U+2800, a letter that is blank, and noncharacters (NChar), which each terminal draws in its own way
 *
 * Spaces that look like spaces, marks upon letters and letters that resemble others are left: languages need them.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\p{NChar}\u2800]/gu;

const short: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u001b": "\\e" };

/**
 * Foreign text (a job, an error, a name, an address) as one line that is safe on a terminal, in a log and on a
 * page: what is unsafe is written as an escape, and what is longer than `charsMax` characters is cut, with `…`
 * as the last one.
 */
export function printable(text: string, charsMax = shownCharsMax): string {
  // Each escape is at least as long as what it stands for, so nothing beyond `charsMax` units can be shown.
  const head = text.length > charsMax * 2 ? text.slice(0, charsMax * 2) : text;
  const safe = head.replace(unsafe, escaped);
  return head.length === text.length && safe.length <= charsMax ? safe : cut(safe, charsMax);
}

/** Whether a text has characters that `printable` writes as escapes. */
export function isUnsafe(text: string): boolean {
  unsafe.lastIndex = 0;
  return unsafe.test(text);
}

/** With each character that `printable` would escape as `escape` writes it. */
export function escapeUnsafe(text: string, escape: (char: string) => string): string {
  return text.replace(unsafe, escape);
}

/**
 * Finished JSON with what is unsafe in its strings as `\u` escapes: whoever parses it reads the same strings, and whoever
 * prints it is not fooled.
 */
export function safeJson(json: string): string {
  // Most of it is plain, and JSON has escaped C0 itself.
  return /[^\n -~]/.test(json) ? json.replace(unsafe, jsonEscaped) : json;
}

/** Most lines of a stack, and the longest of them, in characters. */
const stackLinesMax = 60;
const stackLineCharsMax = 500;

/**
 * A text as the lines it is shown in: one, with line breaks escaped, unless it has a stack in it. Only a stack is worth
 * lines of its own; a line break in a name or a job is somebody's attempt at a line of the log.
 */
export function printableLines(text: string, charsMax?: number): readonly [string, ...string[]] {
  // Frames, as V8 and JavaScriptCore write them.
  if (!/\n\s+at \S/.test(text)) return [printable(text, charsMax)];
  const [first = "", ...more] = text.trimEnd().split("\n", stackLinesMax);
  return [printable(first, charsMax), ...more.map((line) => printable(line, stackLineCharsMax))];
}

/** Longest sentence that is reported whole: a few paths of the longest kind. Of a longer one the middle is left out. */
const reportCharsMax = 20_000;

/**
 * What a process without a log says on stderr, its last line break included. Whatever is in the text, it is one line
 * that begins with the program's name, and below it the lines of a stack and those given, set in, so that none can
 * pass for something else.
 *
 * @param below Lines of our own, such as commands to copy: with whatever is foreign in them quoted or escaped.
 */
export function reported(text: string, below: readonly string[] = []): string {
  const [first, ...stack] = printableLines(text, Infinity);
  const rest = [...stack, ...below.map((line) => printable(line, Infinity))];
  return [`taskmaster: ${withoutMiddle(first)}`, ...rest.map(setIn), ""].join("\n");
}

/** A line below another one: it does not begin where a line of ours does. */
export function setIn(line: string): string {
  return line === "" || line.startsWith("  ") ? line : `  ${line}`;
}

/** The end of a sentence says what to do. */
function withoutMiddle(text: string): string {
  if (text.length <= reportCharsMax) return text;
  const half = reportCharsMax / 2;
  return `${cut(text, half)}${text.slice(-half).replace(/^[\udc00-\udfff]/, "")}`;
}

/** None of these takes more than two bytes in a JSON file. */
const plain = /^[\n\r\t\x20-\x7e]*$/;

/** Bytes that `text` takes, at most, as a string of JSON in UTF-8 in which all that is unsafe is escaped. */
export function writtenBytes(text: string): number {
  if (plain.test(text)) return 2 * text.length;
  let bytes = 0;
  for (let at = 0; at < text.length; at++) bytes += unitBytes(text.charCodeAt(at));
  return bytes;
}

/** As much of the beginning as takes no more than so many bytes so; never half of a surrogate pair. */
export function cutToWritten(text: string, bytesMax: number): string {
  if (2 * text.length <= bytesMax && plain.test(text)) return text;
  let bytes = 0;
  for (let at = 0; at < text.length; at++) {
    bytes += unitBytes(text.charCodeAt(at));
    if (bytes > bytesMax) return text.slice(0, isSecondHalf(text, at) ? at - 1 : at);
  }
  return text;
}

function isSecondHalf(text: string, at: number): boolean {
  return /^[\ud800-\udbff][\udc00-\udfff]$/.test(text.slice(Math.max(0, at - 1), at + 1));
}

/** Of one UTF-16 unit. Both halves of a pair count as if they were escaped, as tags are. */
function unitBytes(unit: number): number {
  if (unit >= 0x20 && unit < 0x7f) return unit === 0x22 || unit === 0x5c ? 2 : 1;
  if (unit === 0x0a || unit === 0x0d || unit === 0x09) return 2;
  unsafeUnits ??= findUnsafeUnits();
  if (unsafeUnits[unit] !== 0) return 6;
  return unit < 0x800 ? 2 : 3;
}

/** 1 for each UTF-16 unit that is unsafe: errors may be thousands a second, and a table is quicker than `unsafe`. */
let unsafeUnits: Uint8Array | undefined;

function findUnsafeUnits(): Uint8Array {
  const found = new Uint8Array(0x1_0000).fill(1, 0xd800, 0xe000);
  for (const [from, to] of [[0, 0xd800], [0xe000, 0x1_0000]] as const) {
    const units = Array.from({ length: to - from }, (_, at) => String.fromCharCode(from + at)).join("");
    for (const { index } of units.matchAll(unsafe)) found[from + index] = 1;
  }
  return found;
}

/** A message as a part of a longer sentence: without the punctuation at its end. */
export function asClause(message: string): string {
  return message.trimEnd().replace(/(?<=[^.])[.;:,]+$/, "");
}

/** What was thrown, likewise. */
export function whyOf(error: unknown): string {
  return asClause(error instanceof Error ? error.message : String(error));
}

function escaped(char: string): string {
  const code = char.codePointAt(0)!;
  return short[char] ??
    (code < 0x100 ? `\\x${hex(code, 2)}` : code > 0xffff ? `\\u{${hex(code, 5)}}` : `\\u${hex(code, 4)}`);
}

function jsonEscaped(char: string): string {
  // A line break stands between documents, never within one.
  if (char === "\n") return char;
  let text = "";
  for (let at = 0; at < char.length; at++) text += `\\u${hex(char.charCodeAt(at), 4)}`;
  return text;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** Never between the halves of a surrogate pair. */
function cut(text: string, charsMax: number): string {
  const kept = text.slice(0, charsMax - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}
