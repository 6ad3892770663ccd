import type { RunCounts } from "../core/types.ts";

/** Leveled lines on stderr. */
export type PluginLog = Readonly<
  Record<
    "debug" | "info" | "warn" | "error",
    (message: string, fields?: Readonly<Record<string, unknown>>) => void
  >
>;

/** What every function of a plugin is told. */
export interface Context {
  /** The `name=value` words behind the plugin on the command line. */
  readonly args: Readonly<Record<string, string>>;
  /**
   * In `getJobs`: aborted when a stop begins. In a handler: when the grace of a stop ends, at `--timeout`, and
   * when the job's lease is lost.
   */
  readonly signal: AbortSignal;
  readonly log: PluginLog;
}

/** What `getJobs` is told besides. */
export interface SourceContext extends Context {
  /**
   * Ends the run at once: calling `getJobs` again cannot help, for an argument is missing, or a file. What was yielded
   * before is finished and saved, the exit code is 1, and the run can be resumed. Throws; the first call counts even
   * if the plugin catches it.
   */
  fatal(reason: string): never;
}

/**
 * What a handler is told besides. A copy made with `{ ...ctx }` lacks `signal`, `skip` and `fatal`: pass `ctx` itself
 * on.
 */
export interface JobContext<Shared = unknown> extends Context {
  /** Which attempt this is, from 1. */
  readonly attempt: number;
  /** The job's number in source order, from 0. */
  readonly seq: number;
  /** What `setup` returned in this worker process. */
  readonly shared: Shared;
  /** Makes the job a dead letter at once. Throws; the first call counts even if the plugin catches it. */
  fatal(reason: string): never;
  /** Settles the job as skipped. Throws; the first call counts even if the plugin catches it. */
  skip(reason: string): never;
}

/** What `throttle` may answer; `pauseMs`: for so long, at most a day. */
export type Throttled = boolean | void | Readonly<{ pauseMs: number; reason?: string }>;

export type Jobs<Job> = Iterable<Job> | AsyncIterable<Job>;

/** How a run ended, for `onFinish`: its counts over all starts, and what they come to. */
export interface Summary extends RunCounts {
  readonly complete: boolean;
  readonly stranded: number;
  /** Errors of this start that came after the end of their jobs, as of a forgotten `await`. */
  readonly lateErrors: number;
  readonly elapsedMs: number;
}

/** A plugin: an ES module with these exports, or with a default export that holds them. */
export interface Plugin<Job = unknown, Cursor = Job, Shared = unknown> {
  /** The jobs after `last`, which is undefined on a fresh start. */
  getJobs?(last: Cursor | undefined, ctx: SourceContext): Jobs<Job> | Promise<Jobs<Job>>;
  /** Does the work; its result is ignored; throwing fails the attempt. Must be idempotent. */
  handleJob?(job: Job, ctx: JobContext<Shared>): unknown;
  /** What `last` will be; pure, synchronous, never undefined. The default is the job itself. */
  cursor?(job: Job): Cursor;
  /** Once per worker process, before its first job. */
  setup?(ctx: Context): Shared | Promise<Shared>;
  /** Once per worker process, after its last job. */
  teardown?(ctx: Context & { readonly shared: Shared }): unknown;
  /**
   * At the master, about once a second: whether the whole fleet is to wait. `true`, or `{ pauseMs, reason }`, holds it;
   * `undefined` or `false` lets it go on. Nothing is handed out before the first answer, nor while this throws, answers
   * anything else, or does not answer for 15 s.
   */
  throttle?(ctx: Context): Throttled | Promise<Throttled>;
  /** Once, at the master, when a run ends. */
  onFinish?(summary: Summary, ctx: Context): unknown;
  /** Defaults for flags, by their long names: `{ concurrency: 100, "size-bytes": "16MiB" }`. */
  options?: Readonly<Record<string, string | number | boolean>>;
}
