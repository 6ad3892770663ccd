import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** What of a tsconfig.json changes which code runs. Paths are absolute. */
export type Tsconfig = Readonly<{
  /** The file. */
  path: string;
  /** Patterns with at most one `*`, and what stands for them. */
  paths: Readonly<Record<string, readonly string[]>>;
  /** Undefined if bare names are not looked for in a folder. */
  baseUrl: string | undefined;
  experimentalDecorators: boolean;
}>;

/** Most files that extend each other. */
const extendsMax = 20;

/** The one that holds for the files of a folder: in it, or in the nearest folder above. Null if there is none. */
export function tsconfigFor(folder: string): Tsconfig | null {
  for (let at = folder;; at = dirname(at)) {
    const found = readTsconfig(join(at, "tsconfig.json"), 0);
    if (found !== null) return found;
    if (dirname(at) === at) return null;
  }
}

/** Null if it is not there, or cannot be read: then it holds for no runtime either. */
function readTsconfig(path: string, depth: number): Tsconfig | null {
  const json = parse(path);
  if (json === null) return null;
  const folder = dirname(path);
  const options = asRecord(json["compilerOptions"]);
  const base = baseOf(json["extends"], folder, depth);
  const baseUrl = typeof options["baseUrl"] === "string"
    ? resolve(folder, options["baseUrl"])
    : base?.baseUrl;
  const { paths, experimentalDecorators } = options;
  return {
    path,
    baseUrl,
    paths: paths === undefined ? base?.paths ?? {} : pathsIn(asRecord(paths), baseUrl ?? folder),
    experimentalDecorators: typeof experimentalDecorators === "boolean"
      ? experimentalDecorators
      : base?.experimentalDecorators ?? false,
  };
}

/** Of several that are extended the last one wins. Those in packages hold settings that do not matter here. */
function baseOf(names: unknown, folder: string, depth: number): Tsconfig | null {
  const last = [names].flat().findLast((name) => typeof name === "string" && /^\.{0,2}\//.test(name));
  if (typeof last !== "string" || depth >= extendsMax) return null;
  const path = resolve(folder, last);
  return readTsconfig(path, depth + 1) ?? readTsconfig(`${path}.json`, depth + 1);
}

function pathsIn(paths: Readonly<Record<string, unknown>>, folder: string): Tsconfig["paths"] {
  const entries = Object.entries(paths).map(([pattern, targets]) =>
    [
      pattern,
      [targets].flat().filter((target) => typeof target === "string").map((to) => resolve(folder, to)),
    ] as const
  );
  return Object.fromEntries(entries);
}

/** Comments and commas at the end are allowed. */
function parse(path: string): Record<string, unknown> | null {
  try {
    const text = readFileSync(path, "utf8").replace(/^\uFEFF/, "")
      .replace(/("(?:\\.|[^"\\])*")|\/\/[^\n]*|\/\*[^]*?\*\//g, (_, string) => string ?? "")
      .replace(/("(?:\\.|[^"\\])*")|,(?=\s*[}\]])/g, (_, string) => string ?? "");
    return asRecord(JSON.parse(text));
  } catch {
    return null;
  }
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

/** Where a bare name may lead by this file: the paths of the pattern that fits it best, then the base folder. */
export function pathsFor({ paths, baseUrl }: Tsconfig, name: string): string[] {
  const found = bestPattern(Object.keys(paths), name);
  const targets = found === null
    ? []
    : paths[found.pattern]!.map((target) => target.replace("*", found.star));
  return baseUrl === undefined ? targets : [...targets, join(baseUrl, name)];
}

/** `key` itself, or the pattern that has the longest beginning before its `*`; and what the `*` stands for. */
export function bestPattern(
  patterns: readonly string[],
  key: string,
): { pattern: string; star: string } | null {
  if (patterns.includes(key)) return { pattern: key, star: "" };
  let best: { pattern: string; star: string; length: number } | null = null;
  for (const pattern of patterns) {
    const [head = "", tail, ...more] = pattern.split("*");
    if (tail === undefined || more.length > 0 || key.length < head.length + tail.length) continue;
    if (!key.startsWith(head) || !key.endsWith(tail) || (best !== null && head.length <= best.length)) {
      continue;
    }
    best = { pattern, star: key.slice(head.length, key.length - tail.length), length: head.length };
  }
  return best;
}
