import { existsSync } from "node:fs";
import { basename, dirname, extname, resolve } from "node:path";
import { UsageError } from "../base/errors.ts";
import { splitPluginWord } from "../plugin/load_plugin.ts";
import { checkKey } from "../state/key.ts";
import { stateFiles } from "../state/state_files.ts";
import type { Settings } from "./options.ts";

/**
 * Path of the state file that a word names: a plugin (its state is beside it), a key (in the current folder), or the
 * state file itself. `--key` and `--state-dir` go before.
 *
 * @throws {UsageError} if the word is none of them.
 */
export function statePlace(word: string | undefined, settings: Settings): string {
  if (word === undefined || word === "") {
    throw new UsageError(
      "`taskmaster state` needs a plugin or a key, such as `taskmaster state plugins/posts.ts`.",
    );
  }
  if (word.endsWith(".state") && existsSync(word)) return resolve(word);
  const { path } = splitPluginWord(word);
  const isPlugin = /[/\\]|\.[cm]?[jt]sx?$/.test(path) || existsSync(path);
  const key = settings.key ?? (isPlugin ? basename(path, extname(path)) : word);
  checkKey(key);
  return stateFiles(resolve(settings["state-dir"] ?? (isPlugin ? dirname(path) : ".")), key).state;
}
