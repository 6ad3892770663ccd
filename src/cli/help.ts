import { commandNames, commands } from "./commands.ts";
import { environmentName } from "./environment_name.ts";
import { type CommandName, type Option, type OptionName, optionRows } from "./options.ts";

const widthMax = 100;

/** The help of the whole program. */
export function generalHelp(): string {
  return [
    "taskmaster runs a function over every item of an iterator far too big for a queue, on many machines.",
    "",
    ...examples([
      ["run plugins/posts.ts", "everything on this machine"],
      ["master plugins/posts.ts", "hand jobs to slaves; says how they join"],
      ["slave plugins/posts.ts --host 10.0.0.5:5050", "on every other machine"],
    ]),
    "",
    "Commands:",
    ...table(
      commandNames.map((name) => [commands[name].usage.replace(" [options]", ""), commands[name].summary]),
    ),
    "",
    "Stop with Ctrl-C; the same command resumes. Options of a command: `taskmaster help run`.",
    "",
  ].join("\n");
}

/** The help of one command. */
export function commandHelp(command: CommandName): string {
  const row = commands[command];
  const own = optionRows.filter(([, option]) => option.commands.includes(command));
  return [
    `taskmaster ${command}: ${row.summary}`,
    "",
    ...examples(row.examples),
    "",
    `Usage: taskmaster ${row.usage}`,
    ...(own.length === 0 ? [] : ["", "Options:", ...table(own.map((entry) => optionHelp(entry, command)))]),
    ...(row.notes ?? []).flatMap((note) => ["", ...wrap(note, widthMax)]),
    ...(own.length === 0 || command === "token" ? [] : ["", ...wrap(forms(command), widthMax)]),
    "",
  ].join("\n");
}

function examples(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([words]) => words.length));
  return rows.map(([words, what]) => `  $ taskmaster ${words.padEnd(width)}   # ${what}`);
}

function optionHelp([name, option]: readonly [OptionName, Option], command: CommandName): [string, string] {
  const left = option.value === undefined ? `--${name}` : `--${name} ${option.value}`;
  const fallback = name === "host" ? hostText(command) : option.default ?? option.defaultText;
  return [left, option.help + (fallback === undefined ? "" : ` (default: ${fallback})`)];
}

function hostText(command: CommandName): string {
  if (command === "master") return "0.0.0.0:5050";
  return command === "run" ? "127.0.0.1:5050, or a free port if that is taken" : "127.0.0.1:5050";
}

function forms(command: CommandName): string {
  const host = environmentName("host", command);
  return "Durations: 500ms, 30s, 5m. Sizes: 64MiB. Every option but --reset and --force has an environment variable (--size-bytes: TASKMASTER_SIZE_BYTES" +
    `${
      host === undefined ? "" : `; --host: ${host}`
    }); a flag beats it, and it beats the plugin's \`options\`.`;
}

/** Two columns; the second wraps below itself. */
function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.min(42, Math.max(...rows.map(([left]) => left.length)));
  return rows.flatMap(([left, right]) => {
    const lines = wrap(right, widthMax - width - 5);
    const first = left.length > width ? [`  ${left}`] : [];
    const indent = (index: number) =>
      index === 0 && first.length === 0 ? left.padEnd(width) : "".padEnd(width);
    return [...first, ...lines.map((line, index) => `  ${indent(index)}   ${line}`)];
  });
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
