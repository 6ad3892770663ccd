import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { PluginError } from "../base/errors.ts";
import { describeImportError } from "./import_error.ts";
import { hintsOf, pickPlugin, type Side } from "./shape.ts";
import type { Plugin } from "./types.ts";

export type { Side } from "./shape.ts";

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
  /** SHA-256 of the file. */
  hash: Uint8Array;
  plugin: Plugin;
  /** Its `options` export; empty if there is none. */
  options: Readonly<Record<string, string | number | boolean>>;
  /** Sentences for the log: exports that look like a misspelt one. */
  hints: readonly string[];
}>;

/** The two parts of a plugin argument. */
export type PluginWord = Readonly<{ path: string; exportName: string | undefined }>;

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
 * @throws {PluginError} whose message says what was found and what to do.
 */
export async function loadPlugin(
  path: string,
  exportName: string | undefined,
  side: Side,
): Promise<LoadedPlugin> {
  const absolute = absolutePath(path);
  const bytes = await read(path, absolute);
  const exports = await importFile(absolute);
  const plugin = pickPlugin(exports, exportName, side, absolute);
  return {
    name: basename(absolute),
    path: absolute,
    exportName: exportName ?? "default",
    isWhole: exportName !== undefined && typeof exports[exportName] === "object",
    hash: new Uint8Array(createHash("sha256").update(bytes).digest()),
    plugin,
    options: plugin.options ?? {},
    hints: hintsOf(exports),
  };
}

function absolutePath(path: string): string {
  if (!path.startsWith("file:")) return resolve(path);
  try {
    return fileURLToPath(path);
  } catch (cause) {
    throw new PluginError(`Cannot load the plugin "${path}": not a file URL. Give a path.`, { cause });
  }
}

async function read(path: string, absolute: string): Promise<Uint8Array> {
  try {
    return await readFile(absolute);
  } catch (cause) {
    throw new PluginError(`Cannot load the plugin "${path}": ${whyUnreadable(cause, absolute)}`, { cause });
  }
}

function whyUnreadable(error: unknown, absolute: string): string {
  switch ((error as { code?: unknown }).code) {
    case "ENOENT":
    case "ENOTDIR":
      return `there is no file ${absolute}. Paths are taken from the current folder.`;
    case "EISDIR":
      return `${absolute} is a folder. Name the file in it.`;
    case "EACCES":
      return `${absolute} is not readable by this user.`;
    default:
      return `reading ${absolute} failed (${(error as Error).message}).`;
  }
}

async function importFile(absolute: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await import(pathToFileURL(absolute).href);
  } catch (cause) {
    throw new PluginError(`Cannot load the plugin ${absolute}: ${describeImportError(cause)}`, { cause });
  }
}
