import { invariant } from "../lib/errors.ts";
import { HandleJob } from "./handle_job.ts";
import type { ContextParts, JobHandler } from "./handler.ts";
import { IterableSource } from "./iterable_source.ts";
import type { JobSource } from "./source.ts";
import type { AnyPlugin } from "./types.ts";

/** An export that makes a source or a handler: what it promises, as a message says it, and how that is made. */
type Kind<Made extends (...parts: never) => unknown> = Readonly<{ contract: string; of: Made }>;
type SourceKind = Kind<(plugin: AnyPlugin) => JobSource>;
type HandlerKind = Kind<(plugin: AnyPlugin, parts: ContextParts) => JobHandler>;

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
} as const satisfies Partial<Record<keyof AnyPlugin, SourceKind>>;

/** Exports that make a handler; of a plugin with several, the first counts. */
export const handlerKinds = {
  handleJob: {
    contract: "`handleJob(job)`, which does one",
    of: (plugin, parts) => new HandleJob(plugin, parts),
  },
} as const satisfies Partial<Record<keyof AnyPlugin, HandlerKind>>;

/** The source of a plugin that was loaded for a master. */
export function sourceOf(plugin: AnyPlugin): JobSource {
  return kindOf(plugin, sourceKinds).of(plugin);
}

/** The handler of a plugin that was loaded for a slave. */
export function handlerOf(plugin: AnyPlugin, parts: ContextParts): JobHandler {
  return kindOf(plugin, handlerKinds).of(plugin, parts);
}

function kindOf<Any>(plugin: AnyPlugin, kinds: Readonly<Record<string, Any>>): Any {
  const found = Object.entries(kinds).find(([name]) => plugin[name as keyof AnyPlugin] !== undefined);
  invariant(found !== undefined, `Cannot use the plugin: it has none of ${Object.keys(kinds).join(", ")}`);
  return found[1];
}
