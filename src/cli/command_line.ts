import { parseArgs } from "@std/cli/parse-args";
import { isIP } from "node:net";
import { UsageError } from "../lib/errors.ts";
import { isBinary } from "../lib/runtime.ts";
import { isArgName, printable, suggest } from "../lib/text.ts";
import { parseAddress } from "../lib/units.ts";
import { splitPluginWord } from "../plugin/load_plugin.ts";
import type { CommandLine, CommandRow, PluginWords, RunsPlugin, TakesWords } from "./command.ts";
import { commandNames, isCommand } from "./commands.ts";
import {
  type CommandName,
  hostDefault,
  type Option,
  type OptionName,
  optionRows,
  options,
  optionsOf,
} from "./options.ts";

/** @throws {UsageError} if there is no plugin, or a word that is no argument. */
export function readPluginWords(
  { command, words }: CommandLine,
  takes: Pick<RunsPlugin, "plugin">,
): PluginWords {
  const [plugin, ...rest] = words;
  if (plugin === undefined || plugin === "") throw needs("a plugin", command);
  const args = readArgs(rest, command, takes);
  const [name] = Object.keys(args);
  if (name === undefined || takes.plugin === "with arguments") return { ...splitPluginWord(plugin), args };
  throw new UsageError(
    `Cannot take the argument ${name}: arguments are given to the master, and reach its slaves from there.`,
  );
}

/** @throws {UsageError} if words are missing, or too many. */
export function checkWords(
  { command, words }: CommandLine,
  { words: { most, needs: what, instead }, examples }: TakesWords & Pick<CommandRow, "examples">,
): void {
  const more = words[most];
  if (more === undefined) {
    if (what !== undefined && (words[0] ?? "") === "") throw needs(what, command, examples[0]?.[0]);
    return;
  }
  if (most > 0) {
    const count = most === 1 ? "one word" : `${most} words`;
    throw new UsageError(`\`taskmaster ${command}\` takes ${count}, not "${printable(more, 60)}" besides.`);
  }
  const end = instead === undefined ? "" : `: ${instead}`;
  throw new UsageError(`\`taskmaster ${command}\` takes no words${end}. See \`taskmaster help ${command}\`.`);
}

function needs(what: string, command: CommandName, example = `${command} plugins/posts.ts`): UsageError {
  return new UsageError(`\`taskmaster ${command}\` needs ${what}, such as \`taskmaster ${example}\`.`);
}

function readArgs(
  words: readonly string[],
  command: CommandName,
  takes: Pick<RunsPlugin, "plugin">,
): Record<string, string> {
  const args: Record<string, string> = {};
  for (const word of words) {
    const match = /^([^=]*)=(.*)$/s.exec(word);
    if (match === null || !isArgName(match[1]!)) {
      throw new UsageError(
        `Cannot take the word "${printable(word, 60)}": ${whatIsTaken(word, command, takes)}`,
      );
    }
    if (Object.hasOwn(args, match[1]!)) {
      throw new UsageError(`The argument ${match[1]} is given twice: give it once.`);
    }
    args[match[1]!] = match[2]!;
  }
  return args;
}

function whatIsTaken(word: string, command: CommandName, { plugin }: Pick<RunsPlugin, "plugin">): string {
  const help = `See \`taskmaster help ${command}\`.`;
  if (plugin === "with arguments") return `behind the plugin come name=value words. ${help}`;
  const isAddress = (isIP(word) !== 0 || /:\d+$/.test(word)) &&
    parseAddress(word, hostDefault(command)) !== undefined;
  return `behind the plugin come options only. ${isAddress ? `Is \`--host ${word}\` meant? ` : ""}${help}`;
}

const switches = optionRows.filter(([, option]) => option.kind === "switch").map(([name]) => name);
const repeated = optionRows.filter(([, option]) => option.kind === "hosts").map(([name]) => name);
const valued = optionRows.filter(([, option]) => option.kind !== "switch").map(([name]) => name);

/**
 * Reads `argv`, the words behind the program's name.
 *
 * @throws {UsageError} for a command or flag that does not exist or does not belong here, and for a missing value.
 */
export function readCommandLine(argv: readonly string[]): CommandLine {
  const unknown: string[] = [];
  const parsed = parseArgs(argv, {
    boolean: [...switches, "help", "version"],
    string: [...valued, "_"],
    collect: repeated,
    alias: { help: "h", version: "V" },
    unknown: (arg) => arg.startsWith("-") && arg !== "-" ? (unknown.push(arg), false) : true,
  });
  join(parsed);
  const words = parsed._.map(String);
  const command = chooseCommand(words, parsed);
  if (words.length === 0 && command === "help") refuseUnknown(unknown, command);
  if (command === "version") return { command, words: [], flags: {} };
  if (command === "help") return { command, words: helpWords(words), flags: {} };
  const flagWords = argv.includes("--") ? argv.slice(0, argv.indexOf("--")) : argv;
  const flags = pickFlags(parsed, flagWords);
  refuseMissing(flags);
  refuseUnknown(unknown, command);
  refuseForeign(flags, command);
  refuseSwitchValues(flagWords);
  return { command, words: words.slice(1), flags };
}

function chooseCommand(words: readonly string[], parsed: Record<string, unknown>): CommandName {
  if (parsed["version"]) return "version";
  const first = words[0];
  if (first === undefined) {
    const other = Object.keys(parsed).some((name) => name in options && parsed[name] !== false);
    if (other && !parsed["help"]) {
      throw new UsageError(
        "No command was given: write one first, such as `taskmaster run`. See `taskmaster help`.",
      );
    }
    return "help";
  }
  if (!isCommand(first)) throw unknownCommand(first);
  return parsed["help"] ? "help" : first;
}

/** `help run` and `run --help` ask the same. */
function helpWords(words: readonly string[]): readonly string[] {
  if (words[0] !== "help") return words.slice(0, 1);
  if (words[1] !== undefined && !isCommand(words[1]) && !isPluginPath(words[1])) {
    throw unknownCommand(words[1]);
  }
  return words.slice(1);
}

const forked =
  " Was this started by fork() in a plugin? In the compiled binary, process.execPath is taskmaster and no " +
  "JavaScript runtime: give that child BUN_BE_BUN=1 in its environment, and it is Bun.";

/** Whether another JavaScript program started this one with an IPC channel. */
function isForked(): boolean {
  return isBinary() && process.send !== undefined;
}

function isPluginPath(word: string): boolean {
  return /[/\\]|\.[cm]?[jt]sx?(:|$)/.test(word);
}

/** An error that names the command that was probably meant; nothing is run on a guess. */
function unknownCommand(word: string): UsageError {
  const shown = printable(word);
  const meant = isPluginPath(word) ? `run ${shown}` : suggest(word, commandNames);
  const hint = meant === undefined ? "" : ` Did you mean \`taskmaster ${meant}\`?`;
  return new UsageError(
    `There is no command "${shown}".${isForked() ? forked : `${hint} See \`taskmaster help\`.`}`,
  );
}

function pickFlags(parsed: Record<string, unknown>, argv: readonly string[]): CommandLine["flags"] {
  const flags: Partial<Record<OptionName, string | boolean>> = {};
  for (const [name, option] of optionRows) {
    const value = parsed[name], flag = `--${name}`, prefix = `${flag}=`;
    const isGiven = option.kind === "switch"
      ? argv.some((arg) => arg === flag || arg.startsWith(prefix))
      : value !== undefined;
    if (isGiven) flags[name] = value as string | boolean;
  }
  return flags;
}

/** The values of a flag that may be repeated become one text; one that was not given is not there. */
function join(parsed: Record<string, unknown>): void {
  for (const name of repeated) {
    const values = parsed[name];
    if (!Array.isArray(values)) continue;
    if (values.length === 0) delete parsed[name];
    else parsed[name] = values.join(",");
  }
}

function refuseMissing(flags: CommandLine["flags"]): void {
  for (const [name, value] of Object.entries(flags) as [OptionName, string | boolean][]) {
    const option: Option = options[name];
    if (option.kind === "switch" || value !== "") continue;
    throw new UsageError(
      `--${name} needs a value, such as --${name}=${option.example}. One that begins with a dash is written behind "=".`,
    );
  }
}

function refuseUnknown(unknown: readonly string[], command: CommandName): void {
  const arg = unknown[0];
  if (arg === undefined) return;
  const name = arg.replace(/^-+/, "").replace(/=.*$/s, "");
  const own = optionsOf(command).map(([known]) => known);
  const meant = suggest(name, [...own, "help", "version"]);
  const hint = meant === undefined ? "" : ` Did you mean --${meant}?`;
  const shown = printable(arg.replace(/=.*$/s, ""), 60);
  throw new UsageError(
    `There is no option ${shown}.${hint} See \`taskmaster help ${command === "help" ? "" : command}`
      .trimEnd() + "`.",
  );
}

function refuseForeign(flags: CommandLine["flags"], command: CommandName): void {
  for (const name of Object.keys(flags) as OptionName[]) {
    const { commands }: Option = options[name];
    if (commands[command] !== undefined) continue;
    throw new UsageError(
      `--${name} is not an option of \`taskmaster ${command}\`, but of ${
        Object.keys(commands).join(", ")
      }. See \`taskmaster help ${command}\`.`,
    );
  }
}

/** The parser takes any text for a switch as true; only `--reset`, `--reset=true` and `--reset=false` are meant. */
function refuseSwitchValues(argv: readonly string[]): void {
  for (const name of switches) {
    const prefix = `--${name}=`;
    const arg = argv.find((word) => word.startsWith(prefix));
    if (arg === undefined || /^(?:true|false)$/.test(arg.slice(prefix.length))) continue;
    throw new UsageError(
      `--${name} is a switch: write --${name}, without the "${printable(arg.slice(prefix.length), 60)}".`,
    );
  }
}
