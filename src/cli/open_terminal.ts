import type { Log } from "../lib/log.ts";
import { Terminal } from "../terminal/terminal.ts";
import type { Settings } from "./options.ts";
import { type Environment, fieldsOf } from "./settings.ts";

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
    ...fieldsOf("log", settings),
    hasStatus: !settings["no-progress"],
    env,
  });
}
