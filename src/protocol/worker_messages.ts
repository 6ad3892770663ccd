import type { Ranges } from "../base/ranges.ts";
import type { Failure } from "./messages.ts";

/** What a slave's supervisor says to one of its workers. Same frames as on the network. */
export type SupervisorMessage =
  | Readonly<{
    kind: "setup"; plugin: string; exportName: string; args: Readonly<Record<string, string>>; runId: string;
    concurrency: number; timeoutMs: number;
  }>
  /** Run these jobs in order: `count` encoded jobs numbered from `seq`. Slices of a worker are numbered from 1. */
  | Readonly<{ kind: "slice"; slice: number; seq: number; count: number; attempt: number; jobs: Uint8Array }>
  /** Hand back what has not begun. */
  | Readonly<{ kind: "withdraw" }>
  /** Fire the signal of these jobs: their lease is lost, or the grace of a stop ended. */
  | Readonly<{ kind: "abort"; jobs: Ranges; why: "lost" | "stop" }>
  /** Finish what runs, call `teardown`, exit 0. */
  | Readonly<{ kind: "quit" }>;

/** What a worker says to its supervisor. */
export type WorkerMessage =
  /** First; `secret` is from the environment, so that nobody else can speak for the worker. */
  | Readonly<{ kind: "hello"; pid: number; secret: string; runtime: string }>
  /** The plugin loaded, and `setup` ended. */
  | Readonly<{ kind: "loaded"; hash: Uint8Array; options: Readonly<Record<string, unknown>> }>
  /** The plugin did not load; the sentence says why. */
  | Readonly<{ kind: "unloadable"; message: string }>
  | Readonly<{
    kind: "answer"; slice: number; done: Ranges; skipped: Ranges; failed: readonly Failure[]; released: Ranges;
  }>
  | Readonly<{ kind: "beat" }>;
