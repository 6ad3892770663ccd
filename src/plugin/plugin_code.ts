import { createHash } from "node:crypto";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, posix, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { PluginError } from "../lib/errors.ts";
import { hasDecorators, scanImports } from "./import_scan.ts";

/** What of a tsconfig.json changes which code runs. Paths are absolute. */
type Tsconfig = Readonly<{
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
function tsconfigFor(folder: string): Tsconfig | null {
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
function pathsFor({ paths, baseUrl }: Tsconfig, name: string): string[] {
  const found = bestPattern(Object.keys(paths), name);
  const targets = found === null
    ? []
    : paths[found.pattern]!.map((target) => target.replace("*", found.star));
  return baseUrl === undefined ? targets : [...targets, join(baseUrl, name)];
}

/** `key` itself, or the pattern that has the longest beginning before its `*`; and what the `*` stands for. */
function bestPattern(
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

/** A file of a plugin. `name` is the same wherever the plugin lies; its relative imports are named from it. */
type ModuleFile = Readonly<{ path: string; name: string }>;

/**
 * What an import stands for: files to read; packages, which count by name and version; and texts that stand for what
 * is found nowhere.
 */
type Imported = Readonly<
  { files: readonly ModuleFile[]; packages: readonly Package[]; texts: readonly string[] }
>;

/**
 * What `specifier`, in `importer`, leads to. Runtimes differ in which files they try (Bun finds `./x` and `./x.js` as
 * `x.ts`, `require` finds folders, Node takes `%20` for a space), so where there is no file of just that name all that
 * any of them would take are given: then it does not depend on who asks.
 */
function findImported(specifier: string, importer: ModuleFile): Imported {
  if (/^\.{0,2}\//.test(specifier) || /^\.{1,2}$/.test(specifier)) return pathImport(specifier, importer);
  if (specifier.startsWith("file:")) return absoluteImport(specifier);
  if (specifier.startsWith("#")) {
    return joined({ ...nothing, files: mapImport(specifier) }, ownImport(specifier, importer));
  }
  if (isBuiltin(specifier)) return nothing;
  const files = tsconfigImport(specifier, importer);
  const mapped = mapImport(specifier).filter(({ path }) => files.every((file) => file.path !== path));
  // A runtime that reads no tsconfig.json, or no import map, takes the package.
  return joined({ ...nothing, files: [...files, ...mapped] }, packageImport(specifier, importer));
}

/** Whether a module of this name may have imports of its own. */
function isCode(path: string): boolean {
  return /\.[cm]?[jt]sx?$/.test(path);
}

const nothing: Imported = { files: [], packages: [], texts: [] };

/** Joins two results. A text is kept only if neither result found a file or package. */
function joined(one: Imported, other: Imported): Imported {
  const files = [...one.files, ...other.files], packages = [...one.packages, ...other.packages];
  return { files, packages, texts: files.length + packages.length > 0 ? [] : [...one.texts, ...other.texts] };
}

function pathImport(specifier: string, importer: ModuleFile): Imported {
  const isAbsolute = specifier.startsWith("/");
  const folder = dirname(importer.path);
  const nameFolder = isAbsolute ? "/" : posix.dirname(importer.name);
  for (const written of spellings(specifier)) {
    const files = filesAt(resolve(folder, written), posix.join(nameFolder, written));
    if (files.length > 0) return { ...nothing, files };
  }
  return nothing;
}

/** The paths that a specifier may mean: as written, without its query or fragment, and with URL escapes decoded. */
function spellings(specifier: string): string[] {
  const path = specifier.replace(/[?#].*$/s, "");
  return [...new Set([specifier, path, decoded(path)])];
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

function absoluteImport(url: string): Imported {
  try {
    const path = fileURLToPath(url);
    return { ...nothing, files: filesAt(path, path.split(sep).join("/")) };
  } catch {
    return nothing;
  }
}

/** Extensions that are appended when the path is no file. */
const extensions = [".tsx", ".ts", ".mts", ".cts", ".jsx", ".js", ".mjs", ".cjs", ".json", ".node"];
/** Source extensions that Bun and Deno's sloppy imports try in place of the written one. */
const sources: readonly (readonly [extension: RegExp, instead: readonly string[]])[] = [
  [/\.js$/, [".ts", ".tsx"]],
  [/\.jsx$/, [".tsx"]],
  [/\.mjs$/, [".mts"]],
  [/\.cjs$/, [".cts"]],
];

/** The file at `path`; else those that a runtime may take for it; else those that it may take if it is a folder. */
function filesAt(path: string, name: string): ModuleFile[] {
  if (isFile(path)) return [{ path, name }];
  const others = extensions.map((extension) => ({ path: path + extension, name: name + extension }));
  for (const [extension, instead] of sources) {
    for (const other of instead) {
      if (extension.test(path)) {
        others.push({ path: path.replace(extension, other), name: name.replace(extension, other) });
      }
    }
  }
  const found = others.filter((file) => isFile(file.path));
  return found.length > 0 || !isFolder(path) ? found : filesOfFolder(path, name);
}

function filesOfFolder(path: string, name: string): ModuleFile[] {
  const { main, module } = readPackage(path) ?? {};
  const mains = [main, module].filter((entry) => typeof entry === "string");
  const found = mains.flatMap((entry) => {
    const target = join(path, entry);
    return target === path ? [] : filesAt(target, posix.join(name, entry));
  });
  if (found.length > 0) return found;
  return extensions.map((extension) => ({
    path: join(path, `index${extension}`),
    name: posix.join(name, `index${extension}`),
  }))
    .filter((file) => isFile(file.path));
}

/** `#name`, which the package.json of the importer's own package explains. */
function ownImport(specifier: string, importer: ModuleFile): Imported {
  const own = ownPackage(importer);
  if (own === null) return { ...nothing, texts: [specifier] };
  return targetsFor(own.json.imports, specifier).map((target) =>
    target.startsWith("./")
      ? { ...nothing, files: filesAt(join(own.path, target), posix.join(own.name, target)) }
      : isBuiltin(target)
      ? nothing
      : packageImport(target, importer)
  ).reduce(joined, nothing);
}

/**
 * A package counts by name and version. The files are followed of one that has no version, and of one that lies outside
 * of any `node_modules` (a workspace, a linked folder), for it is edited in place. What is found nowhere counts as it is
 * written: `jsr:`, `https:`.
 */
function packageImport(specifier: string, importer: ModuleFile): Imported {
  const bare = specifier.replace(/^npm:\/?/, "");
  const parts = /^((?:@[^/]+\/)?[^@/:][^@/:]*)(?:@[^/]*)?(\/.*)?$/.exec(bare);
  if (parts === null) return { ...nothing, texts: [specifier] };
  const [, name, rest = ""] = parts;
  const found = installedPackage(name!, dirname(importer.path)) ?? ownPackage(importer, name);
  if (found === null) return { ...nothing, texts: [specifier] };
  const { json, path } = found;
  const packages = [found];
  if (path.split(sep).includes("node_modules") && hasVersion(found)) return { ...nothing, packages };
  const subpath = `.${rest}`;
  const targets = json.exports === undefined ? [subpath] : targetsFor(json.exports, subpath);
  const files = targets.flatMap((target) => filesAt(join(path, target), posix.join(found.name, target)));
  return { files, packages, texts: [] };
}

let resolveByMap: ((specifier: string) => string) | null = null;

/** Says how this runtime resolves by its import map, if it has one: `import.meta.resolve` is not for compiled code. */
export function useImportMap(resolve: (specifier: string) => string): void {
  resolveByMap = resolve;
}

/**
 * By an import map. The file is named by what is imported, for the map may lie elsewhere than the plugin. Maps to
 * packages and to other machines add nothing to what is written.
 */
function mapImport(specifier: string): ModuleFile[] {
  if (resolveByMap === null) return [];
  try {
    const path = fileURLToPath(resolveByMap(specifier));
    return path.split(sep).includes("node_modules") ? [] : filesAt(path, posix.join("map:", specifier));
  } catch {
    return []; // No file, or no such name.
  }
}

/** By the `paths` and `baseUrl` of a tsconfig.json, which Bun reads, and the compiled binary. */
function tsconfigImport(specifier: string, importer: ModuleFile): ModuleFile[] {
  const folder = dirname(importer.path);
  const tsconfig = tsconfigFor(folder);
  if (tsconfig === null) return [];
  for (const path of pathsFor(tsconfig, specifier)) {
    const name = posix.join(posix.dirname(importer.name), relative(folder, path).split(sep).join("/"));
    const files = filesAt(path, name);
    if (files.length > 0) return files;
  }
  return [];
}

type PackageJson = Readonly<
  Partial<
    Record<
      | "name"
      | "version"
      | "main"
      | "module"
      | "exports"
      | "imports"
      | "dependencies"
      | "optionalDependencies"
      | "peerDependencies",
      unknown
    >
  >
>;
/** `path`: of its real folder. `name`: what its files are named from. */
type Package = Readonly<{ path: string; name: string; json: PackageJson }>;

/** `postgres@3.4.5`; nothing behind the `@` if it has no version. */
function packageLine({ json, name }: Package): string {
  return `${json.name ?? name.replace(/^npm:/, "")}@${json.version ?? ""}`;
}

/**
 * What a package imports in turn, as far as it is installed. Not what is optional: it depends on the machine.
 */
function dependenciesOf({ path, json }: Package): Package[] {
  const names = Object.keys({ ...asMap(json.peerDependencies), ...asMap(json.dependencies) });
  const optional = asMap(json.optionalDependencies);
  return names.filter((name) => !(name in optional)).flatMap((name) => installedPackage(name, path) ?? []);
}

function hasVersion({ json: { version } }: Package): boolean {
  return typeof version === "string" && version !== "";
}

/**
 * Found as Node finds it: in the `node_modules` of a folder or of one above it. It may lack a package.json, and be a
 * single file.
 */
function installedPackage(name: string, folder: string): Package | null {
  for (let at = folder;; at = dirname(at)) {
    const path = join(at, "node_modules", name);
    const json = readPackage(path) ?? (isFolder(path) || filesAt(path, name).length > 0 ? {} : null);
    if (json !== null) {
      return { path: isFile(path) || isFolder(path) ? realpathSync(path) : path, name: `npm:${name}`, json };
    }
    if (dirname(at) === at) return null;
  }
}

/** The nearest package around a file; with `called`, only if that is its name. */
function ownPackage({ path, name }: ModuleFile, called?: string): Package | null {
  let nameAt = posix.dirname(name);
  for (let at = dirname(path);; at = dirname(at), nameAt = posix.join(nameAt, "..")) {
    const json = readPackage(at);
    if (json !== null) {
      return called === undefined || json.name === called ? { path: at, name: nameAt, json } : null;
    }
    if (dirname(at) === at) return null;
  }
}

function readPackage(folder: string): PackageJson | null {
  try {
    const json = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    return typeof json === "object" ? json : null;
  } catch {
    return null;
  }
}

/**
 * Every path that `exports` or `imports` has for `key` under any condition but that of types: which conditions hold
 * depends on the runtime.
 */
function targetsFor(map: unknown, key: string): string[] {
  const entries = Object.entries(asMap(map));
  if (!entries.some(([name]) => /^[.#]/.test(name))) return key === "." ? targetsIn(map, "") : [];
  const found = bestPattern(entries.map(([name]) => name), key);
  return found === null ? [] : targetsIn(Object.fromEntries(entries)[found.pattern], found.star);
}

function targetsIn(value: unknown, star: string): string[] {
  if (typeof value === "string") return [value.replaceAll("*", star)];
  if (Array.isArray(value)) return value.flatMap((item) => targetsIn(item, star));
  if (!isMap(value)) return [];
  return Object.entries(value).flatMap(([condition, target]) =>
    condition === "types" ? [] : targetsIn(target, star)
  );
}

function asMap(value: unknown): Record<string, unknown> {
  return isMap(value) ? value : {};
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isFile(path: string): boolean {
  return isKind(path, "isFile");
}

function isFolder(path: string): boolean {
  return isKind(path, "isDirectory");
}

/** A path without permission counts as missing: the runtime cannot import it either. */
function isKind(path: string, kind: "isFile" | "isDirectory"): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.[kind]() ?? false;
  } catch {
    return false;
  }
}

/** Names of built-in modules. Listed here because each runtime reports a different list. */
const builtins = new Set(
  ("assert async_hooks buffer bun child_process cluster console constants crypto dgram diagnostics_channel dns domain " +
    "events fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl " +
    "stream string_decoder sys timers tls trace_events tty url util v8 vm wasi worker_threads zlib").split(
      " ",
    ),
);

function isBuiltin(specifier: string): boolean {
  return /^(?:node|bun):/.test(specifier) || builtins.has(specifier.split("/")[0]!);
}

/** Most files that a plugin may import, and most bytes of them: every worker reads them all when it starts. */
const filesMax = 10_000;
const bytesMax = 256 * 1024 * 1024;

/** The code of a plugin: its file, and all that this imports, as far as that can be told without running it. */
export type PluginCode = Readonly<{
  /** The real path of the plugin's file, links resolved. */
  path: string;
  /** The same in all runtimes, and wherever the plugin's folder lies. */
  hash: Uint8Array;
  /** What `hash` is the SHA-256 of, a line each: as `sha256sum` prints files, and `name@version` of packages. */
  lines: readonly string[];
  /** Whether no file was changed since it was read. */
  isUnchanged: () => boolean;
  /** The first file with decorators for which a tsconfig.json asks for the legacy ones. */
  legacyDecorators: Readonly<{ file: string; tsconfig: string }> | null;
}>;

/**
 * Reads the plugin and all files reached from it by imports, and hashes them: SHA-256 over the sorted lines of
 * `<SHA-256 in hex>  <path from the plugin's folder>` of each file, and `<name>@<version>` of each npm package and of
 * those that it depends on.
 * Imports that are computed at run time are not seen.
 *
 * @param path Absolute.
 * @throws {PluginError} if there is more than can be read at each start of a worker.
 * @throws {Error} of the file system, if the plugin's own file cannot be read.
 */
export function readPluginCode(path: string): PluginCode {
  const real = realpathSync(path);
  const reader = new CodeReader(path);
  reader.add({ path: real, name: basename(path) });
  reader.readAll();
  const lines = [...reader.lines].map((line) => Buffer.from(`${line}\n`)).sort(Buffer.compare);
  const hash = createHash("sha256");
  for (const line of lines) hash.update(line);
  return {
    path: real,
    hash: new Uint8Array(hash.digest()),
    lines: lines.map((line) => line.toString().trimEnd()),
    isUnchanged: () => reader.isUnchanged(),
    legacyDecorators: reader.legacyDecorators,
  };
}

class CodeReader {
  readonly lines = new Set<string>();
  legacyDecorators: PluginCode["legacyDecorators"] = null;
  readonly #plugin: string;
  /** Files by real path, with what tells a change. Each is read once, though a link may give it a second name. */
  readonly #read = new Map<string, Readonly<{ mark: string; hex: string }>>();
  readonly #waiting: ModuleFile[] = [];
  /** Real folders of packages that count. */
  readonly #packages = new Set<string>();
  #bytes = 0;

  constructor(plugin: string) {
    this.#plugin = plugin;
  }

  add(file: ModuleFile): void {
    this.#waiting.push(file);
  }

  readAll(): void {
    for (let at = 0; at < this.#waiting.length; at++) this.#readOne(this.#waiting[at]!, at === 0);
  }

  isUnchanged(): boolean {
    return [...this.#read].every(([path, { mark }]) => markOf(path) === mark);
  }

  #readOne({ path, name }: ModuleFile, isFirst: boolean): void {
    const real = realpathSync(path);
    const known = this.#read.get(real);
    if (known !== undefined) return void this.lines.add(`${known.hex}  ${name}`);
    // Take the mark before reading, so that a change during the read is noticed later.
    const mark = markOf(real);
    const found = statSync(real);
    // Reading a pipe or a device may never end, so both are refused here. Reading a folder fails below.
    if (!found.isFile() && !found.isDirectory()) {
      throw new PluginError(
        `Cannot load the plugin ${this.#plugin}: ${real} is a pipe, a socket or a device. Put the code into a file.`,
      );
    }
    this.#limit(found.size);
    const bytes = readFileSync(real);
    const hex = createHash("sha256").update(bytes).digest("hex");
    this.#read.set(real, { mark, hex });
    this.lines.add(`${hex}  ${name}`);
    if (!isFirst && !isCode(real)) return;
    const text = bytes.toString();
    this.#follow(text, { path: real, name });
    this.legacyDecorators ??= legacyDecoratorsOf(text, real);
    // Deno looks beside the link for what a linked file imports, the others beside the file.
    if (!isFirst && real !== path) this.#follow(text, { path, name });
  }

  #follow(text: string, file: ModuleFile): void {
    for (const specifier of scanImports(text)) {
      const { files, packages, texts } = findImported(specifier, file);
      for (const text of texts) this.lines.add(text);
      this.#addPackages(packages);
      this.#waiting.push(...files);
    }
  }

  #addPackages(packages: readonly Package[]): void {
    const waiting = [...packages];
    for (let found = waiting.pop(); found !== undefined; found = waiting.pop()) {
      if (this.#packages.has(found.path)) continue;
      this.#packages.add(found.path);
      this.lines.add(packageLine(found));
      waiting.push(...dependenciesOf(found));
    }
  }

  #limit(size: number): void {
    this.#bytes += size;
    if (this.#read.size < filesMax && this.#bytes <= bytesMax) return;
    const what = this.#bytes > bytesMax ? `${bytesMax / 1024 ** 2} MiB` : `${filesMax} files`;
    throw new PluginError(
      `Cannot load the plugin ${this.#plugin}: with what it imports it has more than ${what}, and every worker reads ` +
        "all of them when it starts. Read data when it is needed rather than import it, or bundle the code.",
    );
  }
}

function legacyDecoratorsOf(text: string, file: string): PluginCode["legacyDecorators"] {
  if (!text.includes("@")) return null;
  const tsconfig = tsconfigFor(dirname(file));
  if (!tsconfig?.experimentalDecorators || !hasDecorators(text)) return null;
  return { file, tsconfig: tsconfig.path };
}

/** Changes with the file's contents; empty if it is gone. */
function markOf(path: string): string {
  try {
    const { ino, size, mtimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs}`;
  } catch {
    return "";
  }
}
