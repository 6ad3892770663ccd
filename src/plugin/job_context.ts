import type { JobSignal } from "./job_signal.ts";
import type { JobContext, PluginLog } from "./types.ts";

/** What `ctx.skip` or `ctx.fatal` decided about a job; the first call counts. */
export type Verdict = Readonly<{ kind: "skip" | "fatal"; reason: string; error: Error }>;

/** One job in one attempt: what its handler decided, and its signal. */
export interface Attempted {
  verdict: Verdict | undefined;
  readonly signal: JobSignal;
}

/** What all jobs of a worker process share. */
export type SharedParts = Readonly<{
  args: Readonly<Record<string, string>>;
  log: PluginLog;
  shared: unknown;
}>;

/**
 * The `ctx` of one handler call. An object literal on purpose: its own enumerable properties survive
 * `{ ...ctx }`, its functions work without `this` after `const { skip } = ctx`, and `signal` is made only
 * when read (25 million of these a second in Bun).
 */
export function jobContext(
  parts: SharedParts,
  seq: number,
  attempt: number,
  attempted: Attempted,
): JobContext {
  return {
    args: parts.args,
    log: parts.log,
    shared: parts.shared,
    seq,
    attempt,
    get signal() {
      return attempted.signal.signal;
    },
    skip: (reason) => decide(attempted, "skip", reason),
    fatal: (reason) => decide(attempted, "fatal", reason),
  };
}

function decide(attempted: Attempted, kind: Verdict["kind"], reason: string): never {
  const text = String(reason);
  const error = new Error(`ctx.${kind}: ${text}`);
  attempted.verdict ??= { kind, reason: text, error };
  throw error;
}
