/** What `parseArgs` takes; a subset in types, the whole in behaviour, of the original's options. */
export interface ParseOptions {
  /** When true, words behind `--` come as `["--"]` and not in `_`. */
  "--"?: boolean;
  alias?: Readonly<Record<string, string | readonly string[]>>;
  boolean?: boolean | string | readonly string[];
  default?: Readonly<Record<string, unknown>>;
  /** When true, everything behind the first word that is no flag goes to `_` unread. */
  stopEarly?: boolean;
  string?: string | readonly string[];
  /** Flags whose values are gathered in an array; of any other repeated flag the last value counts. */
  collect?: string | readonly string[];
  /** Flags that `--no-<flag>` sets to false. */
  negatable?: string | readonly string[];
  /** Called with each flag that is not listed above, and with each word; false leaves it out. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** Flags by name, and the words that are no flags. */
// deno-lint-ignore no-explicit-any
export type Args = Record<string, any> & {
  _: (string | number)[];
  "--"?: string[];
};

/** Reads a command line. */
export function parseArgs(
  args: readonly string[],
  options?: ParseOptions,
): Args;
