import type { Ranges } from "../base/ranges.ts";
import type { Failure, LateError } from "./messages.ts";

/** What a slave's supervisor says to one of its workers. Same frames as on the network. */
export type SupervisorMessage =
  /**
   * First. The worker imports the plugin and says `loaded`, `unloadable` or `changed`; none of its functions is called
   * yet. An empty `exportName` is the default. `hash` is what the code of the plugin must be; empty for the first
   * worker, which says what it is.
   */
  | Readonly<{ kind: "load"; plugin: string; exportName: string; hash: Uint8Array }>
  /** Once a master was found. The worker calls the plugin's `setup`, then says `prepared` or `unloadable`. */
  | Readonly<{
    kind: "setup";
    args: Readonly<Record<string, string>>;
    runId: string;
    concurrency: number;
    timeoutMs: number;
  }>
  /** Run these jobs in order: `count` encoded jobs numbered from `seq`. Slices of a worker are numbered from 1. */
  | Readonly<{ kind: "slice"; slice: number; seq: number; count: number; attempt: number; jobs: Uint8Array }>
  /** Hand back what has not begun. */
  | Readonly<{ kind: "withdraw" }>
  /** Fire the signal of these jobs: their lease is lost, or the grace of a stop ended. */
  | Readonly<{ kind: "abort"; jobs: Ranges; why: "lost" | "stop" }>
  /**
   * Finish what runs, call `teardown`, wait at most `waitMs` for what goes on all the same, exit 0. Where it `isSick`, as
   * what `setup` opened may be broken, `teardown` may well fail.
   */
  | Readonly<{ kind: "quit"; waitMs: number; isSick: boolean }>;

/** What a worker says to its supervisor. */
export type WorkerMessage =
  /** First, once each has proved to the other that it is who it should be. */
  | Readonly<{ kind: "hello"; pid: number; runtime: string }>
  /** The plugin was imported and has a handler; `options` are its own. */
  | Readonly<{ kind: "loaded"; hash: Uint8Array; options: Readonly<Record<string, unknown>> }>
  /** `setup` ended: the worker takes slices. */
  | Readonly<{ kind: "prepared" }>
  /** The plugin's code is not what the other workers of this slave run; nothing of it was. The sentence says so. */
  | Readonly<{ kind: "changed"; message: string }>
  /** The plugin did not load, or its `setup` threw; the sentence says why. */
  | Readonly<{ kind: "unloadable"; message: string }>
  /**
   * How jobs of one slice ended. `busyMs`: how long, since the answer before, the worker had jobs to run; with
   * the number of jobs it gives the worker's speed.
   */
  | Readonly<{
    kind: "answer";
    slice: number;
    done: Ranges;
    skipped: Ranges;
    failed: readonly Failure[];
    released: Ranges;
    busyMs: number;
  }>
  /** These jobs passed the timeout and still run: the worker takes nothing until they end. Empty: it takes jobs again. */
  | Readonly<{ kind: "overdue"; jobs: Ranges }>
  /** Errors that came after their job was acked, since the `late` before: `count` in all, some of them named. */
  | Readonly<{ kind: "late"; errors: readonly LateError[]; count: number }>
  /** `teardown` ended: the worker only waits for what goes on all the same. */
  | Readonly<{ kind: "resting" }>
  /** All of that has ended, or is told to be cut off: the process ends next. */
  | Readonly<{ kind: "over" }>
  /** Something threw outside of any job; the worker is about to exit. */
  | Readonly<{ kind: "broken"; message: string }>
  | Readonly<{ kind: "beat" }>;
