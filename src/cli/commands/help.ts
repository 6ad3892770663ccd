import { UsageError } from "../../base/errors.ts";
import { unknownCommand } from "../command_line.ts";
import { isCommand } from "../commands.ts";
import type { Invocation } from "../invocation.ts";
import { commandHelp, generalHelp, helpColumns } from "../help.ts";

/** Prints help on stdout. */
export async function help({ line }: Invocation): Promise<number> {
  const [word, ...more] = line.words;
  if (more.length > 0) {
    throw new UsageError("`taskmaster help` takes one command, such as `taskmaster help run`.");
  }
  if (word !== undefined && !isCommand(word)) throw unknownCommand(word);
  const columns = helpColumns(process.stdout);
  process.stdout.write(word === undefined ? generalHelp(columns) : commandHelp(word, columns));
  return 0;
}
