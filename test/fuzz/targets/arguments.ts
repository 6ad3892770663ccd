import type { CommandLine } from "../../../src/cli/command.ts";
import { checkWords, readCommandLine, readPluginWords } from "../../../src/cli/command_line.ts";
import { commandNames, commands } from "../../../src/cli/commands.ts";
import { type Option, optionRows } from "../../../src/cli/options.ts";
import { runName } from "../../../src/cli/run_name.ts";
import { environmentName, settle } from "../../../src/cli/settings.ts";
import { UsageError } from "../../../src/lib/errors.ts";
import { amplifyBytes, mutateBytes } from "../mutate.ts";
import { must, outcomeOf, quietly, type Target } from "../target.ts";
import { faultOfShown, toInput, wordsOf } from "./text.ts";

// Words: the environment as NAME=value up to an empty one, then the command line.

function readAll(input: Uint8Array): { line: CommandLine; values: Record<string, unknown>; plugin: unknown } {
  const words = wordsOf(input);
  const end = words.indexOf("");
  const env: Record<string, string> = Object.create(null);
  for (const word of words.slice(0, Math.max(0, end))) {
    const at = word.indexOf("=");
    env[word.slice(0, Math.max(0, at))] = word.slice(at + 1);
  }
  const line = readCommandLine(words.slice(end + 1));
  const values = settle(line, env);
  const row = commands[line.command];
  const plugin = "plugin" in row ? readPluginWords(line, row) : checkWords(line, row) ?? null;
  if (plugin !== null) runName(values, plugin.path);
  return { line, values, plugin };
}

const flags = optionRows.map(([name]) => `--${name}`);
const variables = optionRows.flatMap(([name]) => environmentName(name, "master") ?? []);
const dictionary = [
  ...commandNames,
  ...flags,
  ...variables,
  ...optionRows.flatMap(([, { example }]: readonly [string, Option]) => example ?? []),
  ..."\0 = -- --no- --__proto__ --constructor=1 --_=x -h -V a.ts a.ts:b x=1 __proto__=1 true false 1e3 0x10 NaN"
    .split(" "),
].map((text) => new TextEncoder().encode(text));

export const args: Target = {
  name: "arguments",
  subject: (input) => quietly(() => readAll(input)),
  check(input) {
    const read = outcomeOf(() => readAll(input), UsageError);
    must(Object.keys(Object.prototype).length === 0, "nothing is put into every object");
    if ("error" in read) {
      const { message } = read.error;
      const fault = faultOfShown(message);
      must(fault === null, `${fault}: ${JSON.stringify(message.slice(0, 300))}`);
      return message;
    }
    const { line, values } = read.value;
    for (const [name, option] of optionRows) {
      must(isOfKind(option, values[name]), `--${name} is ${JSON.stringify(values[name])}`);
    }
    return `${line.command}\n${JSON.stringify(read.value)}`;
  },
  seeds: () => {
    const examples = commandNames.flatMap((name) =>
      commands[name].examples.map(([words]) => words.split(" "))
    );
    const flagged = optionRows.flatMap(([name, option]: readonly [string, Option]) =>
      Object.keys(option.commands).map((
        command,
      ) => [command, "p.ts", option.example ? `--${name}=${option.example}` : `--${name}`])
    );
    const fromEnvironment = optionRows.flatMap(
      ([name, option]: readonly [Parameters<typeof environmentName>[0], Option]) => {
        const variable = environmentName(name, "master");
        return variable ? [[`${variable}=${option.example ?? "1"}`, "", "master", "p.ts"]] : [];
      },
    );
    return [[], ...examples, ...flagged, ...fromEnvironment].map(toInput);
  },
  mutate: (input, random, other) => mutateBytes(input, random, other, dictionary),
  amplify: amplifyBytes,
};

function isOfKind({ kind, min = 0, max = Number.MAX_SAFE_INTEGER }: Option, value: unknown): boolean {
  if (value === undefined) return true;
  switch (kind) {
    case "switch":
      return typeof value === "boolean";
    case "count":
    case "duration":
    case "size":
    case "pace":
      if (kind === "pace" && value === "auto") return true;
      return Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max;
    case "address": {
      const { host, port } = value as { host: unknown; port: number };
      return typeof host === "string" && host !== "" && Number.isInteger(port) && port >= 0 && port < 65_536;
    }
    case "hosts":
      return (value as unknown[]).every((host) => typeof host === "string" && host !== "");
    case "rate":
      return Number.isFinite(value) && (value as number) > 0;
    case "seqs":
      return (value as unknown[]).every((seq) => Number.isSafeInteger(seq) && (seq as number) >= 0);
    case "pin":
      return value instanceof Uint8Array && value.length === 32;
    default:
      return typeof value === "string" && value !== "" && !value.includes("\0");
  }
}
