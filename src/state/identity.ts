import { StateError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

/** What a run is a run of. The same plugin in another folder, or with a bug fixed, is the same run. */
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

/** What a master is about to run, before it is known which run that is. */
export type Purpose = Omit<Identity, "runId">;

/**
 * Whether the master may go on with the run that the state is of.
 *
 * @throws {StateError} showing both, if plugin, export or arguments differ, something was handed out, and `force` is off.
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
