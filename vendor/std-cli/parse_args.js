// @ts-self-types="./parse_args.d.ts"
// A stand-in for `parseArgs` of @std/cli, over minimist, from which the original descends. Where the two part
// ways (`--no-x`, repeated flags, values that begin with a dash, `collect`), long flags are first spelled
// `--key=value` by the original's rules, and the result is put in its shape afterwards.
import minimist from "minimist";

export function parseArgs(args, options = {}) {
  const names = namesOf(options);
  const { words, rest, bare } = spellOut([...args], names, options);
  const parsed = minimist([...words, "--", ...rest], {
    "--": options["--"] ?? false,
    alias: options.alias ?? {},
    boolean: options.boolean === true ? true : [...names.boolean, ...bare],
    default: defaultsOf(options, names),
    stopEarly: options.stopEarly ?? false,
    string: [...names.string],
    // Long flags were asked about while they were spelled out.
    unknown: (
      arg,
    ) => (arg.startsWith("--") ? undefined : options.unknown?.(arg)),
  });
  shape(parsed, "", names.collect);
  for (const key of names.collect) if (!(key in parsed)) parsed[key] = [];
  return parsed;
}

function namesOf(options) {
  const aliases = new Map();
  for (const [key, value] of Object.entries(options.alias ?? {})) {
    const all = [key, ...[value].flat()];
    for (const name of all) aliases.set(name, all);
  }
  const set = (list) =>
    new Set(
      [list].flat().filter((x) => typeof x === "string" && x !== "").flatMap((
        x,
      ) => aliases.get(x) ?? [x]),
    );
  return {
    aliases,
    boolean: set(options.boolean ?? []),
    string: set(options.string ?? []),
    collect: set(options.collect ?? []),
    negatable: set(options.negatable ?? []),
  };
}

/** An alias of a boolean needs the boolean's default, or minimist makes both false. */
function defaultsOf(options, names) {
  const defaults = { ...options.default };
  for (const [key, value] of Object.entries(options.default ?? {})) {
    for (
      const name of names.boolean.has(key) ? names.aliases.get(key) ?? [] : []
    ) defaults[name] = value;
  }
  return defaults;
}

function spellOut(args, names, options) {
  const end = args.indexOf("--");
  const rest = end === -1 ? [] : args.slice(end + 1);
  const flags = end === -1 ? args : args.slice(0, end);
  const words = [], bare = [];
  for (let i = 0; i < flags.length; i++) {
    const arg = flags[i];
    const long = /^--(no-)?(.+?)(?:=(.*))?$/s.exec(arg);
    if (long === null) {
      words.push(arg);
      if (
        options.stopEarly && !arg.startsWith("-") &&
        !takesNext(flags[i - 1], names)
      ) {
        return { words: [...words, ...flags.slice(i + 1)], rest, bare };
      }
      continue;
    }
    const flag = readLong(long, flags[i + 1], names, options.boolean === true);
    if (flag.usedNext) i++;
    const isKnown = names.boolean.has(flag.key) || names.string.has(flag.key) ||
      names.aliases.has(flag.key) ||
      (options.boolean === true && !arg.includes("="));
    if (!isKnown && options.unknown?.(arg, flag.key, flag.value) === false) {
      continue;
    }
    if (typeof flag.value === "boolean" && !names.string.has(flag.key)) {
      bare.push(flag.key);
    }
    words.push(`--${flag.key}=${flag.value}`);
  }
  return { words, rest, bare };
}

function readLong([, negated, name, value], next, names, allBooleans) {
  const isBoolean = names.boolean.has(name);
  if (value !== undefined) {
    return { key: name, value: isBoolean ? value !== "false" : value };
  }
  if (negated && names.negatable.has(name)) return { key: name, value: false };
  const key = negated ? `no-${name}` : name;
  const takesValue = !names.boolean.has(key) && !allBooleans;
  if (next && takesValue && !next.startsWith("-")) {
    return { key, value: next, usedNext: true };
  }
  if (next === "true" || next === "false") {
    return { key, value: next === "true", usedNext: true };
  }
  return { key, value: names.string.has(key) ? "" : true };
}

/** Whether this word is a short flag that takes the word behind it. */
function takesNext(word, names) {
  return word !== undefined && /^-[^-]/.test(word) &&
    !names.boolean.has(word.at(-1));
}

/** Of a repeated flag the last value counts, unless it collects. */
function shape(object, path, collect) {
  for (const [key, value] of Object.entries(object)) {
    const name = path + key;
    if (name === "_" || name === "--") continue;
    if (collect.has(name)) object[key] = [value].flat();
    else if (Array.isArray(value)) object[key] = value.at(-1);
    else if (typeof value === "object" && value !== null) {
      shape(value, `${name}.`, collect);
    }
  }
}
