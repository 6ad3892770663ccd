/**
 * Why a job's signal fires: a stop whose grace ended, a lost lease, or an attempt that took too long. The first
 * two cost nothing; the last is charged.
 */
export type AbortWhy = "stop" | "lost" | "timed out";

const reasons: Readonly<Record<AbortWhy, string>> = {
  "stop": "The slave stops and its grace is over",
  "lost": "The lease of this job is lost: another slave runs it",
  "timed out": "The attempt took longer than --timeout",
};

/**
 * The abort of one job in one attempt. Its AbortController is made only when the handler touches `ctx.signal`:
 * most never do, and making one costs more than a small job.
 */
export class JobSignal {
  /** Undefined until `abort`; the first reason stays. */
  why: AbortWhy | undefined = undefined;
  #controller: AbortController | undefined = undefined;

  /** What a handler sees as `ctx.signal`. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.why !== undefined) this.#fire(this.why);
    return this.#controller.signal;
  }

  /** Fires the signal, once; later calls change nothing. */
  abort(why: AbortWhy): void {
    if (this.why !== undefined) return;
    this.why = why;
    this.#fire(why);
  }

  #fire(why: AbortWhy): void {
    if (this.#controller === undefined || this.#controller.signal.aborted) return;
    const name = why === "timed out" ? "TimeoutError" : "AbortError";
    this.#controller.abort(new DOMException(reasons[why], name));
  }
}
