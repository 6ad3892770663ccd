import { shownCharsMax } from "./limits.ts";

/**
 * What would move the cursor, colour the screen, break the line, hide, or turn the direction of what follows:
 * controls, format characters (bidi marks, zero-width characters, tags), separators of lines, lone surrogates.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

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

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

/** Never between the halves of a surrogate pair. */
function cut(text: string, charsMax: number): string {
  const kept = text.slice(0, charsMax - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}
