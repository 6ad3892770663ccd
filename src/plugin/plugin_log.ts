import type { Log } from "../base/log.ts";
import type { PluginLog } from "./types.ts";

/** The `ctx.log` of a plugin: one function a level, over the program's log. */
export function pluginLog(log: Log): PluginLog {
  return {
    debug: (message, fields) => log("debug", String(message), fields),
    info: (message, fields) => log("info", String(message), fields),
    warn: (message, fields) => log("warn", String(message), fields),
    error: (message, fields) => log("error", String(message), fields),
  };
}
