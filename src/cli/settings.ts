import { PluginError, UsageError } from "../lib/errors.ts";
import { printable, suggest } from "../lib/text.ts";
import type { Address } from "../lib/units.ts";
import type { CommandLine } from "./command.ts";
import { type Kind, type KindRow, kinds, type ValueOf } from "./kinds.ts";
import {
  type CommandName,
  type FieldsOf,
  hostDefault,
  isClient,
  type Option,
  type OptionName,
  optionRows,
  options,
  optionsOf,
  type Readers,
  type Settings,
} from "./options.ts";

type Value = ValueOf<Kind>;

export type Environment = Readonly<Record<string, string | undefined>>;
type PluginOptions = Readonly<Record<string, unknown>>;

/**
 * The value of every option of a command: the flag's, else the environment's, else the plugin's, else the default.
 *
 * @throws {UsageError} if a flag or a variable has a bad value; {PluginError} if a plugin's option has.
 */
export function settle(line: CommandLine, env: Environment, plugin: PluginOptions = {}): Settings {
  refuseUnknownInPlugin(plugin);
  const settings: Partial<Record<OptionName, Value>> = {};
  for (const [name, option] of optionRows) {
    const value = option.commands[line.command] && choose(name, option, line, env, plugin);
    const settled = value ??
      (option.default === undefined ? absent(option) : read(option, option.default, line.command));
    if (settled !== undefined) settings[name] = settled;
  }
  return settings as Settings;
}

/** The part of the settings that a reader takes, under its own names. */
export function fieldsOf<R extends keyof Readers, S extends Partial<Settings>>(
  reader: R,
  settings: S,
): FieldsOf<R, S> {
  const fields = optionRows.flatMap(([name, { [reader]: field }]) =>
    field === undefined ? [] : [[field, settings[name]] as const]
  );
  return Object.fromEntries(fields) as FieldsOf<R, S>;
}

/** Settings given by a flag or the environment, without defaults. @throws {UsageError} */
export function given(line: CommandLine, env: Environment): Partial<Settings> {
  const settings: Partial<Record<OptionName, Value>> = {};
  for (const [name, option] of optionsOf(line.command)) {
    const value = choose(name, option, line, env, {});
    if (value !== undefined) settings[name] = value;
  }
  return settings as Partial<Settings>;
}

function choose(
  name: OptionName,
  option: Option,
  line: CommandLine,
  env: Environment,
  plugin: PluginOptions,
): Value | undefined {
  const flag = line.flags[name];
  if (typeof flag === "boolean") return flag;
  if (flag !== undefined) {
    return read(option, flag, line.command) ??
      fail(usage(`--${name}`, flag, option, `--${name}=${option.example}`));
  }
  const variable = environmentName(name, line.command);
  const text = variable === undefined ? undefined : env[variable];
  // An empty variable is how many tools unset one.
  if (text !== undefined && text !== "") {
    return read(option, text, line.command) ??
      fail(usage(variable!, text, option, `${variable}=${option.example ?? "1"}`));
  }
  const own = option.inPlugin ? plugin[name] : undefined;
  return own === undefined ? undefined : readPlugins(name, option, own, line.command);
}

/** In a plugin, a duration or a size may be a bare number: milliseconds or bytes. */
function readPlugins(name: OptionName, option: Option, own: unknown, command: CommandName): Value {
  const text = typeof own === "number" && (option.kind === "duration" || option.kind === "pace")
    ? `${own}ms`
    : String(own);
  const form = `${name}: ${JSON.stringify(option.example)}`;
  const value = typeof own === "object" || typeof own === "function"
    ? undefined
    : read(option, text, command);
  return value ?? fail(new PluginError(sentence(`The plugin's option "${name}"`, text, option, form)));
}

function read(option: Option, text: string, command: CommandName): Value | undefined {
  const value = kindRow(option).read(text, option, hostDefault(command)) as Value | undefined;
  const isNowhere = isClient(command) && option.kind === "address" &&
    (value as Address | undefined)?.port === 0;
  return isNowhere ? undefined : value;
}

function kindRow({ kind }: Option): KindRow {
  return kinds[kind];
}

function absent(option: Option): Value | undefined {
  return option.kind === "switch" ? false : undefined;
}

function usage(who: string, text: string, option: Option, example: string): UsageError {
  return new UsageError(sentence(who, text, option, example));
}

function sentence(who: string, text: string, option: Option, example: string): string {
  const { form, hint } = kindRow(option);
  const meant = hint?.(text);
  return `${who} cannot be "${printable(text, 80)}": it takes ${form(option)}, such as ${
    example.replace(/\.$/, "")
  }.${meant === undefined ? "" : ` ${meant}`}`;
}

function fail(error: Error): never {
  throw error;
}

function refuseUnknownInPlugin(plugin: PluginOptions): void {
  const known = optionRows.filter(([, option]) => option.inPlugin).map(([name]) => name as string);
  const odd = Object.keys(plugin).find((name) => !known.includes(name));
  if (odd === undefined) return;
  const meant = suggest(odd, known);
  const hint = meant === undefined ? `It may hold ${known.join(", ")}.` : `Did you mean "${meant}"?`;
  throw new PluginError(
    `The plugin's \`options\` export holds "${
      printable(odd, 60)
    }", which is no option a plugin can set. ${hint}`,
  );
}

const prefix = "TASKMASTER_";
/** Variables that processes of this program pass to each other: neither settings nor typos. */
const internal: readonly string[] = ["GENERATION", "PARENT", "TUNED"].map((name) => prefix + name);

/** The variable that sets an option for a command. */
export function environmentName(name: OptionName, command: CommandName): string | undefined {
  const { once, commands }: Option = options[name];
  const own = commands[command]?.variable;
  return once || own === null ? undefined : own ?? variableOf(name);
}

/** Every variable that sets one of these options for some command. */
function variablesOf(rows: typeof optionRows): string[] {
  return rows.flatMap(([name, { commands }]) =>
    (Object.keys(commands) as CommandName[]).flatMap((command) => environmentName(name, command) ?? [])
  );
}

/** What the slave of a `run` has of it: flags as the run's were; the rest comes by the environment, but for these. */
export function localSlaveSettings(
  { flags }: CommandLine,
): Readonly<{ flags: readonly string[]; without: readonly string[] }> {
  const inherits = ([, { localSlave }]: (typeof optionRows)[number]) => localSlave === true;
  const rows = optionsOf("slave");
  return {
    flags: rows.filter((row) => inherits(row) && flags[row[0]] !== undefined)
      .map(([name]) => `--${name}=${flags[name]}`),
    without: variablesOf(rows.filter((row) => !inherits(row))),
  };
}

/** A sentence for each variable that looks like a setting and is none: it would be ignored without a word. */
export function oddVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = [...variablesOf(optionRows), "TASKMASTER_TOKEN"];
  return Object.keys(env).filter((name) => name.toUpperCase().startsWith(prefix))
    .filter((name) => !known.includes(name) && !internal.includes(name)).sort()
    .map((name) => oddVariable(name, known));
}

/** Values are not shown: they may be secrets. */
function oddVariable(name: string, known: readonly string[]): string {
  const typed = name.slice(prefix.length).toLowerCase();
  const flag = optionRows.find(([option, { once }]) => once && variableOf(option) === name.toUpperCase());
  if (flag !== undefined) {
    return `${name} is ignored: --${flag[0]} is for one start, and counts as a flag only.`;
  }
  const meant = suggest(typed, known.map((other) => other.slice(prefix.length).toLowerCase()));
  const hint = meant === undefined
    ? " See `taskmaster help run` for those there are."
    : ` Did you mean ${prefix}${meant.toUpperCase()}?`;
  return `The variable ${printable(name, 80)} is no setting, and is ignored.${hint}`;
}

function variableOf(name: OptionName): string {
  return prefix + name.toUpperCase().replaceAll("-", "_");
}
