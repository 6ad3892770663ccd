import type { RunCounts } from "../core/types.ts";

/** Leveled lines on stderr. */
export type PluginLog = Readonly<
  Record<
    "debug" | "info" | "warn" | "error",
    (message: string, fields?: Readonly<Record<string, unknown>>) => void
  >
>;

/** One argument of a plugin, a row of its `args` export. */
export type Arg = Readonly<{
  /** What its text is read as. @default "string" */
  type?: "string" | "number" | "integer" | "boolean" | "choice";
  /** What a `choice` may be. */
  choices?: readonly string[];
  /** Of that type. Without one, an argument that is not given is undefined. */
  default?: string | number | boolean;
  /** Whether the run does not start without it. */
  required?: boolean;
  /** What it is for, in a line. */
  help?: string;
  /** Whether another value makes another run. One of a trial alone, or of the speed, does not. @default true */
  identity?: boolean;
}>;

/** The `args` export: each argument by its name. */
export type ArgRows = Readonly<Record<string, Arg>>;

/** Arguments as they were typed: what `ctx.args` holds where a plugin has no `args` export. */
export type ArgTexts = Readonly<Record<string, string>>;

/** Arguments as `args` reads them. */
export type ArgValues = Readonly<Record<string, string | number | boolean | undefined>>;

type ArgValue<Row extends Arg> = Row extends Readonly<{ type: "number" | "integer" }> ? number
  : Row extends Readonly<{ type: "boolean" }> ? boolean
  : Row extends Readonly<{ type: "choice"; choices: readonly (infer Choice)[] }> ? Choice
  : string;

/** What `ctx.args` holds: `Context<ArgsOf<typeof args>>`, where `args` is declared `as const satisfies ArgRows`. */
export type ArgsOf<Rows extends ArgRows> = {
  readonly [Name in keyof Rows]:
    | ArgValue<Rows[Name]>
    | (Rows[Name] extends Readonly<{ required: true } | { default: string | number | boolean }> ? never
      : undefined);
};

/** What every function of a plugin is told. */
export interface Context<Args = ArgTexts> {
  /** The `name=value` words behind the plugin on the command line, as its `args` export reads them. */
  readonly args: Args;
  /**
   * In `getJobs`: aborted when a stop begins. In a handler: when the grace of a stop ends, at `--timeout`, and
   * when the job's lease is lost.
   */
  readonly signal: AbortSignal;
  readonly log: PluginLog;
}

/** What `getJobs` is told besides. */
export interface SourceContext<Args = ArgTexts> extends Context<Args> {
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
export interface JobContext<Shared = unknown, Args = ArgTexts> extends Context<Args> {
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
export interface Plugin<Job = unknown, Cursor = Job, Shared = unknown, Args = ArgTexts> {
  /** The jobs after `last`, which is undefined on a fresh start. */
  getJobs?(last: Cursor | undefined, ctx: SourceContext<Args>): Jobs<Job> | Promise<Jobs<Job>>;
  /** Does the work; its result is ignored; throwing fails the attempt. Must be idempotent. */
  handleJob?(job: Job, ctx: JobContext<Shared, Args>): unknown;
  /** What `last` will be; pure, synchronous, never undefined. The default is the job itself. */
  cursor?(job: Job): Cursor;
  /** Once per worker process, before its first job. */
  setup?(ctx: Context<Args>): Shared | Promise<Shared>;
  /** Once per worker process, after its last job. */
  teardown?(ctx: Context<Args> & { readonly shared: Shared }): unknown;
  /**
   * At the master, about once a second: whether the whole fleet is to wait. `true`, or `{ pauseMs, reason }`, holds it;
   * `undefined` or `false` lets it go on. Nothing is handed out before the first answer, nor while this throws, answers
   * anything else, or does not answer for 15 s.
   */
  throttle?(ctx: Context<Args>): Throttled | Promise<Throttled>;
  /** Once, at the master, when a run ends. */
  onFinish?(summary: Summary, ctx: Context<Args>): unknown;
  /** Its arguments. Any other, one that is required and missing, and a value of another type end the start. */
  args?: ArgRows;
  /** Defaults for flags, by their long names: `{ concurrency: 100, "size-bytes": "16MiB" }`. */
  options?: Readonly<Record<string, string | number | boolean>>;
}

/** A plugin of whatever jobs and arguments, as it is loaded. */
export type AnyPlugin = Plugin<unknown, unknown, unknown, ArgValues>;
