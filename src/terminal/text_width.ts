import { escapeUnsafe, isUnsafe } from "../lib/text.ts";

/** Quotes words into a command line, which a POSIX shell reads as these words. */
export function shellQuote(words: readonly string[]): string {
  return words.map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : quoteWord(word)).join(" ");
}

/** What is unsafe to show goes into `$'...'`, so that the line can be shown and copied as one. */
function quoteWord(word: string): string {
  if (!isUnsafe(word)) return `'${word.replaceAll("'", `'\\''`)}'`;
  return `$'${escapeUnsafe(word.replace(/[\\']/g, "\\$&"), escaped)}'`;
}

function escaped(char: string): string {
  return `\\U${char.codePointAt(0)!.toString(16).padStart(8, "0")}`;
}

/** Marks drawn over the character before them, and what is not drawn at all. */
const zeroWidth = /^[\p{Mn}\p{Me}\p{Cf}\u1160-\u11ff]$/u;

/**
 * Two columns wide: East Asian wide and fullwidth characters, and from U+2300 on what may be shown as an emoji. Where
 * terminals differ this is the larger number, since a line that is counted too wide never wraps.
 */
const doubleWidth =
  /^(?:[\u1100-\u115f\u2329\u232a\u2630-\u2637\u268a-\u268f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{1d300}-\u{1d37f}\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]|(?![\0-\u22ff])\p{Extended_Pictographic})$/u;

/** Columns that a terminal takes for this text, which is printable: without control characters. */
export function widthOf(text: string): number {
  let width = 0;
  for (const char of text) width += widthOfChar(char);
  return width;
}

/** The text, or as much of its beginning as fits into so many columns with `…` behind it. */
export function cutToWidth(text: string, columns: number): string {
  if (text.length <= columns && !/[^\0-\u02ff]/.test(text)) return text;
  let width = 0;
  let end = 0;
  for (let at = 0; at < text.length;) {
    const char = String.fromCodePoint(text.codePointAt(at)!);
    width += widthOfChar(char);
    if (width > columns) return columns < 1 ? "" : `${text.slice(0, end)}…`;
    at += char.length;
    if (width < columns) end = at;
  }
  return text;
}

/**
 * Breaks a text into lines of at most so many columns, at spaces only: a longer word has a line of its own.
 *
 * @param first Stands before the first line, and `rest` before the others; both count.
 */
export function wrap(text: string, columns: number, first = "", rest = first): string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line);
      line = rest;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}

function widthOfChar(char: string): number {
  if (char < "\u0300") return 1;
  if (zeroWidth.test(char)) return 0;
  return doubleWidth.test(char) ? 2 : 1;
}

/** The widest left column of a table; a longer entry has a line of its own. */
const leftMax = 34;
/** A right column of fewer columns than this is placed below the left one. */
const rightMin = 30;

/** Two columns; the second wraps below itself. Where it would be too narrow it goes below the first. */
export function table(rows: readonly (readonly [string, string])[], columns: number): string[] {
  const width = Math.min(leftMax, Math.max(...rows.map(([left]) => left.length)));
  const isBeside = columns - width - 5 >= rightMin;
  const indent = "".padEnd(isBeside ? width + 5 : 6);
  return rows.flatMap(([left, right]) =>
    isBeside && left.length <= width
      ? wrap(right, columns, `  ${left}`.padEnd(indent.length), indent)
      : [...wrap(left, columns, "  ", "    "), ...wrap(right, columns, indent)]
  );
}
