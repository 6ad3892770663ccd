import type { Log } from "../base/log.ts";
import { describeError } from "./describe_error.ts";
import { HandlerContext, type SharedParts, type Verdict } from "./job_context.ts";
import { isFulfilled } from "./is_fulfilled.ts";
import type { JobSignal } from "./job_signal.ts";
import { pluginLog } from "./plugin_log.ts";
import type { Plugin } from "./types.ts";

/** How one attempt ended. */
export type Result =
  | Readonly<{ kind: "done" }>
  | Readonly<{ kind: "skipped"; reason: string }>
  | Readonly<{ kind: "failed"; how: "threw" | "timed out" | "fatal"; message: string; stack: string }>
  /** It threw after an abort by stop or lost lease: handed back, nothing is spent. */
  | Readonly<{ kind: "released" }>;

/** An attempt whose handler returned a promise that is not known to be fulfilled. */
export type Pending = Readonly<{
  kind: "pending";
  /** Never rejects. */
  ended: Promise<Result>;
  /** Aborts it. */
  signal: JobSignal;
}>;

export type HandlerParts = Readonly<{
  args: Readonly<Record<string, string>>;
  log: Log;
  /** For `setup` and `teardown`; fires when the worker must end. */
  signal?: AbortSignal;
}>;

/** The results that carry nothing are these two objects, always: compare by identity or by kind. */
const done: Result = Object.freeze({ kind: "done" });
const released: Result = Object.freeze({ kind: "released" });

/**
 * Runs a plugin's handler in a worker process: `setup` once, then `run` for each job, then `teardown` once.
 */
export class Handler {
  readonly #plugin: Plugin;
  readonly #signal: AbortSignal;
  #parts: SharedParts;

  constructor(plugin: Plugin, parts: HandlerParts) {
    this.#plugin = plugin;
    this.#signal = parts.signal ?? new AbortController().signal;
    this.#parts = { args: parts.args, log: pluginLog(parts.log), shared: undefined };
  }

  /** Calls `setup` if there is one; rejects with what it throws. */
  async setup(): Promise<void> {
    const { args, log } = this.#parts;
    const shared = await this.#plugin.setup?.({ args, log, signal: this.#signal });
    this.#parts = { args, log, shared };
  }

  /** Calls `teardown` if there is one; rejects with what it throws. */
  async teardown(): Promise<void> {
    await this.#plugin.teardown?.({ ...this.#parts, signal: this.#signal });
  }

  /**
   * One attempt at one job. Never throws. A handler that is over when it returns is answered without a promise; an
   * `async` one only where the runtime tells.
   *
   * @param attempt From 1.
   */
  run(job: unknown, seq: number, attempt: number): Result | Pending {
    const context = new HandlerContext(this.#parts, seq, attempt);
    let returned: unknown;
    try {
      returned = this.#plugin.handleJob!(job, context);
      if (goesOn(returned)) return pending(returned, context);
    } catch (error) {
      return failure(error, context, undefined);
    }
    return success(context, undefined);
  }
}

function pending(returned: PromiseLike<unknown>, context: HandlerContext): Pending {
  const signal = HandlerContext.signalOf(context);
  return { kind: "pending", ended: settle(returned, context, signal), signal };
}

async function settle(
  returned: PromiseLike<unknown>,
  context: HandlerContext,
  signal: JobSignal,
): Promise<Result> {
  try {
    await returned;
  } catch (error) {
    return failure(error, context, signal);
  }
  return success(context, signal);
}

/** Whether the attempt goes on. A promise that is fulfilled already does not: an `async` handler need not await anything. */
function goesOn(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && !isFulfilled(value) &&
    typeof (value as { then?: unknown }).then === "function";
}

/** The handler returned. Past `--timeout` the attempt is charged all the same. No signal: it did so at once. */
function success(context: HandlerContext, signal: JobSignal | undefined): Result {
  const verdict = HandlerContext.verdictOf(context);
  if (verdict !== undefined) return ruled(verdict);
  return signal?.why === "timed out" ? timedOut(signal, "") : done;
}

/** The handler threw. */
function failure(error: unknown, context: HandlerContext, signal: JobSignal | undefined): Result {
  const verdict = HandlerContext.verdictOf(context);
  if (verdict !== undefined) return ruled(verdict);
  if (signal?.why === "stop" || signal?.why === "lost") return released;
  const { message, stack } = describeError(error);
  if (signal?.why === "timed out") return timedOut(signal, stack);
  return { kind: "failed", how: "threw", message, stack };
}

function ruled(verdict: Verdict): Result {
  const { message: reason } = describeError(verdict.reason);
  if (verdict.kind === "skip") return { kind: "skipped", reason };
  return { kind: "failed", how: "fatal", message: reason, stack: describeError(verdict.error).stack };
}

function timedOut(signal: JobSignal, stack: string): Result {
  const reason = signal.signal.reason as DOMException;
  return { kind: "failed", how: "timed out", message: reason.message, stack };
}
