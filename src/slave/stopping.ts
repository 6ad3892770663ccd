/** After the signals fired, handlers have this long to end. */
const abortedMs = 1_000;

type StoppingHooks = Readonly<{
  /** Hand back what has not begun. */
  withdraw: () => void;
  /** Fire the signals of what runs. */
  abort: () => void;
  /** End what runs by force. */
  kill: () => void;
  /** Whether nothing runs. */
  isIdle: () => boolean;
  /** Whether all was handed back or said, as far as the master took it. */
  isSaid: () => boolean;
  done: (why: "signal" | "master") => void;
}>;

/**
 * How a slave stops.
 *
 *     NOT --- begin ---> FINISHING --- grace over ---> ABORTED --- 1 s ---> KILLED
 *      ^                    '--- nothing runs, all said ---'-------------------'---> done
 *      '--- end: the master that asked is gone, and there is another
 *
 * Past the grace, a slave that was told to stop by a signal does not wait for a master to say the rest to.
 */
export class Stopping {
  readonly #hooks: StoppingHooks;
  #why: "signal" | "master" | null = null;
  #stage: "finishing" | "aborted" | "killed" | "done" = "finishing";
  #untilMs = Infinity;
  /** When the grace ends; Infinity if it does not stop. */
  graceEndsMs = Infinity;

  constructor(hooks: StoppingHooks) {
    this.#hooks = hooks;
  }

  /** Null if it does not stop. */
  get why(): "signal" | "master" | null {
    return this.#why;
  }

  /** A signal outweighs a master; the grace that ends first holds. */
  begin(why: "signal" | "master", graceMs: number, nowMs: number): void {
    const isFirst = this.#why === null;
    this.#why = why;
    this.#untilMs = Math.min(this.#untilMs, nowMs + graceMs);
    this.graceEndsMs = Math.min(this.graceEndsMs, nowMs + graceMs);
    if (isFirst) this.#stage = "finishing";
    if (this.#stage === "done") this.#stage = "finishing";
    this.#hooks.withdraw();
  }

  /** It goes on as if nothing had been. */
  end(): void {
    this.#why = null;
    this.#untilMs = Infinity;
    this.graceEndsMs = Infinity;
  }

  /** What is left of the grace; null if it does not stop. */
  graceLeftMs(nowMs: number): number | null {
    return this.#why === null ? null : Math.max(0, this.graceEndsMs - nowMs);
  }

  tick(nowMs: number): void {
    const why = this.#why;
    if (why === null || this.#stage === "done") return;
    const isPatient = why === "master" || (this.#stage === "finishing" && nowMs < this.#untilMs);
    if (this.#hooks.isIdle() && (!isPatient || this.#hooks.isSaid())) {
      this.#stage = "done";
      return this.#hooks.done(why);
    }
    if (nowMs < this.#untilMs) return;
    if (this.#stage === "finishing") {
      this.#stage = "aborted";
      this.#untilMs = nowMs + abortedMs;
      this.#hooks.abort();
    } else if (this.#stage === "aborted") {
      this.#stage = "killed";
      this.#untilMs = Infinity;
      this.#hooks.kill();
    }
  }
}
