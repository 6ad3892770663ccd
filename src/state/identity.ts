import { StateError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

/** What identifies a run. Moving the plugin to another folder, or editing its code, does not make another run. */
export type Identity = Readonly<{
  runId: string;
  /** The plugin's base name, without its path. */
  plugin: string;
  exportName: string;
  /** The `name=value` words. */
  args: Readonly<Record<string, string>>;
  /** Hash of the plugin's code; a change only causes a warning. Empty if unknown. */
  pluginHash: Uint8Array;
}>;

/** The identity that a master's options give, before the run id is known. */
export type Purpose = Omit<Identity, "runId">;

/**
 * Checks that this master may resume the run of a saved state. Differing code of the plugin only causes a warning.
 *
 * @throws {StateError} naming both identities, if plugin, export or arguments differ, unless `force` is set or no job
 *   was handed out yet.
 */
export function checkIdentity(
  saved: Purpose,
  wanted: Purpose,
  options: { force: boolean; isUntouched: boolean; path: string; log: Log },
): void {
  const was = describe(saved), is = describe(wanted);
  if (was !== is) {
    const both = `it is of ${was}, and this is ${is}`;
    if (options.isUntouched) {
      return options.log(
        "info",
        `Nothing was handed out yet of "${options.path}": ${both}, as which it goes on`,
      );
    }
    if (!options.force) {
      throw new StateError(
        `Cannot resume from "${options.path}": ${both}. Start it as it was, give this run a --key of its own, start ` +
          `over with --reset, or resume all the same with --force.`,
      );
    }
    options.log("warn", `Resuming from "${options.path}" by force: ${both}`);
  } else if (saved.pluginHash.length > 0 && !Buffer.from(saved.pluginHash).equals(wanted.pluginHash)) {
    options.log(
      "warn",
      `The plugin "${wanted.plugin}" has changed since the state was saved; resuming with the new one`,
    );
  }
}

/** `"posts.ts:default" with from="2024" to="2025"` */
function describe(purpose: Purpose): string {
  const args = sortedArgs(purpose.args).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const plugin = JSON.stringify(`${purpose.plugin}:${purpose.exportName}`);
  return args.length === 0 ? `plugin ${plugin} without arguments` : `plugin ${plugin} with ${args.join(" ")}`;
}

/** Sorts by code units, so that all runtimes and locales agree. */
export function sortedArgs(args: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(args).sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
}
