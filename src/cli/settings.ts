import type { Address } from "../base/address.ts";
import { PluginError, UsageError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { environmentName } from "./environment_name.ts";
import type { CommandLine } from "./invocation.ts";
import { type CommandName, type Option, type OptionName, optionRows, type Settings } from "./options.ts";
import { expectedForm, hintOn, readValue, type Value } from "./read_value.ts";
import { suggest } from "./suggest.ts";

export type Environment = Readonly<Record<string, string | undefined>>;
export type PluginOptions = Readonly<Record<string, unknown>>;

/** What `--host` leaves out. A master listens on every address; whoever connects does so to this machine. */
export function hostDefault(command: CommandName): Address {
  return { host: command === "master" ? "0.0.0.0" : "127.0.0.1", port: 5050 };
}

/**
 * The value of every option of a command: the flag's, else the environment's, else the plugin's, else the default.
 *
 * @throws {UsageError} if a flag or a variable has a bad value; {PluginError} if a plugin's option has.
 */
export function settle(line: CommandLine, env: Environment, plugin: PluginOptions = {}): Settings {
  refuseUnknownInPlugin(plugin);
  const settings: Partial<Record<OptionName, Value>> = {};
  for (const [name, option] of optionRows) {
    const value = option.commands.includes(line.command)
      ? choose(name, option, line, env, plugin)
      : undefined;
    const settled = value ??
      (option.default === undefined ? absent(option) : read(option, option.default, line.command));
    if (settled !== undefined) settings[name] = settled;
  }
  return settings as Settings;
}

/** What a flag or the environment says, and no default. @throws {UsageError} */
export function given(line: CommandLine, env: Environment): Partial<Settings> {
  const settings: Partial<Record<OptionName, Value>> = {};
  for (const [name, option] of optionRows) {
    const value = option.commands.includes(line.command) ? choose(name, option, line, env, {}) : undefined;
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
  const value = readValue(option, text, hostDefault(command));
  // Whoever connects needs to know where to.
  return option.kind === "address" && command === "slave" && (value as Address | undefined)?.port === 0
    ? undefined
    : value;
}

function absent(option: Option): Value | undefined {
  return option.kind === "switch" ? false : undefined;
}

function usage(who: string, text: string, option: Option, example: string): UsageError {
  return new UsageError(sentence(who, text, option, example));
}

function sentence(who: string, text: string, option: Option, example: string): string {
  return `${who} cannot be "${printable(text, 80)}": it takes ${expectedForm(option)}, such as ${
    example.replace(/\.$/, "")
  }.${hintOn(option, text)}`;
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
