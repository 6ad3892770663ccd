import { types } from "node:util";
import { describeError } from "./describe_error.ts";
import {
  type ContextParts,
  type JobHandler,
  JobSignal,
  type JobSlice,
  type Pending,
  type Result,
} from "./handler.ts";
import type { AnyPlugin, ArgValues, JobContext, PluginLog } from "./types.ts";

type Peek = Readonly<{ status(promise: Promise<unknown>): "pending" | "fulfilled" | "rejected" }>;

/**
 * Whether this is a promise that is known to be fulfilled, such as that of an `async` function that awaited nothing.
 * False under Deno and Node, which do not tell before the next microtask. @see https://bun.com/docs/api/utils#bun-peek
 */
function isFulfilled(value: object): boolean {
  // `peek` reports any value that is no promise as fulfilled. A subclass may begin its work only when `await` calls its `then`.
  return peek !== undefined && types.isPromise(value) && value.constructor === Promise &&
    peek.status(value) === "fulfilled";
}

const { peek } = (globalThis as { Bun?: { peek: Peek } }).Bun ?? {};

/** What `ctx.skip` or `ctx.fatal` decided about a job; the first call counts. */
type ThrownVerdict = Readonly<{ kind: "skip" | "fatal"; reason: string; error: Error }>;

/**
 * The `ctx` of one handler call. There is one for each job, so it must be cheap: what most handlers never read is made
 * when it is read (an object literal with an accessor and functions of its own takes four times as long to make).
 * `const { skip, signal } = ctx` works; a copy made with `{ ...ctx }` has neither.
 */
class HandlerContext implements JobContext<unknown, ArgValues> {
  readonly args: ArgValues;
  readonly log: PluginLog;
  readonly shared: unknown;
  readonly seq: number;
  readonly attempt: number;
  #signal: JobSignal | undefined = undefined;
  #verdict: ThrownVerdict | undefined = undefined;

  constructor(parts: ContextParts, seq: number, attempt: number) {
    this.args = parts.args;
    this.log = parts.log;
    this.shared = parts.shared;
    this.seq = seq;
    this.attempt = attempt;
  }

  get signal(): AbortSignal {
    return HandlerContext.signalOf(this).signal;
  }

  get skip(): (reason: string) => never {
    return (reason) => this.#decide("skip", reason);
  }

  get fatal(): (reason: string) => never {
    return (reason) => this.#decide("fatal", reason);
  }

  #decide(kind: ThrownVerdict["kind"], reason: string): never {
    const text = String(reason);
    const error = new Error(`ctx.${kind}: ${text}`);
    this.#verdict ??= { kind, reason: text, error };
    throw error;
  }

  /** What the plugin decided about the job. Static and private, so that a plugin cannot reach it. */
  static verdictOf(context: HandlerContext): ThrownVerdict | undefined {
    return context.#verdict;
  }

  /** The abort of the job; made when the handler reads `ctx.signal` or returns a promise. */
  static signalOf(context: HandlerContext): JobSignal {
    return context.#signal ??= new JobSignal();
  }
}

/** Results without data are always these two objects. */
const done: Result = Object.freeze({ kind: "done" });
const released: Result = Object.freeze({ kind: "released" });

/** `handleJob` of a plugin, called for one job at a time. */
export class HandleJob implements JobHandler {
  readonly jobsPerCall = 1;
  readonly #plugin: AnyPlugin;
  readonly #parts: ContextParts;

  constructor(plugin: AnyPlugin, parts: ContextParts) {
    this.#plugin = plugin;
    this.#parts = parts;
  }

  run(slice: JobSlice, seq: number): Result | Pending {
    const context = new HandlerContext(this.#parts, seq, slice.attempt);
    let returned: unknown;
    try {
      returned = this.#plugin.handleJob!(slice.jobs[seq - slice.seq], context);
      if (goesOn(returned)) return pending(returned, context);
    } catch (error) {
      return failure(error, context, undefined);
    }
    return success(context, undefined);
  }
}

function pending(returned: PromiseLike<unknown>, context: HandlerContext): Pending {
  const signal = HandlerContext.signalOf(context);
  return { kind: "pending", ended: new Ending(returned, context, signal), signal, startedMs: undefined };
}

/** The end of a call that goes on. Not a promise: there is one for each job, and one callback. */
class Ending {
  readonly #returned: PromiseLike<unknown>;
  readonly #context: HandlerContext;
  readonly #signal: JobSignal;

  constructor(returned: PromiseLike<unknown>, context: HandlerContext, signal: JobSignal) {
    this.#returned = returned;
    this.#context = context;
    this.#signal = signal;
  }

  /** Uses `await`, which never calls the `then` of a native promise: a plugin may have replaced that method. */
  async then(onEnded: (result: Result) => void): Promise<void> {
    let result: Result;
    try {
      await this.#returned;
      result = success(this.#context, this.#signal);
    } catch (error) {
      result = failure(error, this.#context, this.#signal);
    }
    onEnded(result);
  }
}

/** Whether the handler is still running: it returned a promise or thenable that is not known to be fulfilled. */
function goesOn(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && !isFulfilled(value) &&
    typeof (value as { then?: unknown }).then === "function";
}

/** The handler returned; without a signal, synchronously. After the timeout the attempt is charged all the same. */
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

function ruled(verdict: ThrownVerdict): Result {
  const { message: reason } = describeError(verdict.reason);
  if (verdict.kind === "skip") return { kind: "skipped", reason };
  return { kind: "failed", how: "fatal", message: reason, stack: describeError(verdict.error).stack };
}

function timedOut(signal: JobSignal, stack: string): Result {
  const reason = signal.signal.reason as DOMException;
  return { kind: "failed", how: "timed out", message: reason.message, stack };
}
