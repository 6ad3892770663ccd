import { printable } from "../base/printable.ts";
import { type CommandName, type OptionName, optionRows } from "./options.ts";
import { suggest } from "./suggest.ts";

/** For one start only: left in the environment, it would start every resume over. */
const flagsOnly: readonly OptionName[] = ["reset", "force"];
const prefix = "TASKMASTER_";
/** What processes of this program tell each other: neither settings nor mistyped. */
const internal: readonly string[] = ["GENERATION", "PARENT", "TUNED"].map((name) => prefix + name);

/** The variable that sets an option for a command. */
export function environmentName(name: OptionName, command: CommandName): string | undefined {
  if (flagsOnly.includes(name)) return undefined;
  if (name === "host") {
    return command === "master" ? "TASKMASTER_LISTEN" : command === "run" ? undefined : "TASKMASTER_HOST";
  }
  return variableOf(name);
}

/** A sentence for each variable that looks like a setting and is none: it would be ignored without a word. */
export function oddVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = settingNames();
  return Object.keys(env).filter((name) => name.toUpperCase().startsWith(prefix))
    .filter((name) => !known.includes(name) && !internal.includes(name)).sort()
    .map((name) => oddVariable(name, known));
}

/** Values are not shown: they may be secrets. */
function oddVariable(name: string, known: readonly string[]): string {
  const typed = name.slice(prefix.length).toLowerCase();
  const flag = flagsOnly.find((option) => variableOf(option) === name.toUpperCase());
  if (flag !== undefined) return `${name} is ignored: --${flag} is for one start, and counts as a flag only.`;
  const meant = suggest(typed, known.map((other) => other.slice(prefix.length).toLowerCase()));
  const hint = meant === undefined
    ? " See `taskmaster help run` for those there are."
    : ` Did you mean ${prefix}${meant.toUpperCase()}?`;
  return `The variable ${printable(name, 80)} is no setting, and is ignored.${hint}`;
}

/** Every variable that sets something for some command. */
function settingNames(): string[] {
  const ofOptions = optionRows.flatMap(([name, { commands }]) =>
    commands.map((command) => environmentName(name, command) ?? [])
  ).flat();
  return [...new Set([...ofOptions, "TASKMASTER_TOKEN"])];
}

function variableOf(name: OptionName): string {
  return prefix + name.toUpperCase().replaceAll("-", "_");
}
