import { basename, dirname, extname, resolve } from "node:path";
import { checkKey } from "../state/key.ts";
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
