import { version } from "../../lib/runtime.ts";
import { table, wrap } from "../../terminal/text_width.ts";
import type { Command, Commands } from "../command.ts";
import type { Kind } from "../kinds.ts";
import { type CommandName, type Option, type OptionName, optionsOf } from "../options.ts";
import { environmentName } from "../settings.ts";

/** Lines longer than this are hard to read, however wide the terminal is. */
const columnsMax = 100;
/** Where there is no terminal to ask. */
const columnsDefault = 80;
/** How wide help may be on this stream. */
export function helpColumns({ isTTY, columns }: { isTTY?: boolean; columns?: number }): number {
  return Math.min(columnsMax, (isTTY && columns) || columnsDefault);
}

/** The help of the whole program, in lines of at most so many columns. */
export function generalHelp(commands: Commands, columns: number): string {
  return [
    ...wrap(
      "taskmaster runs a function over every item of an iterator too big for a queue.",
      columns,
    ),
    "",
    ...examples([
      ["run plugins/posts.ts", "on this machine"],
      ["master plugins/posts.ts", "hand out its jobs"],
      ["slave plugins/posts.ts --host 10.0.0.5:5050", "on other machines"],
    ], columns),
    "",
    "Commands:",
    ...table(
      Object.values(commands).map(({ usage, summary }) => [usage.replace(" [options]", ""), summary]),
      columns,
    ),
    "",
    ...wrap(
      "Stop with Ctrl-C; the same command resumes. Options of a command: `taskmaster help run`.",
      columns,
    ),
    "",
  ].join("\n");
}

/** The help of one command, likewise. */
export function commandHelp(commands: Commands, command: CommandName, columns: number): string {
  const row = commands[command];
  const own = optionsOf(command);
  const options = table(own.map((entry) => optionHelp(entry, command)), columns);
  return [
    ...wrap(`taskmaster ${command}: ${row.summary}`, columns),
    "",
    ...examples(row.examples, columns),
    "",
    ...wrap(`Usage: taskmaster ${row.usage}`, columns, "", "  "),
    ...(own.length === 0 ? [] : ["", "Options:", ...options]),
    ...[...(row.notes ?? []), ...forms(command)].flatMap((note) => ["", ...wrap(note, columns)]),
    "",
  ].join("\n");
}

/**
 * Commands with what they do behind them, or above where a line is too narrow for both. A long command goes on behind a
 * backslash.
 */
function examples(rows: readonly (readonly [string, string])[], columns: number): string[] {
  const prompt = "  $ taskmaster ";
  const room = ([words, what]: readonly [string, string]) => columns - `${prompt}${words}   # ${what}`.length;
  const beside = rows.filter((row) => room(row) >= 0);
  const width = Math.max(0, ...beside.map(([words]) => words.length));
  const isAligned = beside.every((row) => room(row) >= width - row[0].length);
  return rows.flatMap((row) => {
    const [words, what] = row;
    if (room(row) >= 0) return [`${prompt}${words.padEnd(isAligned ? width : 0)}   # ${what}`];
    const lines = wrap(words, columns - 2, prompt, "      ");
    return [
      ...wrap(what, columns, "  # "),
      ...lines.map((line, at) => at < lines.length - 1 ? `${line} \\` : line),
    ];
  });
}

function optionHelp([name, option]: readonly [OptionName, Option], command: CommandName): [string, string] {
  const left = option.value === undefined ? `--${name}` : `--${name} ${option.value}`;
  const at = option.commands[command] ?? {};
  const fallback = at.defaultText ?? option.default ?? option.defaultText;
  const help = at.help ?? option.help;
  return [left, help + (fallback === undefined ? "" : ` (default: ${fallback})`)];
}

/** How this command's options are written, and where else they come from. Of options that it has not, not a word. */
function forms(command: CommandName): string[] {
  const own = optionsOf(command);
  if (own.length === 0) return [];
  const has = (kind: Kind) => own.some(([, option]) => option.kind === kind);
  const variable = (name: OptionName) => environmentName(name, command);
  const [sample] = own.find(([name]) => name.includes("-") && variable(name) !== undefined) ?? own[0]!;
  const hasHost = own.some(([name]) => name === "host") && variable("host") !== undefined;
  const without = own.map(([name]) => name).filter((name) => variable(name) === undefined);
  const but = without.length === 0 ? "" : ` but ${inWords(without.map((name) => `--${name}`))}`;
  const examples = [sample, ...(hasHost ? ["host" as const] : [])].map((name) =>
    `--${name}: ${variable(name)}`
  );
  const isInPlugin = own.some(([, { inPlugin }]) => inPlugin);
  return [
    (has("duration") ? "Durations: 500ms, 30s, 5m. " : "") + (has("size") ? "Sizes: 64MiB. " : "") +
    `Every option${but} has an environment variable (${examples.join("; ")}); a flag beats it` +
    (isInPlugin ? ", and it beats the plugin's `options`." : "."),
  ];
}

/** `a`, `a and b`, `a, b and c`. */
function inWords(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function isCommandOf(commands: Commands, word: string): word is CommandName {
  return Object.hasOwn(commands, word);
}

/** `taskmaster help`, which prints on stdout what these rows say. */
export function helpOf(commands: Commands): Command {
  return async ({ line }) => {
    const [word] = line.words;
    const columns = helpColumns(process.stdout);
    const text = word === undefined
      ? generalHelp(commands, columns)
      : isCommandOf(commands, word)
      ? commandHelp(commands, word, columns)
      : await (await import("./plugin_help.ts")).pluginHelp(word, columns);
    process.stdout.write(text);
    return 0;
  };
}

/** `taskmaster version`. */
export async function showVersion(): Promise<number> {
  process.stdout.write(`taskmaster ${version}\n`);
  return 0;
}
