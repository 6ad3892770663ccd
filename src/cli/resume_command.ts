import { shellQuote } from "../terminal/shell_quote.ts";

/** For one start only: with them a resume would start over, or go on whatever the state is of. */
const notAgain = /^--(?:reset|force)(?:=|$)/;

/** The command line that goes on with a run: the one that was typed, without `--reset` and `--force`. */
export function resumeCommand(program: readonly string[], argv: readonly string[]): string {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const kept = argv.filter((word, at) => at >= end || !isDropped(word, argv[at - 1]));
  return shellQuote([...program, ...kept]);
}

/** `--reset`, `--reset=true`, and the `true` of `--reset true`. */
function isDropped(word: string, before = ""): boolean {
  return notAgain.test(word) || (/^--(?:reset|force)$/.test(before) && /^(?:true|false)$/.test(word));
}
