import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, posix, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { bestPattern, pathsFor, tsconfigFor } from "./tsconfig.ts";

/** A file of a plugin. `name` is the same wherever the plugin lies; its relative imports are named from it. */
export type ModuleFile = Readonly<{ path: string; name: string }>;

/**
 * What an import stands for: files to read; packages, which count by name and version; and texts that stand for what
 * is found nowhere.
 */
export type Imported = Readonly<
  { files: readonly ModuleFile[]; packages: readonly Package[]; texts: readonly string[] }
>;

/**
 * What `specifier`, in `importer`, leads to. Runtimes differ in which files they try (Bun finds `./x` and `./x.js` as
 * `x.ts`, `require` finds folders, Node takes `%20` for a space), so where there is no file of just that name all that
 * any of them would take are given: then it does not depend on who asks.
 */
export function findImported(specifier: string, importer: ModuleFile): Imported {
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
export function isCode(path: string): boolean {
  return /\.[cm]?[jt]sx?$/.test(path);
}

const nothing: Imported = { files: [], packages: [], texts: [] };

/** Both. A text stands only for what is found neither here nor there. */
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

/** As it stands; then as a URL, which may have a query and escapes. */
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

/** Tried behind a path that is no file. */
const extensions = [".tsx", ".ts", ".mts", ".cts", ".jsx", ".js", ".mjs", ".cjs", ".json", ".node"];
/** Tried instead of an extension, by Bun and by Deno's sloppy imports. */
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
export type Package = Readonly<{ path: string; name: string; json: PackageJson }>;

/** `postgres@3.4.5`; nothing behind the `@` if it has no version. */
export function packageLine({ json, name }: Package): string {
  return `${json.name ?? name.replace(/^npm:/, "")}@${json.version ?? ""}`;
}

/**
 * What a package imports in turn, as far as it is installed. Not what is optional: it depends on the machine.
 */
export function dependenciesOf({ path, json }: Package): Package[] {
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

/** What may not be looked at is not there, as for the runtime that is to import it. */
function isKind(path: string, kind: "isFile" | "isDirectory"): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.[kind]() ?? false;
  } catch {
    return false;
  }
}

/** Written out: each runtime has another list. */
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
