import { shellQuote } from "../terminal/shell_quote.ts";

/** The command line that goes on with a run: the one that was typed, without `--reset`. */
export function resumeCommand(program: readonly string[], argv: readonly string[]): string {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const kept = argv.filter((word, at) => at >= end || !isReset(word, argv[at - 1]));
  return shellQuote([...program, ...kept]);
}

/** `--reset`, `--reset=true`, and the `true` of `--reset true`. */
function isReset(word: string, before: string | undefined): boolean {
  return /^--reset(?:=|$)/.test(word) || (before === "--reset" && /^(?:true|false)$/.test(word));
}
