import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate } from "../lib/clock.ts";
import { errorMessageCharsMax, lateErrorsMax } from "../lib/limits.ts";
import type { Pending, Result } from "../plugin/invoke.ts";
import type { LateError, WorkerMessage } from "../protocol/messages.ts";

/** An attempt that goes on. `startedMs`: when it began, where the clock was looked at. */
export type Begun = Pending & Readonly<{ startedMs?: number }>;

/** Runs one job; never throws. */
export interface JobHandler {
  run(job: unknown, seq: number, attempt: number): Result | Begun;
}

/**
 * A handler that never lets the event loop turn is out of reach of its signal. If it returns after the timeout it
 * is charged all the same; if it does not return, its process is killed.
 */
export function withTimeout(handler: JobHandler, timeoutMs: number, nowMs: () => number): JobHandler {
  return {
    run(job, seq, attempt) {
      const startedMs = nowMs();
      const result = handler.run(job, seq, attempt);
      const isLate = nowMs() - startedMs >= timeoutMs;
      if (result.kind === "pending") {
        // it may be over before any timer can fire the signal
        if (isLate) result.signal.abort("timed out");
        return { ...result, startedMs };
      }
      if (!isLate || isRuled(result)) return result;
      const stack = result.kind === "failed" ? result.stack : "";
      return { kind: "failed", how: "timed out", message: "The attempt took longer than --timeout", stack };
    },
  };
}

/** The handler decided by `ctx.skip` or `ctx.fatal`. */
function isRuled(result: Result): boolean {
  return result.kind === "skipped" || (result.kind === "failed" && result.how === "fatal");
}

/**
 * Which job the running code belongs to: what a handler began without waiting for it (a timer, a promise, a callback)
 * carries the tag of its job along, also when that has ended. Bun does not say whose a rejected promise is, of an
 * exception it does; Deno the other way round.
 */
export class JobTags {
  readonly #storage = new AsyncLocalStorage<number | undefined>();

  /** What begins from now on belongs to this job. */
  enter(seq: number): void {
    this.#storage.enterWith(seq);
  }

  /** What begins from now on belongs to no job, or to one that is not tagged. */
  leave(): void {
    this.#storage.enterWith(undefined);
  }

  /** Null if it is not known. */
  get current(): number | null {
    return this.#storage.getStore() ?? null;
  }
}

/** Errors that came after their job was acked, told to the supervisor at the end of each turn of the event loop. */
export class LateErrors {
  readonly #send: (message: WorkerMessage) => void;
  #errors: LateError[] = [];
  #count = 0;

  constructor(send: (message: WorkerMessage) => void) {
    this.#send = send;
  }

  add(seq: number | null, message: string): void {
    if (this.#count++ === 0) setImmediate(() => this.flush());
    if (this.#errors.length < lateErrorsMax) {
      this.#errors.push({ seq, message: message.slice(0, errorMessageCharsMax) });
    }
  }

  /** Says what is not said yet, at once. */
  flush(): void {
    const late = this.take();
    if (late !== null) this.#send(late);
  }

  /** What is not said yet; null if there is none. */
  take(): WorkerMessage | null {
    if (this.#count === 0) return null;
    const late = { kind: "late", errors: this.#errors, count: this.#count } as const;
    this.#errors = [];
    this.#count = 0;
    return late;
  }
}
