import type { Log } from "../base/log.ts";

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
