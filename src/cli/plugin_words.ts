import { isIP } from "node:net";
import { parseAddress } from "../base/address.ts";
import { UsageError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { splitPluginWord } from "../plugin/load_plugin.ts";
import type { CommandLine } from "./invocation.ts";
import { hostDefault } from "./settings.ts";

/** The words behind a command that takes a plugin. */
export type PluginWords = Readonly<{
  path: string;
  exportName: string | undefined;
  /** The `name=value` words. */
  args: Readonly<Record<string, string>>;
}>;

/** @throws {UsageError} if there is no plugin, or a word that is no argument. */
export function readPluginWords({ command, words }: CommandLine): PluginWords {
  const [plugin, ...rest] = words;
  if (plugin === undefined || plugin === "") {
    throw new UsageError(
      `\`taskmaster ${command}\` needs a plugin, such as \`taskmaster ${command} plugins/posts.ts\`.`,
    );
  }
  return { ...splitPluginWord(plugin), args: readArgs(rest, command) };
}

function readArgs(words: readonly string[], command: string): Record<string, string> {
  const args: Record<string, string> = {};
  for (const word of words) {
    const match = /^([A-Za-z_][\w.-]*)=(.*)$/s.exec(word);
    if (match === null || match[1] === "__proto__") {
      throw new UsageError(`Cannot take the word "${printable(word, 60)}": ${whatIsTaken(word, command)}`);
    }
    if (Object.hasOwn(args, match[1]!)) {
      throw new UsageError(`The argument ${match[1]} is given twice: give it once.`);
    }
    args[match[1]!] = match[2]!;
  }
  return args;
}

function whatIsTaken(word: string, command: string): string {
  const help = `See \`taskmaster help ${command}\`.`;
  if (command !== "slave") return `behind the plugin come name=value words. ${help}`;
  const isAddress = (isIP(word) !== 0 || /:\d+$/.test(word)) &&
    parseAddress(word, hostDefault("slave")) !== undefined;
  return `behind the plugin come options only. ${isAddress ? `Is \`--host ${word}\` meant? ` : ""}${help}`;
}
