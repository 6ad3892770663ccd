import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { isSameBytes, shortHash } from "../lib/bytes.ts";
import { PluginError } from "../lib/errors.ts";
import { isBinary } from "../lib/runtime.ts";
import { describeError, isOwnFrame } from "./describe_error.ts";
import { type PluginCode, readPluginCode } from "./plugin_code.ts";
import { hintsOf, pickPlugin, type Side } from "./shape.ts";
import type { AnyPlugin } from "./types.ts";
export type { Side } from "./shape.ts";

/**
 * Why `import()` of a plugin failed, as one sentence, with file, line and column where the runtime says them,
 * and with what to do about a missing package.
 */
function describeImportError(error: unknown): string {
  const errors = errorsOf(error);
  const { message, stack } = describeError(errors[0]);
  const text = named(message.trimEnd());
  const place = placeOf(errors[0]) ?? placeInStack(stack);
  const isPlaced = place === undefined || /:\d+:\d+/.test(text);
  const where = isPlaced ? "" : ` at ${place}`;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  return `${text.replace(/\.$/, "")}${where}${more}.${adviceFor(text)}`;
}

/**
 * The calls in the plugin that led to what its code threw while it was loaded, a line each; none if the sentence says
 * as much.
 */
function importFrames(error: unknown): readonly string[] {
  const { message, stack } = describeError(errorsOf(error)[0]);
  if (adviceFor(message) !== "") return [];
  const frames = stack.split("\n").filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line) && !isOurs(line));
  return frames.length > 1 ? frames : [];
}

/** Bun throws several syntax errors of a file as one AggregateError. */
function errorsOf(error: unknown): readonly unknown[] {
  const errors = (error as { errors?: unknown } | null)?.errors;
  return Array.isArray(errors) && errors.length > 0 ? errors : [error];
}

/** Without the class names that only one runtime has: Bun's two, and Deno's TypeError around the real one. */
function named(message: string): string {
  return message
    .replace(/^BuildMessage: /, "SyntaxError: ")
    .replace(/^ResolveMessage: /, "")
    .replace(/^TypeError: (?=SyntaxError: |Import "|Module not found )/, "");
}

/** Bun's BuildMessage carries its place as an object; a ResolveMessage names the importer in its message. */
function placeOf(error: unknown): string | undefined {
  const { position } = (error ?? {}) as {
    position?: { file?: unknown; line?: unknown; column?: unknown } | null;
  };
  if (typeof position?.file !== "string" || position.file === "") return undefined;
  return `${position.file}:${position.line}:${position.column}`;
}

/** Node names the place of a syntax error in the stack's first line, all others in the first frame. */
function placeInStack(stack: string): string | undefined {
  for (const line of stack.split("\n")) {
    const place = /(?:file:\/\/)?((?<![\w:])\/[^\s():]+|\b[A-Za-z]:[\\/][^\s():]+)(:\d+(?::\d+)?)/.exec(line);
    if (place !== null && !isOurs(line)) return `${place[1]}${place[2]}`;
  }
  return undefined;
}

/** A frame of the runtime, or of this program: where the import began, not where it failed. */
function isOurs(frame: string): boolean {
  return isOwnFrame(frame) || /node:internal/.test(frame);
}

function adviceFor(message: string): string {
  if (!/cannot find (module|package)|not a dependency|module not found/i.test(message)) return "";
  return " Packages that a plugin imports must be installed beside it (`npm install <name>` in its folder); " +
    `its relative imports must be copied with it${
      process.versions.bun === undefined
        ? "; `paths` of a tsconfig.json are read by Bun and the compiled binary alone"
        : ""
    }.`;
}

/** A plugin ready to run. */
export type LoadedPlugin = Readonly<{
  /** Base name of the file. */
  name: string;
  /** Absolute path of the file. */
  path: string;
  /** The export that was named; "default" if none was. */
  exportName: string;
  /** Whether that export was named and is a whole plugin: a slave must then be told its name too. */
  isWhole?: boolean;
  /** Of the file and all that it imports: see `readPluginCode`. */
  hash: Uint8Array;
  /** What `hash` is made of, a line each, for people who look for a difference. */
  code: readonly string[];
  plugin: AnyPlugin;
  /** Its `options` export; empty if there is none. */
  options: Readonly<Record<string, string | number | boolean>>;
  /** Sentences for the log: exports that look like a misspelt one. */
  hints: readonly string[];
}>;

/** The plugin's code is not what it was when it was looked at first. */
export class PluginChangedError extends PluginError {
  override get name(): string {
    return "PluginChangedError";
  }
}

/** Most files and packages that are listed in the log. */
const codeLinesMax = 200;

/** The two parts of a plugin argument. */
type PluginWord = Readonly<{ path: string; exportName: string | undefined }>;

/**
 * Splits `path:exportName`. A colon counts only before a plain identifier, so that `C:\x.ts`, `C:x.ts` and
 * `file:///x.ts` are paths.
 */
export function splitPluginWord(word: string): PluginWord {
  const parts = /^(.{2,}):([\p{ID_Start}$_][\p{ID_Continue}$]*)$/su.exec(word);
  if (parts === null) return { path: word, exportName: undefined };
  return { path: parts[1]!, exportName: parts[2]! };
}

/**
 * Imports a plugin from disk and checks its shape. What it exports as `exportName` is taken as `getJobs` for
 * a master and as `handleJob` for a slave if it is a function, and as a whole plugin if it is an object.
 *
 * @param path Relative to the current folder, absolute, or a `file:` URL.
 * @param hash What the plugin's code must be; if it is anything else, nothing of it is run.
 * @throws {PluginChangedError} if it is anything else, or was edited meanwhile.
 * @throws {PluginError} whose message says what was found and what to do.
 */
export async function loadPlugin(
  path: string,
  exportName: string | undefined,
  side: Side,
  hash?: Uint8Array,
): Promise<LoadedPlugin> {
  const absolute = absolutePath(path);
  const code = read(path, absolute);
  if (hash !== undefined && !isSameBytes(hash, code.hash)) {
    throw new PluginChangedError(
      `The plugin ${absolute}, or what it imports, was edited after this slave had started with it: it was ` +
        `${shortHash(hash)}, and is ${
          shortHash(code.hash)
        } now. Start the master and its slaves again with one and ` +
        "the same code",
    );
  }
  if (code.legacyDecorators !== null && !runsLegacyDecorators()) {
    const { file, tsconfig } = code.legacyDecorators;
    throw new PluginError(
      `Cannot load the plugin ${absolute}: ${file} has decorators, and ${tsconfig} asks for the legacy ones ` +
        "(experimentalDecorators), which mean something else than those that would run here. Compile it to JavaScript " +
        "with tsc, write standard decorators and take the setting out, or run the source of taskmaster under Bun.",
    );
  }
  refuseOddPath(absolute, code.path);
  const exports = await importFile(absolute, code.path);
  if (!code.isUnchanged()) {
    throw new PluginChangedError(
      `The plugin ${absolute}, or what it imports, was edited while it was loaded: start again`,
    );
  }
  const plugin = pickPlugin(exports, exportName, side, absolute);
  return {
    name: basename(absolute),
    path: absolute,
    exportName: exportName ?? "default",
    isWhole: exportName !== undefined && typeof exports[exportName] === "object",
    hash: code.hash,
    code: code.lines,
    plugin,
    options: plugin.options ?? {},
    hints: hintsOf(exports),
  };
}

/** For the log: what the hash of a plugin's code is made of. */
export function codeInWords({ name, hash, code }: LoadedPlugin): string {
  const shown = code.slice(0, codeLinesMax).map((line) =>
    line.replace(/^([0-9a-f]{8})[0-9a-f]{56} {2}/, "$1 ")
  );
  const more = code.length > shown.length ? `, and ${code.length - shown.length} more` : "";
  return `The code of ${name} is ${shortHash(hash)}: ${shown.join(", ")}${more}`;
}

/** Bun takes what is behind a `?` for a query, and a `\` for a `/`. */
function refuseOddPath(path: string, real: string): void {
  const { versions, platform } = process;
  const [odd] = /\?/.exec(real) ?? (platform === "win32" ? null : /\\/.exec(real)) ?? [];
  if (odd === undefined || versions.bun === undefined) return;
  throw new PluginError(
    `Cannot load the plugin ${path}: there is a "${odd}" in its path, and Bun imports no such file. Rename the file or folder.`,
  );
}

/** Bun does where it runs the source; its compiled binaries run the standard ones, and drop those of parameters. */
function runsLegacyDecorators(): boolean {
  return process.versions.bun !== undefined && !isBinary();
}

function absolutePath(path: string): string {
  if (!path.startsWith("file:")) return resolve(path);
  try {
    return fileURLToPath(path);
  } catch (cause) {
    throw new PluginError(`Cannot load the plugin "${path}": not a file URL. Give a path.`, { cause });
  }
}

function read(path: string, absolute: string): PluginCode {
  try {
    return readPluginCode(absolute);
  } catch (cause) {
    if (cause instanceof PluginError) throw cause;
    throw new PluginError(`Cannot load the plugin "${path}": ${whyUnreadable(cause, absolute)}`, { cause });
  }
}

/** A file that differs in its extension only, as a question. */
function otherFile(absolute: string): string {
  const stem = absolute.replace(/\.[cm]?[jt]sx?$/, "");
  const found = [".ts", ".mts", ".js", ".mjs"].find((extension) => existsSync(stem + extension));
  return found === undefined ? "" : `Is ${basename(stem)}${found} meant? `;
}

function whyUnreadable(error: unknown, absolute: string): string {
  switch ((error as { code?: unknown }).code) {
    case "ENOENT":
    case "ENOTDIR":
      return `there is no file ${absolute}. ${otherFile(absolute)}Paths are taken from the current folder.`;
    case "EISDIR":
      return `${absolute} is a folder. Name the file in it.`;
    case "EACCES":
      return `${absolute} is not readable by this user.`;
    default:
      return `reading ${absolute} failed (${(error as Error).message}).`;
  }
}

/** By its real path: Deno would look for what it imports beside the link that it was named by. */
async function importFile(absolute: string, real: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(pathToFileURL(real).href);
  } catch (cause) {
    throw new PluginError(`Cannot load the plugin ${absolute}: ${describeImportError(cause)}`, {
      cause,
      below: importFrames(cause),
    });
  }
}
