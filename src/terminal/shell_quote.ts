import { escapeUnsafe, isUnsafe } from "../base/printable.ts";

/** A command line for a POSIX shell: what these words are when it reads them. */
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
