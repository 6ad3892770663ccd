import { existsSync } from "node:fs";
import { basename, dirname, extname, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { UsageError } from "../lib/errors.ts";
import { printable } from "../lib/text.ts";
import { splitPluginWord } from "../plugin/load_plugin.ts";
import { checkKey, type StateFiles, stateFiles } from "../state/disk.ts";
import { readState } from "../state/store.ts";
import type { Settings } from "./options.ts";

/** What a run is called, and where its files live. */
export type RunName = Readonly<{ key: string; stateDir: string }>;

/**
 * Of the settings, or else of the plugin's path.
 *
 * @throws {UsageError} if the plugin's name makes no key.
 */
export function runName(settings: Settings, pluginPath: string): RunName {
  const key = settings.key ?? basename(pluginPath, extname(pluginPath));
  checkKey(key);
  return { key, stateDir: resolve(settings["state-dir"] ?? dirname(pluginPath)) };
}

/**
 * The files of the run that a word names: a plugin (they are beside it), a key (in the current folder), or the state
 * file itself. `--key` and `--state-dir` go before.
 *
 * @throws {UsageError} if the word makes no key.
 */
export function filesOfRun(word: string, settings: Settings): Pick<StateFiles, "state" | "dead"> {
  if (word.endsWith(".state") && existsSync(word)) {
    const state = resolve(word);
    return { state, dead: state.replace(/\.state$/, ".dead.ndjson") };
  }
  const { path } = splitPluginWord(word);
  const isPlugin = /[/\\]|\.[cm]?[jt]sx?$/.test(path) || existsSync(path);
  const key = settings.key ?? (isPlugin ? basename(path, extname(path)) : word);
  checkKey(key);
  return stateFiles(resolve(settings["state-dir"] ?? (isPlugin ? dirname(path) : ".")), key);
}

/** What an earlier start saved, as far as a question needs it; undefined if there is nothing, or nothing readable. */
async function peekState(
  { stateDir, key }: RunName,
): Promise<{ complete: boolean; handedOut: number; stranded: number } | undefined> {
  const path = stateFiles(stateDir, key).state;
  if (!existsSync(path)) return undefined;
  const read = await readState(path).catch(() => undefined);
  if (read === undefined) return undefined;
  const { complete, handedOut, done, skipped, dead } = read.state;
  return { complete, handedOut, stranded: handedOut - done - skipped - dead };
}

/** Asks on the terminal; anything but y or yes is a no, and so is the end of input. */
async function isConfirmed(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  try {
    return /^y(?:es)?$/i.test(
      (await Promise.race([lines.question(`${printable(question, Infinity)} [y/N] `), ended])).trim(),
    );
  } finally {
    lines.close();
    // A paused stdin must not keep the program alive.
    process.stdin.unref?.();
  }
}

/** Whether there is a person to ask. */
function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/**
 * Before an unfinished run is started over, asks the person at the terminal, if there is one. `--force` answers.
 *
 * @throws {UsageError} if the answer is no.
 */
export async function confirmReset(settings: Settings, name: RunName): Promise<void> {
  if (!settings.reset || settings.force || !canAsk()) return;
  const found = await peekState(name);
  if (found === undefined || found.complete) return;
  const { handedOut, stranded } = found;
  const question =
    `The run "${name.key}" is not finished: ${handedOut} jobs handed out, ${stranded} of them unfinished. Start over?`;
  if (await isConfirmed(question)) return;
  throw new UsageError("Not started: without --reset, the same command resumes the run.");
}
