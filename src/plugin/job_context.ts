import { JobSignal } from "./job_signal.ts";
import type { JobContext, PluginLog } from "./types.ts";

/** What `ctx.skip` or `ctx.fatal` decided about a job; the first call counts. */
export type Verdict = Readonly<{ kind: "skip" | "fatal"; reason: string; error: Error }>;

/** What all jobs of a worker process share. */
export type SharedParts = Readonly<{
  args: Readonly<Record<string, string>>;
  log: PluginLog;
  shared: unknown;
}>;

/**
 * The `ctx` of one handler call. One is made for each job, so it does nothing that a handler does not ask for: what
 * most never read is made when it is read (an object with its own accessor and functions takes four times as long).
 * `const { skip, signal } = ctx` works; only a copy made with `{ ...ctx }` has neither of them.
 */
export class HandlerContext implements JobContext {
  readonly args: Readonly<Record<string, string>>;
  readonly log: PluginLog;
  readonly shared: unknown;
  readonly seq: number;
  readonly attempt: number;
  #signal: JobSignal | undefined = undefined;
  #verdict: Verdict | undefined = undefined;

  constructor(parts: SharedParts, seq: number, attempt: number) {
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

  #decide(kind: Verdict["kind"], reason: string): never {
    const text = String(reason);
    const error = new Error(`ctx.${kind}: ${text}`);
    this.#verdict ??= { kind, reason: text, error };
    throw error;
  }

  /** What the plugin decided about the job of this context; out of the plugin's reach. */
  static verdictOf(context: HandlerContext): Verdict | undefined {
    return context.#verdict;
  }

  /** By which the job of this context is aborted: made when the handler reads it, or goes on behind a promise. */
  static signalOf(context: HandlerContext): JobSignal {
    return context.#signal ??= new JobSignal();
  }
}
