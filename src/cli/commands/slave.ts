import { UsageError } from "../../lib/errors.ts";
import { readPluginWords } from "../command_line.ts";
import type { Invocation } from "../commands.ts";
import { SlaveProgram } from "../slave_program.ts";

/** Runs the plugin's handler for a master. */
export async function slave(invocation: Invocation): Promise<number> {
  const words = readPluginWords(invocation.line);
  const [name] = Object.keys(words.args);
  if (name !== undefined) {
    throw new UsageError(
      `Cannot take the argument ${name}: arguments are given to the master, and reach its slaves from there.`,
    );
  }
  return await (await SlaveProgram.start(invocation, words)).finish();
}
