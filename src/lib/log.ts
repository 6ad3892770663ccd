import { clearTimeout, monotonicMs, setTimeout } from "./clock.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** How a program and its workers log. */
export type LogSettings = Readonly<{
  level: LogLevel;
  format: "text" | "json";
  /** Warnings and errors only, whatever the level. */
  isQuiet: boolean;
}>;

/** Logs an event for people. `fields` are shown after the message. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

/** How long the user's code or environment may take until the wait is reported. */
export const silentWaitMs = 10_000;

/** `onFinish runs since 12 s`. */
export function since(what: string, sinceMs: number, nowMs: number): string {
  return `${what} since ${Math.floor((nowMs - sinceMs) / 1_000)} s`;
}

/**
 * What the user's code or environment is waited for. Each wait is reported once after 10 s, and can be shown from then
 * on while it lasts. No wait keeps the process alive.
 */
export class Waits {
  readonly #say: (sentence: string) => void;
  readonly #begun = new Map<object, Readonly<{ what: string; sinceMs: number }>>();

  /** @param say Called with the report of each long wait. */
  constructor(say: (sentence: string) => void) {
    this.#say = say;
  }

  /**
   * Begins a wait; call the returned function when it is over.
   *
   * @param what What is going on, such as `onFinish runs`.
   * @param hint A sentence appended to the report.
   */
  begin(what: string, hint = ""): () => void {
    const sinceMs = monotonicMs();
    const timer = setTimeout(() => {
      this.#say(`${since(what, sinceMs, monotonicMs())}${hint === "" ? "" : `. ${hint}`}`);
    }, silentWaitMs);
    (timer as { unref?: () => void }).unref?.();
    this.#begun.set(timer as object, { what, sinceMs });
    return () => {
      clearTimeout(timer);
      this.#begun.delete(timer as object);
    };
  }

  /** The oldest wait, and how long it has lasted; null if none has lasted 10 s. */
  longest(nowMs: number): Readonly<{ what: string; forMs: number }> | null {
    for (const { what, sinceMs } of this.#begun.values()) {
      if (nowMs - sinceMs >= silentWaitMs) return { what, forMs: nowMs - sinceMs };
    }
    return null;
  }
}

/** A log that holds its lines back until `flush`, so that what a person should read first comes first. */
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

  flush(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const line of held) this.#log(...line);
  }
}
