import { printable } from "../../lib/text.ts";
import { argTypes } from "../../plugin/args.ts";
import { type LoadedPlugin, loadPlugin, splitPluginWord } from "../../plugin/load_plugin.ts";
import type { Arg } from "../../plugin/types.ts";
import { table, wrap } from "../../terminal/text_width.ts";
import { redirectConsole } from "../plugin_console.ts";

/** Longest help of an argument, in characters. */
const helpCharsMax = 1_000;
/** Longest line that a plugin prints while it is loaded. */
const consoleCharsMax = 10_000;

/** Loads a plugin, and says what a person may write behind it, in lines of at most so many columns. */
export async function pluginHelp(word: string, columns: number): Promise<string> {
  redirectConsole((line) => process.stderr.write(`${printable(line, consoleCharsMax)}\n`));
  const { path, exportName } = splitPluginWord(word);
  const loaded = await loadPlugin(path, exportName, "help");
  return [
    ...wrap(
      `The plugin ${printable(loaded.name)} exports ${Object.keys(loaded.plugin).join(", ") || "nothing"}.`,
      columns,
    ),
    "",
    ...argLines(loaded, columns),
    ...optionLines(loaded, columns),
    "",
  ].join("\n");
}

/** Its arguments, a row each; where it has no `args`, that any is taken. */
function argLines({ plugin: { args } }: LoadedPlugin, columns: number): readonly string[] {
  if (args === undefined) {
    return wrap("It has no `args` export: any name=value words reach it, as texts in ctx.args.", columns);
  }
  const rows = Object.entries(args).map(([name, row]) =>
    [`${name}=${printable(argTypes[row.type ?? "string"].value(row), helpCharsMax)}`, argHelp(row)] as const
  );
  return rows.length === 0
    ? ["It takes no arguments."]
    : ["Arguments, behind the plugin:", ...table(rows, columns)];
}

function argHelp({ help, required, default: standard, identity }: Arg): string {
  return [
    ...(help === undefined ? [] : [printable(help, helpCharsMax)]),
    ...(required === true ? ["(required)"] : []),
    ...(standard === undefined ? [] : [`(default: ${printable(String(standard))})`]),
    ...(identity === false ? ["(may differ when the run is resumed)"] : []),
  ].join(" ");
}

/** The defaults that it sets for options. */
function optionLines({ options }: LoadedPlugin, columns: number): readonly string[] {
  const set = Object.entries(options).map(([name, value]) =>
    printable(value === true ? `--${name}` : `--${name}=${value}`)
  );
  return set.length === 0 ? [] : ["", ...wrap(`Its options: ${set.join(" ")}`, columns)];
}
