import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, posix, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { bestPattern, pathsFor, tsconfigFor } from "./tsconfig.ts";

/** A file of a plugin. `name` is the same wherever the plugin lies; its relative imports are named from it. */
export type ModuleFile = Readonly<{ path: string; name: string }>;

/** What an import stands for: files to read, and texts that stand for what is not read, as `postgres@3.4.5`. */
export type Imported = Readonly<{ files: readonly ModuleFile[]; texts: readonly string[] }>;

/**
 * What `specifier`, in `importer`, leads to. Runtimes differ in which files they try (Bun finds `./x` and `./x.js` as
 * `x.ts`, `require` finds folders, Node takes `%20` for a space), so where there is no file of just that name all that
 * any of them would take are given: then it does not depend on who asks.
 */
export function findImported(specifier: string, importer: ModuleFile): Imported {
  if (/^\.{0,2}\//.test(specifier) || /^\.{1,2}$/.test(specifier)) return pathImport(specifier, importer);
  if (specifier.startsWith("file:")) return absoluteImport(specifier);
  if (specifier.startsWith("#")) return ownImport(specifier, importer);
  if (isBuiltin(specifier)) return nothing;
  const files = tsconfigImport(specifier, importer);
  // A runtime that reads no tsconfig.json takes the package.
  const inPackage = packageImport(specifier, importer);
  if (files.length > 0 && !inPackage.isFound) return { files, texts: [] };
  return { files: [...files, ...inPackage.files], texts: inPackage.texts };
}

/** Whether a module of this name may have imports of its own. */
export function isCode(path: string): boolean {
  return /\.[cm]?[jt]sx?$/.test(path);
}

const nothing: Imported = { files: [], texts: [] };

function pathImport(specifier: string, importer: ModuleFile): Imported {
  const isAbsolute = specifier.startsWith("/");
  const folder = dirname(importer.path);
  const nameFolder = isAbsolute ? "/" : posix.dirname(importer.name);
  for (const written of spellings(specifier)) {
    const files = filesAt(resolve(folder, written), posix.join(nameFolder, written));
    if (files.length > 0) return { files, texts: [] };
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
    return { files: filesAt(path, path.split(sep).join("/")), texts: [] };
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
  if (own === null) return { files: [], texts: [specifier] };
  const found = targetsFor(own.json.imports, specifier).map((target) =>
    target.startsWith("./")
      ? { files: filesAt(join(own.path, target), posix.join(own.name, target)), texts: [] }
      : isBuiltin(target)
      ? nothing
      : packageImport(target, importer)
  );
  return { files: found.flatMap(({ files }) => files), texts: found.flatMap(({ texts }) => texts) };
}

/**
 * A package counts by name and version. One that lies outside of any `node_modules` (a workspace, a linked folder) is
 * edited in place, so its files are followed too. What is found nowhere counts as it is written: `jsr:`, `https:`,
 * a name in an import map.
 */
function packageImport(specifier: string, importer: ModuleFile): Imported & { isFound: boolean } {
  const bare = specifier.replace(/^npm:\/?/, "");
  const parts = /^((?:@[^/]+\/)?[^@/:][^@/:]*)(?:@[^/]*)?(\/.*)?$/.exec(bare);
  if (parts === null) return { files: [], texts: [specifier], isFound: false };
  const [, name, rest = ""] = parts;
  const found = installedPackage(name!, dirname(importer.path)) ?? ownPackage(importer, name);
  if (found === null) return { files: [], texts: [specifier], isFound: false };
  const { json, path } = found;
  const texts = [`${json.name ?? name}@${json.version ?? ""}`];
  if (specifier !== bare) texts.push(specifier);
  if (path.split(sep).includes("node_modules")) return { files: [], texts, isFound: true };
  const subpath = `.${rest}`;
  const targets = json.exports === undefined ? [subpath] : targetsFor(json.exports, subpath);
  return {
    files: targets.flatMap((target) => filesAt(join(path, target), posix.join(found.name, target))),
    texts,
    isFound: true,
  };
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
  Partial<Record<"name" | "version" | "main" | "module" | "exports" | "imports", unknown>>
>;
/** `path`: of its real folder. */
type Package = Readonly<{ path: string; name: string; json: PackageJson }>;

/** Found as Node finds it: in the `node_modules` of a folder or of one above it. */
function installedPackage(name: string, folder: string): Package | null {
  for (let at = folder;; at = dirname(at)) {
    const path = join(at, "node_modules", name);
    const json = readPackage(path);
    if (json !== null) return { path: realpathSync(path), name: `npm:${name}`, json };
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
  const entries = isMap(map) ? Object.entries(map) : [];
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
