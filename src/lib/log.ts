import { clearTimeout, monotonicMs, setTimeout } from "./clock.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

/** How a program and its workers log. */
export type LogSettings = Readonly<{
  level: LogLevel;
  format: "text" | "json";
  /** Warnings and errors only, whatever the level. */
  isQuiet: boolean;
}>;

/** Where a part says what happened, for a person. `fields` are shown behind the message. */
export type Log = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

/** What the user's code, or world, may take until it is named. */
export const silentWaitMs = 10_000;

/** `onFinish runs since 12 s`. */
export function since(what: string, sinceMs: number, nowMs: number): string {
  return `${what} since ${Math.floor((nowMs - sinceMs) / 1_000)} s`;
}

/**
 * What of the user's is waited for. Each wait is told once when it has lasted 10 s, and is named from then on while it
 * lasts. None keeps the process alive.
 */
export class Waits {
  readonly #say: (sentence: string) => void;
  readonly #begun = new Map<object, Readonly<{ what: string; sinceMs: number }>>();

  /** @param say Takes what is told once. */
  constructor(say: (sentence: string) => void) {
    this.#say = say;
  }

  /**
   * A wait begins; what it returns is to be called when it is over.
   *
   * @param what Such as `onFinish runs`.
   * @param hint A sentence to go with it, when it is told.
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

  /** The wait that began first, and for how long it lasts; null if none has lasted 10 s. */
  longest(nowMs: number): Readonly<{ what: string; forMs: number }> | null {
    for (const { what, sinceMs } of this.#begun.values()) {
      if (nowMs - sinceMs >= silentWaitMs) return { what, forMs: nowMs - sinceMs };
    }
    return null;
  }
}

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
