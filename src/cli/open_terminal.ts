import { Terminal } from "../terminal/terminal.ts";
import type { LogLevel } from "../base/log.ts";
import type { WorkerLog } from "../base/worker_start.ts";
import type { Settings } from "./options.ts";
import type { Environment } from "./settings.ts";

/** The terminal that the settings ask for, on stderr. */
export function openTerminal(settings: Settings, env: Environment): Terminal {
  return new Terminal({
    output: process.stderr,
    level: settings["log-level"] as LogLevel,
    format: settings["log-format"] as "text" | "json",
    isQuiet: settings.quiet,
    hasStatus: !settings["no-progress"],
    env,
  });
}

/** How the workers of a slave with these settings log. */
export function workerLog(settings: Settings): WorkerLog {
  return {
    level: settings.quiet ? "warn" : settings["log-level"] as LogLevel,
    format: settings["log-format"] === "json" ? "json" : "text",
  };
}
