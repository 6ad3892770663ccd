import type { Log, LogLevel } from "../lib/log.ts";
import type { WorkerLog } from "../lib/worker_start.ts";
import { Terminal } from "../terminal/terminal.ts";
import type { Settings } from "./options.ts";
import type { Environment } from "./settings.ts";

/** A log that keeps its lines until it is let go: what a person is told first is to come first. */
export class HeldLog {
  readonly #log: Log;
  #held: Parameters<Log>[] | null = [];

  constructor(log: Log) {
    this.#log = log;
  }

  readonly log: Log = (...line) => {
    if (this.#held === null) this.#log(...line);
    else this.#held.push(line);
  };

  letGo(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const line of held) this.#log(...line);
  }
}

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
