import { createHash } from "node:crypto";
import { readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname } from "node:path";
import { PluginError } from "../base/errors.ts";
import { hasDecorators, scanImports } from "./import_scan.ts";
import {
  dependenciesOf,
  findImported,
  isCode,
  type ModuleFile,
  type Package,
  packageLine,
} from "./module_files.ts";
import { tsconfigFor } from "./tsconfig.ts";

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
    // Looked at before it is read: a change in between is seen later.
    const mark = markOf(real);
    const found = statSync(real);
    // To read a folder fails; to read a pipe or a device may never end.
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
