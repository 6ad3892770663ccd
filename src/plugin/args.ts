import { UsageError } from "../lib/errors.ts";
import { printable, suggest } from "../lib/text.ts";
import type { AnyPlugin, Arg, ArgTexts, ArgValues } from "./types.ts";

/** Reads a text as an argument of one type; undefined if it is none. */
type Reader = Readonly<{
  read(text: string, row: Arg): string | number | boolean | undefined;
  /** What it takes, behind "takes". */
  expected(row: Arg): string;
  /** What stands for the value in help. */
  value(row: Arg): string;
}>;

/** The plugin whose arguments they are, and what it is called. */
type Loaded = Readonly<{
  plugin: Pick<AnyPlugin, "args">;
  name: string;
  path: string;
  exportName: string;
  isWhole?: boolean;
}>;

/** The types that an argument may have. */
export const argTypes: Readonly<Record<NonNullable<Arg["type"]>, Reader>> = {
  string: {
    read: (text) => text,
    expected: () => "any text",
    value: () => "TEXT",
  },
  number: {
    read: (text) => /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? finite(Number(text)) : undefined,
    expected: () => "a number, such as 0.5",
    value: () => "NUMBER",
  },
  integer: {
    read: (text) => /^[+-]?\d+$/.test(text) ? safeInteger(Number(text)) : undefined,
    expected: () => `an integer between -(2^53 - 1) and 2^53 - 1, in digits`,
    value: () => "INTEGER",
  },
  boolean: {
    read: (text) => text === "true" ? true : text === "false" ? false : undefined,
    expected: () => "true or false",
    value: () => "true|false",
  },
  choice: {
    read: (text, { choices = [] }) => choices.includes(text) ? text : undefined,
    expected: ({ choices = [] }) => `one of ${choices.join(", ")}`,
    value: ({ choices = [] }) => choices.join("|"),
  },
};

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

function safeInteger(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * Refuses arguments that the plugin's `args` export does not take. Without that export all are taken.
 *
 * @throws {UsageError} for a name that it does not have, one that is required and missing, and a value of another type.
 */
export function refuseArgs({ plugin, path, name, exportName, isWhole }: Loaded, texts: ArgTexts): void {
  const rows = plugin.args;
  if (rows === undefined) return;
  const known = Object.keys(rows);
  const help = `See \`taskmaster help ${isWhole ? `${path}:${exportName}` : path}\`.`;
  const unknown = Object.keys(texts).find((typed) => !Object.hasOwn(rows, typed));
  if (unknown !== undefined) {
    const meant = suggest(unknown, known);
    const hint = meant === undefined ? "" : ` Did you mean ${meant}?`;
    throw new UsageError(
      `The plugin ${name} has no argument "${printable(unknown, 60)}".${hint} ${help}`,
    );
  }
  try {
    argValues(plugin, texts);
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${error.message} ${help}`) : error;
  }
}

/**
 * What `ctx.args` is: the arguments as the plugin's `args` export reads them, with its defaults; without that export,
 * as they were typed. Names that it does not have are left out: a slave may run another export than its master.
 *
 * @throws {UsageError} if one is required and missing, or of another type.
 */
export function argValues({ args: rows }: Pick<AnyPlugin, "args">, texts: ArgTexts): ArgValues {
  if (rows === undefined) return texts;
  const values = Object.entries(rows).map(([name, row]) =>
    [name, Object.hasOwn(texts, name) ? valueOf(name, row, texts[name]!) : defaultOf(name, row)] as const
  );
  return Object.freeze(Object.fromEntries(values));
}

function valueOf(name: string, row: Arg, text: string): ArgValues[string] {
  const type = argTypes[row.type ?? "string"];
  const value = type.read(text, row);
  if (value !== undefined) return value;
  const meant = suggest(text, row.choices ?? []);
  const hint = meant === undefined ? "" : ` Did you mean ${name}=${meant}?`;
  throw new UsageError(
    `The argument ${name} takes ${type.expected(row)}, not "${printable(text, 60)}".${hint}`,
  );
}

function defaultOf(name: string, row: Arg): ArgValues[string] {
  if (row.required !== true) return row.default;
  const help = row.help === undefined ? "" : ` (${printable(row.help)})`;
  throw new UsageError(
    `The argument ${name}${help} is missing: write ${name}=${
      argTypes[row.type ?? "string"].value(row)
    } behind the plugin.`,
  );
}

/** The arguments that tell one run from another: all but those with `identity: false`. */
export function identityArgs({ args: rows }: Pick<AnyPlugin, "args">, texts: ArgTexts): ArgTexts {
  if (rows === undefined) return texts;
  return Object.fromEntries(Object.entries(texts).filter(([name]) => rows[name]?.identity !== false));
}
