import { isIP } from "node:net";
import { parseFingerprint } from "../lib/bytes.ts";
import { PluginError, UsageError } from "../lib/errors.ts";
import { printable } from "../lib/text.ts";
import { type Address, parseAddress, parseDuration, parseSize } from "../lib/units.ts";
import { checkKey } from "../state/disk.ts";
import type { CommandLine } from "./command.ts";
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
import { suggest } from "./suggest.ts";

type Value = boolean | number | string | Address | Uint8Array | readonly string[];

/**
 * Reads one option's value; undefined if the text is not of the option's form.
 *
 * @throws {UsageError} naming the rule, if it is a key that breaks it.
 */
function readValue(option: Option, text: string, hostMissing: Address): Value | undefined {
  switch (option.kind) {
    case "switch":
      return readSwitch(text);
    case "text":
      return text === "" || text.includes("\0") ? undefined : text;
    case "key":
      checkKey(text);
      return text;
    case "choice":
      return option.choices?.includes(text) ? text : undefined;
    case "address":
      return isNumber(text) ? undefined : parseAddress(text, hostMissing);
    case "pin":
      return parseFingerprint(text);
    case "hosts":
      return readHosts(text);
    case "count":
      return within(option, Number.MAX_SAFE_INTEGER, /^\d{1,15}$/.test(text) ? Number(text) : undefined);
    case "duration":
      return within(option, msMax, parseDuration(text));
    case "pace":
      return text === "auto" ? text : within(option, msMax, parseDuration(text));
    case "size":
      return within(option, Number.MAX_SAFE_INTEGER, parseSize(text));
  }
}

/** What a value of this option looks like, as the end of "takes ...". */
function expectedForm(option: Option): string {
  switch (option.kind) {
    case "switch":
      return "nothing, true or false";
    case "text":
      return "a path";
    case "key":
      return "1 to 64 letters, digits, dots, dashes and underscores, of which the first is a letter or a digit";
    case "choice":
      return `one of ${option.choices?.join(", ")}`;
    case "address":
      return "a host, a port or both: h, :p, h:p or [v6]:p";
    case "pin":
      return "the SHA-256 fingerprint of a certificate, as a master prints it (64 hex digits), or in base64";
    case "hosts":
      return "names or addresses of hosts, with commas in between";
    case "count":
      return option.max === undefined
        ? `a whole number of at least ${option.min ?? 0}`
        : `a whole number from ${option.min ?? 0} to ${option.max}`;
    case "duration":
      return `a duration from ${option.min ?? 0}ms to ${msMax / 86_400_000}d, with its unit (ms, s, m, h, d)`;
    case "pace":
      return `auto, or ${expectedForm({ ...option, kind: "duration" })}`;
    case "size":
      return `a size of at least ${option.min ?? 0}, in bytes, KiB, MiB or GiB`;
  }
}

/** More on what was meant, as a sentence behind the others; empty if nothing can be guessed. */
function hintOn(option: Option, text: string): string {
  if (option.kind !== "address") return "";
  if (isNumber(text)) return ` A port alone is written :${text}.`;
  return text.endsWith(":0") ? " Port 0, for any free one, is for masters only." : "";
}

/** Undefined if one of them is no host. */
function readHosts(text: string): readonly string[] | undefined {
  const hosts = text.split(",").map((host) => host.trim());
  const isHost = (host: string) =>
    isIP(host) !== 0 || (host.length <= 253 && /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/i.test(host));
  return hosts.every(isHost) ? hosts : undefined;
}

/** A host of digits is an address in a form that nobody means. */
function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}

/** In whole days, the longest timer that every runtime keeps (2^31 ms): a longer one fires at once. */
const msMax = 24 * 86_400_000;

function within({ min = 0, max }: Option, maxOfAll: number, value: number | undefined): number | undefined {
  return value !== undefined && value >= min && value <= (max ?? maxOfAll) ? value : undefined;
}

function readSwitch(text: string): boolean | undefined {
  if (/^(?:1|true|yes|on)$/i.test(text)) return true;
  return /^(?:0|false|no|off)$/i.test(text) ? false : undefined;
}

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

/** What a flag or the environment says, and no default. @throws {UsageError} */
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
  const value = readValue(option, text, hostDefault(command));
  const isNowhere = isClient(command) && option.kind === "address" &&
    (value as Address | undefined)?.port === 0;
  return isNowhere ? undefined : value;
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

const prefix = "TASKMASTER_";
/** What processes of this program tell each other: neither settings nor mistyped. */
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
