import leven from "leven";
import { basename } from "node:path";
import { PluginError } from "../lib/errors.ts";
import { isArgName, suggest } from "../lib/text.ts";
import { argTypes } from "./args.ts";
import { handlerKinds, sourceKinds } from "./kinds.ts";
import type { AnyPlugin, Arg, ArgRows } from "./types.ts";

/** What a plugin is loaded for; `both` is `taskmaster run`, `help` is to be told of whatever it exports. */
export type Side = "master" | "slave" | "both" | "help";

/** Exports of which a plugin needs one, each with what it promises. */
type Choice = Readonly<Record<string, Readonly<{ contract: string }>>>;

const needed: Readonly<Record<Side, readonly Choice[]>> = {
  master: [sourceKinds],
  slave: [handlerKinds],
  both: [sourceKinds, handlerKinds],
  help: [],
};

/** Exports that are functions beside those, each once: one without a row does not compile. */
const others: Readonly<
  Record<
    Exclude<keyof AnyPlugin, keyof typeof sourceKinds | keyof typeof handlerKinds | "options" | "args">,
    true
  >
> = {
  cursor: true,
  setup: true,
  teardown: true,
  onFinish: true,
  throttle: true,
};

const functionNames = [
  ...needed.both.flatMap((choice) => Object.keys(choice)),
  ...Object.keys(others),
];

const knownNames: readonly string[] = [...functionNames, "options", "args"];

/** A name with a larger edit distance to every known name is another word, not a typo. */
const typoDistanceMax = 2;

type Members = Readonly<Record<string, unknown>>;

/**
 * Takes a plugin out of what its module exports, and checks it.
 *
 * @throws {PluginError} naming what was found instead.
 */
export function pickPlugin(
  exports: Members,
  exportName: string | undefined,
  side: Side,
  path: string,
): AnyPlugin {
  const members = exportName === undefined
    ? defaultMembers(exports)
    : namedMembers(exports, exportName, side, path);
  const plugin: Record<string, unknown> = {};
  for (const name of functionNames) {
    const value = members[name];
    if (value === undefined) continue;
    if (typeof value !== "function" || isClass(value)) {
      throw wrong(path, `\`${name}\` is ${kindOf(value)}, not a function`, members);
    }
    plugin[name] = value;
  }
  const missing = needed[side].filter((choice) => !hasOneOf(plugin, choice));
  if (missing.length > 0) throw lacks(path, missing, members);
  if (members.args !== undefined) plugin.args = checkRows(members.args, path, members);
  if (members.options !== undefined) plugin.options = checkOptions(members.options, path, members);
  return plugin as AnyPlugin;
}

/** The module's exports, over those of its default export: a named export wins. */
function defaultMembers(exports: Members): Members {
  return isObject(exports.default) ? { ...membersOf(exports.default), ...definedIn(exports) } : exports;
}

/** A named function stands in for `getJobs` or `handleJob`; a named object stands for itself, alone. */
function namedMembers(exports: Members, exportName: string, side: Side, path: string): Members {
  const value = exports[exportName];
  if (isObject(value)) return membersOf(value);
  if (typeof value !== "function") throw notThere(exports, exportName, value, path);
  if (side === "help") return defaultMembers(exports);
  if (side === "both") {
    throw new PluginError(
      `Cannot use the plugin ${path}: \`${exportName}\` is a function, and \`run\` needs an object with getJobs ` +
        `and handleJob. Give it no export name, or start \`master\` and \`slave\` with one each.`,
    );
  }
  return { ...defaultMembers(exports), [side === "master" ? "getJobs" : "handleJob"]: value };
}

/** An object's members, its methods bound to it, so that a class instance works too. */
function membersOf(object: Members): Members {
  const members: Record<string, unknown> = {};
  for (const name of new Set([...Object.keys(object), ...knownNames])) {
    const value = object[name];
    if (value === undefined) continue;
    members[name] = typeof value === "function" ? value.bind(object) : value;
  }
  return members;
}

function definedIn(exports: Members): Members {
  return Object.fromEntries(Object.entries(exports).filter(([, value]) => value !== undefined));
}

function checkOptions(options: unknown, path: string, members: Members): NonNullable<AnyPlugin["options"]> {
  if (!isObject(options)) throw wrong(path, `\`options\` is ${kindOf(options)}, not an object`, members);
  for (const [name, value] of Object.entries(options)) {
    if (["string", "number", "boolean"].includes(typeof value)) continue;
    const found = `\`options["${name}"]\` is ${kindOf(value)}, not a string, number or boolean`;
    throw wrong(path, found, members);
  }
  return options as NonNullable<AnyPlugin["options"]>;
}

function checkRows(rows: unknown, path: string, members: Members): ArgRows {
  if (!isObject(rows)) throw wrong(path, `\`args\` is ${kindOf(rows)}, not an object`, members);
  for (const [name, row] of Object.entries(rows)) {
    const found = faultOfRow(name, row);
    if (found !== undefined) throw wrong(path, `\`args["${name}"]\` ${found}`, members);
  }
  return rows as ArgRows;
}

/** What each field of a row must be, as `typeof` says it; those of one type of argument alone are checked beside it. */
const rowFields: Readonly<Record<keyof Arg, string | undefined>> = {
  type: "string",
  choices: undefined,
  default: undefined,
  required: "boolean",
  help: "string",
  identity: "boolean",
};

/** What is wrong with a row of `args`, behind its name; undefined if nothing is. */
function faultOfRow(name: string, row: unknown): string | undefined {
  if (!isArgName(name)) {
    return "is a name that cannot be typed: letters, digits, `_`, `.` and `-`, a letter first";
  }
  if (!isObject(row)) return `is ${kindOf(row)}, not an object such as { type: "integer", default: 10 }`;
  for (const [field, value] of Object.entries(row)) {
    if (!Object.hasOwn(rowFields, field)) {
      const near = suggest(field, Object.keys(rowFields));
      return `has a field \`${field}\`, which means nothing${
        near === undefined ? "" : `: is \`${near}\` meant?`
      }`;
    }
    const type = rowFields[field as keyof Arg];
    if (type !== undefined && value !== undefined && typeof value !== type) {
      return `has \`${field}\`, which is ${kindOf(value)}, not a ${type}`;
    }
  }
  return faultOfType(row as Arg);
}

function faultOfType(row: Arg): string | undefined {
  const { type = "string", choices, default: standard, required } = row;
  if (!Object.hasOwn(argTypes, type)) {
    return `has the type "${type}"; an argument is one of ${Object.keys(argTypes).join(", ")}`;
  }
  if ((type === "choice") !== (choices !== undefined)) return 'needs `type: "choice"` and `choices` together';
  const isList = Array.isArray(choices) && choices.length > 0 &&
    choices.every((text) => typeof text === "string");
  if (choices !== undefined && !isList) return "has `choices` that are no array of texts";
  if (standard === undefined) return undefined;
  if (required === true) return "is required, and has a default all the same";
  return argTypes[type].read(String(standard), row) === standard
    ? undefined
    : `has a default that is not ${argTypes[type].expected(row)}`;
}

function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrong(path: string, found: string, members: Members): PluginError {
  return new PluginError(`Cannot use the plugin ${path}: ${found}. ${listOf(members)}`);
}

function lacks(path: string, missing: readonly Choice[], members: Members): PluginError {
  const names = missing.map((choice) => Object.keys(choice));
  const hints = names.flat().map((name) => nearest(name, members)).filter((hint) => hint !== undefined);
  const whole = Object.keys(members).find((name) => hasAll(members[name], missing));
  const contracts = missing.map((choice) =>
    Object.values(choice).map(({ contract }) => contract).join(", or ")
  );
  const meant = hints.length > 0
    ? ` Is ${hints.join(", and ")} meant?`
    : whole !== undefined
    ? ` Is the plugin \`${whole}\` meant? Write \`${basename(path)}:${whole}\`.`
    : ` Export ${contracts.join(", and ")}.`;
  const found = `it lacks ${
    names.map((choice) => choice.map((name) => `\`${name}\``).join(" or ")).join(" and ")
  }`;
  return new PluginError(`Cannot use the plugin ${path}: ${found}. ${listOf(members)}${meant}`);
}

function hasAll(value: unknown, choices: readonly Choice[]): boolean {
  return isObject(value) && choices.every((choice) => hasOneOf(value, choice));
}

function hasOneOf(members: Members, choice: Choice): boolean {
  return Object.keys(choice).some((name) => typeof members[name] === "function");
}

function notThere(exports: Members, exportName: string, value: unknown, path: string): PluginError {
  const found = value === undefined
    ? `it has no export \`${exportName}\``
    : `\`${exportName}\` is ${kindOf(value)}`;
  const near = nearestOf(exportName, Object.keys(exports));
  const meant = value === undefined && near !== undefined ? ` Is \`${near}\` meant?` : "";
  return new PluginError(`Cannot use the plugin ${path}: ${found}. ${listOf(exports)}${meant}`);
}

/**
 * Exports that look like a misspelt optional one, as sentences: they are never called, which is easy to miss.
 */
export function hintsOf(exports: Members): readonly string[] {
  const hints: string[] = [];
  for (const name of Object.keys(exports)) {
    if (knownNames.includes(name)) continue;
    const near = knownNames.find((known) => leven(known.toLowerCase(), name.toLowerCase()) <= 1);
    if (near !== undefined && exports[near] === undefined) {
      hints.push(`The plugin's export \`${name}\` is not used: is \`${near}\` meant?`);
    }
  }
  return hints;
}

function nearest(name: string, members: Members): string | undefined {
  const others = Object.keys(members).filter((other) => !knownNames.includes(other));
  const near = nearestOf(name, others);
  return near && `\`${near}\` (for \`${name}\`)`;
}

function nearestOf(name: string, others: readonly string[]): string | undefined {
  const far = (other: string) => leven(name.toLowerCase(), other.toLowerCase());
  return others.filter((other) => far(other) <= typoDistanceMax).sort((a, b) => far(a) - far(b))[0];
}

function listOf(members: Members): string {
  const names = Object.entries(members).map(([name, value]) => `${name} (${kindOf(value)})`);
  return names.length > 0 ? `Found: ${names.join(", ")}.` : "It exports nothing.";
}

/** Whether a function is a class, which only `new` may call. */
// deno-lint-ignore ban-types
function isClass(value: Function): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value));
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "object") return "an object";
  if (typeof value === "function" && isClass(value)) return "a class";
  return typeof value === "undefined" ? "undefined" : `a ${typeof value}`;
}
