import { AsyncLocalStorage } from "node:async_hooks";
import { setImmediate } from "../lib/clock.ts";
import { errorMessageCharsMax, lateErrorsMax } from "../lib/limits.ts";
import type { LateError, WorkerMessage } from "../protocol/messages.ts";

/**
 * Which job the running code belongs to. Whatever a handler begins without waiting for it (a timer, a promise, a callback)
 * keeps the tag of its job, also after the job has ended. In an `unhandledRejection` Bun does not know the tag, in an
 * `uncaughtException` it does; Deno the other way round.
 */
export class JobTags {
  readonly #storage = new AsyncLocalStorage<number | undefined>();

  /** Tags what begins from now on with this job. */
  enter(seq: number): void {
    this.#storage.enterWith(seq);
  }

  /** What begins from now on belongs to no job, or to one that is not tagged. */
  leave(): void {
    this.#storage.enterWith(undefined);
  }

  /** The seq of the job that the running code belongs to; null if unknown. */
  get current(): number | null {
    return this.#storage.getStore() ?? null;
  }
}

/** Errors that came after their job was acked; sent to the supervisor at the end of each turn of the event loop. */
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

  /** Sends the errors that were not sent yet, at once. */
  flush(): void {
    const late = this.take();
    if (late !== null) this.#send(late);
  }

  /** Takes the errors that were not sent yet, as a message; null if there are none. */
  take(): WorkerMessage | null {
    if (this.#count === 0) return null;
    const late = { kind: "late", errors: this.#errors, count: this.#count } as const;
    this.#errors = [];
    this.#count = 0;
    return late;
  }
}
