/** A command line for a POSIX shell: what these words are when it reads them. */
export function shellQuote(words: readonly string[]): string {
  return words.map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : quoteWord(word)).join(" ");
}

/** Control characters go into `$'...'`, so that the line can be shown and copied as one. */
function quoteWord(word: string): string {
  if (!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(word)) return `'${word.replaceAll("'", `'\\''`)}'`;
  return `$'${word.replace(/[\\']/g, "\\$&").replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped)}'`;
}

function escaped(char: string): string {
  return `\\U${char.codePointAt(0)!.toString(16).padStart(8, "0")}`;
}
