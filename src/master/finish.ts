import { countsOf, type RunStatus } from "../core/types.ts";
import type { Log, Waits } from "../lib/log.ts";
import { describeError, describeThrown, pluginLog } from "../plugin/describe_error.ts";
import type { LoadedPlugin } from "../plugin/load_plugin.ts";
import type { ArgValues, Summary } from "../plugin/types.ts";
import type { FinishFault } from "./types.ts";

/** What `onFinish` is told of the run. */
export function toSummary(
  status: RunStatus,
  { complete, lateErrors, elapsedMs }: Pick<Summary, "complete" | "lateErrors" | "elapsedMs">,
): Summary {
  return { ...countsOf(status), complete, stranded: status.stranded, lateErrors, elapsedMs };
}

/**
 * Calls the plugin's `onFinish`, if it has one, and waits for it until `hurry` is aborted; its `ctx.signal` is that
 * signal. What it throws is logged and returned: the run has ended as it has, and its state says so, but what the
 * plugin had to do then is not done. Null if it ended well, or there was none to call.
 */
export async function callOnFinish(
  { plugin }: LoadedPlugin,
  summary: Summary,
  parts: Readonly<{
    args: ArgValues;
    log: Log;
    /** For what the plugin itself says. */
    pluginLog: Log;
    hurry: AbortSignal;
    waits: Waits;
  }>,
): Promise<FinishFault | null> {
  if (plugin.onFinish === undefined) return null;
  const { args, log, hurry } = parts;
  if (hurry.aborted) {
    log("warn", "onFinish of the plugin is not called: the stop cannot wait for it");
    return cutOff;
  }
  const over = parts.waits.begin(
    "onFinish runs",
    "The run itself has ended. Ctrl-C or SIGTERM ends the wait",
  );
  try {
    const finished = plugin.onFinish(summary, { args, signal: hurry, log: pluginLog(parts.pluginLog) });
    const hasEnded = await Promise.race([
      Promise.resolve(finished).then(() => true),
      aborted(hurry).then(() => false),
    ]);
    if (hasEnded) return null;
    log("warn", "onFinish of the plugin has not ended: it is left behind");
    return cutOff;
  } catch (error) {
    log("error", describeThrown("onFinish of the plugin threw", error));
    return { kind: "threw", message: describeError(error).message };
  } finally {
    over();
  }
}

const cutOff: FinishFault = { kind: "cut off" };

/** Resolves once `signal` is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
