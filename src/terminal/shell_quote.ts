/** A command line for a POSIX shell: what these words are when it reads them. */
export function shellQuote(words: readonly string[]): string {
  return words.map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : quoteWord(word)).join(" ");
}

/** Control characters go into `$'...'`, so that the line can be shown and copied as one. */
function quoteWord(word: string): string {
  // deno-lint-ignore no-control-regex
  if (!/[\x00-\x1f\x7f]/.test(word)) return `'${word.replaceAll("'", `'\\''`)}'`;
  // deno-lint-ignore no-control-regex
  return `$'${
    word.replace(/[\\']/g, "\\$&").replace(/[\x00-\x1f\x7f]/g, (c) =>
      `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
  }'`;
}
