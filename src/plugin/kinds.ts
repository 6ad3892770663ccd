import { invariant } from "../lib/errors.ts";
import { IterableSource } from "./iterable_source.ts";
import type { JobSource } from "./source.ts";
import type { Plugin } from "./types.ts";

/** An export that makes a source: what it promises, as a message says it, and the source of a plugin that has it. */
type SourceKind = Readonly<{ contract: string; of: (plugin: Plugin) => JobSource }>;

/** Exports that make a source; of a plugin with several, the first counts. */
export const sourceKinds = {
  getJobs: {
    contract: "`getJobs(last)`, which returns or yields the jobs",
    of: (plugin) =>
      new IterableSource({
        name: "getJobs",
        jobs: (last, ctx) => plugin.getJobs!(last, ctx),
        cursor: plugin.cursor,
      }),
  },
} as const satisfies Partial<Record<keyof Plugin, SourceKind>>;

/** The source of a plugin that was loaded for a master. */
export function sourceOf(plugin: Plugin): JobSource {
  return kindOf(plugin, sourceKinds).of(plugin);
}

function kindOf<Kind>(plugin: Plugin, kinds: Readonly<Record<string, Kind>>): Kind {
  const found = Object.entries(kinds).find(([name]) => plugin[name as keyof Plugin] !== undefined);
  invariant(found !== undefined, `Cannot use the plugin: it has none of ${Object.keys(kinds).join(", ")}`);
  return found[1];
}
