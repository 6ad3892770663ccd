import leven from "leven";
import { errorMessageCharsMax } from "./limits.ts";

/** Characters of foreign text (a job, an error, a name) shown on one line. */
export const shownCharsMax = 200;

/**
 * Characters that could move the cursor, colour the screen, break the line, be invisible, or reverse the direction of
 * the text after them:
 * - control characters, C0 and C1 (Cc): a terminal obeys them
 * - format characters (Cf): direction marks, zero-width characters, soft hyphens, tags
 * - line separators (Zl, Zp), and lone surrogates (Cs)
 * - characters invisible by default (DI): variation selectors, which can hide whole texts, and fillers
 * - U+2800, a blank letter, and noncharacters (NChar), which each terminal draws in its own way
 *
 * Visible spaces, combining marks and look-alike letters are kept: languages need them.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{DI}\p{NChar}\u2800]/gu;

const short: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\u001b": "\\e" };

/**
 * Foreign text (a job, an error, a name, an address) as one line that is safe on a terminal, in a log and on a page.
 * Unsafe characters are written as escapes. A text of more than `charsMax` characters is cut and ends with `…`.
 */
export function printable(text: string, charsMax = shownCharsMax): string {
  // An escape is at least as long as what it replaces, so nothing beyond `charsMax` units can be shown.
  const head = text.length > charsMax * 2 ? text.slice(0, charsMax * 2) : text;
  const safe = head.replace(unsafe, escaped);
  return head.length === text.length && safe.length <= charsMax ? safe : cut(safe, charsMax);
}

/** Whether a text has characters that `printable` escapes. */
export function isUnsafe(text: string): boolean {
  unsafe.lastIndex = 0;
  return unsafe.test(text);
}

/** Replaces each character that `printable` would escape by the result of `escape`. */
export function escapeUnsafe(text: string, escape: (char: string) => string): string {
  return text.replace(unsafe, escape);
}

/**
 * Finished JSON with the unsafe characters of its strings as `\u` escapes: it parses to the same strings and is safe to
 * print.
 */
export function safeJson(json: string): string {
  // Most JSON is plain, and JSON itself escapes C0.
  return /[^\n -~]/.test(json) ? json.replace(unsafe, jsonEscaped) : json;
}

/** Most lines of a stack, and the longest of them in characters. */
const stackLinesMax = 60;
const stackLineCharsMax = 500;

/**
 * Splits a text into the lines it is shown in: one line, with line breaks escaped, unless it contains a stack. Only a
 * stack gets lines of its own; a line break in a name or job may be an attempt to forge a log line.
 */
export function printableLines(text: string, charsMax?: number): readonly [string, ...string[]] {
  // stack frames, as V8 and JavaScriptCore write them
  if (!/\n\s+at \S/.test(text)) return [printable(text, charsMax)];
  const [first = "", ...more] = text.trimEnd().split("\n", stackLinesMax);
  return [printable(first, charsMax), ...more.map((line) => printable(line, stackLineCharsMax))];
}

/** Longest sentence reported in full: room for a few very long paths. A longer one loses its middle. */
const reportCharsMax = 20_000;

/**
 * The text that a process without a log writes to stderr, with its final line break. Always one line that begins with
 * the program's name; stack lines and `below` follow indented, so that foreign text cannot forge a line.
 *
 * @param below Lines of our own, such as commands to copy; foreign text in them must be quoted or escaped.
 */
export function reported(text: string, below: readonly string[] = []): string {
  const [first, ...stack] = printableLines(text, Infinity);
  const rest = [...stack, ...below.map((line) => printable(line, Infinity))];
  return [`taskmaster: ${withoutMiddle(first)}`, ...rest.map(setIn), ""].join("\n");
}

/** Indents a line, so that it cannot begin like a line of ours. */
export function setIn(line: string): string {
  return line === "" || line.startsWith("  ") ? line : `  ${line}`;
}

/** Cuts the middle, because the end of a sentence says what to do. */
function withoutMiddle(text: string): string {
  if (text.length <= reportCharsMax) return text;
  const half = reportCharsMax / 2;
  return `${cut(text, half)}${text.slice(-half).replace(/^[\udc00-\udfff]/, "")}`;
}

/** Texts of these characters take at most two bytes a character in JSON. */
const plain = /^[\n\r\t\x20-\x7e]*$/;

/** Most bytes that `text` takes as a JSON string in UTF-8 with unsafe characters escaped. */
export function writtenBytes(text: string): number {
  if (plain.test(text)) return 2 * text.length;
  let bytes = 0;
  for (let at = 0; at < text.length; at++) bytes += unitBytes(text.charCodeAt(at));
  return bytes;
}

/** The longest beginning of a text with at most `bytesMax` of these bytes; never cuts a surrogate pair. */
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

/** Bytes of one UTF-16 unit. Each half of a surrogate pair counts as if escaped, because some pairs are. */
function unitBytes(unit: number): number {
  if (unit >= 0x20 && unit < 0x7f) return unit === 0x22 || unit === 0x5c ? 2 : 1;
  if (unit === 0x0a || unit === 0x0d || unit === 0x09) return 2;
  unsafeUnits ??= findUnsafeUnits();
  if (unsafeUnits[unit] !== 0) return 6;
  return unit < 0x800 ? 2 : 3;
}

/**
 * 1 for each unsafe UTF-16 unit. A table, because there may be thousands of errors a second and the regular expression
 * is slower.
 */
let unsafeUnits: Uint8Array | undefined;

function findUnsafeUnits(): Uint8Array {
  const found = new Uint8Array(0x1_0000).fill(1, 0xd800, 0xe000);
  for (const [from, to] of [[0, 0xd800], [0xe000, 0x1_0000]] as const) {
    const units = Array.from({ length: to - from }, (_, at) => String.fromCharCode(from + at)).join("");
    for (const { index } of units.matchAll(unsafe)) found[from + index] = 1;
  }
  return found;
}

/** A message for use inside a longer sentence: without the punctuation at its end. */
export function asClause(message: string): string {
  return message.trimEnd().replace(/(?<=[^.])[.;:,]+$/, "");
}

/** The message of anything thrown, for use inside a longer sentence. */
export function whyOf(error: unknown): string {
  return asClause(error instanceof Error ? error.message : String(error));
}

/** Most groups of messages counted apart; what comes after them is counted together. */
export const messageGroupsMax = 1_000;

/**
 * What changes from one message to the next of the same fault, in the order in which it is tried:
 * - `code`: a short number that says which fault it is, such as `status 404`: kept
 * - `quoted`: a text between quotes
 * - an address of mail
 * - a date, with a time of day or without
 * - a number, with its sign, decimals, thousands; also `10.0.0.5:5432` and `12:7`
 * - `word`: letters and digits, joined by hyphens or apostrophes
 *
 * Every word is taken as a whole, so that nothing begins within one. No lookbehind, and no flag but `g`: JavaScriptCore
 * compiles neither, and there may be a million messages.
 */
const parts =
  /((?:[Ss]tatus|[Cc]ode|CODE|HTTP|[Ee]rrno|[Ss]ignal) ?[:=]? ?\d{1,3}(?![\w-])|SQLSTATE ?[:=[]? ?\w{5}(?!\w))|('[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)|\w[\w.+-]*@\w[\w-]*(?:\.\w[\w-]*)*|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?!\w)|[-+]?\d+(?:[.,:]\d+)*(?![\w-])|([\w\u00c0-\uffff]+(?:['-][\w\u00c0-\uffff]+)*)/g;

/**
 * The message of a failure, in one line, with what changes from job to job as `#`: numbers, ids, times, addresses and
 * quoted values. Failures of one fault share it: `user 17 not found` and `user 18 not found` are `user # not found`.
 * Names (quoted or not) and short codes such as `status 404` are kept: they say which fault it is.
 */
export function messageGroup(message: string): string {
  const clause = asClause(message.slice(0, errorMessageCharsMax).trim());
  return /[\d'"`@]/.test(clause) ? clause.replace(parts, generalised) : clause;
}

function generalised(part: string, code?: string, quoted?: string, word?: string): string {
  if (code !== undefined) return part;
  if (quoted !== undefined) return isName(quoted.slice(1, -1)) ? part : `${part[0]}#${part[0]}`;
  if (word === undefined) return "#";
  if (!/\d/.test(word)) return word;
  return isId(word) ? "#" : word.replace(/\d+/g, "#");
}

/** Of a field, a table, a function, as in `reading 'name'`. */
function isName(text: string): boolean {
  return /^[\p{L}_$][\p{L}_$.]*$/u.test(text);
}

/** `0x7ffe`, a UUID, a hash, `cus_9s6XKzkNRiz8i3`: most of it changes, not its digits alone. */
function isId(word: string): boolean {
  return /^0x[\da-f]+$/i.test(word) ||
    (word.length >= 8 && (/^[\da-f-]+$/i.test(word) || /\d[^\d]+\d/.test(word)));
}

function escaped(char: string): string {
  const code = char.codePointAt(0)!;
  return short[char] ??
    (code < 0x100 ? `\\x${hex(code, 2)}` : code > 0xffff ? `\\u{${hex(code, 5)}}` : `\\u${hex(code, 4)}`);
}

function jsonEscaped(char: string): string {
  // line breaks occur only between documents, not within one
  if (char === "\n") return char;
  let text = "";
  for (let at = 0; at < char.length; at++) text += `\\u${hex(char.charCodeAt(at), 4)}`;
  return text;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** Cuts a text, never between the halves of a surrogate pair. */
function cut(text: string, charsMax: number): string {
  const kept = text.slice(0, charsMax - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}

/** No name is as long; to compare a word of a megabyte with each would take a second. */
const typedCharsMax = 64;

/** The known name nearest to a mistyped one; undefined if none is near enough to be meant. */
export function suggest(typed: string, known: readonly string[]): string | undefined {
  if (typed.length > typedCharsMax) return undefined;
  const distanceMax = Math.min(
    typed.length - 1,
    Math.max(typed.length < 5 ? 1 : 2, Math.floor(typed.length / 2.5)),
  );
  let nearest: string | undefined;
  let least = distanceMax + 1;
  for (const name of known) {
    const distance = distanceOf(typed.toLowerCase(), name.toLowerCase());
    if (distance < least) [nearest, least] = [name, distance];
  }
  return nearest ?? known.find((name) => typed.length >= 3 && name.startsWith(typed));
}

/** Letters in another order are one slip, not two. */
function distanceOf(typed: string, name: string): number {
  return sorted(typed) === sorted(name) ? Math.min(1, leven(typed, name)) : leven(typed, name);
}

function sorted(word: string): string {
  return [...word].sort().join("");
}

/** Whether a plugin's argument may have this name, so that `name=value` can be typed. */
export function isArgName(name: string): boolean {
  return /^[A-Za-z_][\w.-]*$/.test(name) && name !== "__proto__";
}
