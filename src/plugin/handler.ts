import { timedOutMessage } from "../protocol/messages.ts";
import type { Log } from "../lib/log.ts";
import { pluginLog } from "./describe_error.ts";
import type { AnyPlugin, ArgValues, PluginLog } from "./types.ts";

/** Consecutive jobs that a worker was given together, as a handler sees them. */
export type JobSlice = Readonly<{
  /** The seq of the first job. */
  seq: number;
  /** The number of this attempt, from 1; the same for each job of the slice. */
  attempt: number;
  jobs: readonly unknown[];
}>;

/**
 * Whatever takes jobs of a slice. `handleJob` of a plugin is one (see `HandleJob`). The runner decides when a call
 * begins: how many calls go on at once, that what may run is noted, and when a signal fires.
 */
export interface JobHandler {
  /** Most jobs that one call takes; Infinity for a slice as a whole. */
  readonly jobsPerCall: number;
  /**
   * One call: an attempt at the jobs of seq `from` up to, not including, `to`. Never throws. A call that is over when
   * the plugin's function returns is answered without a promise.
   */
  run(slice: JobSlice, from: number, to: number): CallResult | Pending;
}

/** How one attempt ended. */
export type Result =
  | Readonly<{ kind: "done" }>
  | Readonly<{ kind: "skipped"; reason: string }>
  | Readonly<{ kind: "failed"; how: "threw" | "timed out" | "fatal"; message: string; stack: string }>
  /** It threw after an abort by a stop or a lost lease: the job is handed back, and no attempt is spent. */
  | Readonly<{ kind: "released" }>;

/** How a call ended: one result for all its jobs, or one for each, in their order. */
export type CallResult = Result | Readonly<{ kind: "each"; results: readonly Result[] }>;

/** A call that is still running: it returned a promise that is not known to be fulfilled. */
export type Pending = {
  readonly kind: "pending";
  /** Calls back once, later; never rejects. To be asked at once, and once. */
  readonly ended: Readonly<{ then(onEnded: (result: CallResult) => void): unknown }>;
  /** Aborts the call. */
  readonly signal: JobSignal;
  /** When the call began, in milliseconds; set by the caller that measures it, otherwise undefined. */
  startedMs: number | undefined;
};

/**
 * Why a signal fires: the grace of a stop ended, the lease was lost, or the attempt took too long. Only the last is
 * charged.
 */
export type AbortWhy = "stop" | "lost" | "timed out";

const reasons: Readonly<Record<AbortWhy, string>> = {
  "stop": "The slave stops and its grace is over",
  "lost": "The lease of this job is lost: another slave runs it",
  "timed out": timedOutMessage,
};

/**
 * The abort of one call. Its AbortController is made when the plugin reads `ctx.signal`: most never do, and making one
 * takes longer than a small job.
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

/** What the `ctx` of all jobs of a worker process has in common. */
export type ContextParts = Readonly<{
  args: ArgValues;
  log: PluginLog;
  /** What `setup` returned. */
  shared: unknown;
}>;

/** A plugin in a worker process: `setup` once, then its handler for many jobs, then `teardown` once. */
export class PluginHost {
  readonly #plugin: AnyPlugin;
  /** The `ctx.signal` of `setup` and `teardown`; never aborted. */
  readonly #signal = new AbortController().signal;
  #parts: ContextParts;

  constructor(plugin: AnyPlugin, args: ArgValues, log: Log) {
    this.#plugin = plugin;
    this.#parts = { args, log: pluginLog(log), shared: undefined };
  }

  /** Calls `setup` if there is one; rejects with what it throws. */
  async setup(): Promise<ContextParts> {
    const { args, log } = this.#parts;
    const shared = await this.#plugin.setup?.({ args, log, signal: this.#signal });
    return this.#parts = { args, log, shared };
  }

  /** Calls `teardown` if there is one; rejects with what it throws. */
  async teardown(): Promise<void> {
    await this.#plugin.teardown?.({ ...this.#parts, signal: this.#signal });
  }
}
