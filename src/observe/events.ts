import type {
  DeadLetter,
  FailedAttempt,
  Outcome,
  Reason,
  RunCounts,
  RunStatus,
  SessionId,
  SessionStatus,
} from "../core/types.ts";
import type { LogLevel } from "../lib/log.ts";
import type { Address } from "../lib/units.ts";
import type { LateError } from "../protocol/messages.ts";

/** What an earlier start saved. */
export type Resumed =
  & RunCounts
  & Readonly<{
    stranded: number;
    /** The run had finished: only jobs that appeared since are handed out. */
    complete: boolean;
  }>;

/**
 * What happens at a master, as it happens: the one stream that the log, `--json` and every other view are made from. A
 * listener must not throw.
 */
export type MasterEvent =
  /** First of all. `fingerprint`: SHA-256 of its certificate; null without TLS. */
  | Readonly<{
    kind: "started";
    key: string;
    runId: string;
    resumed: Resumed | null;
    statePath: string;
    address: Address;
    fingerprint: string | null;
  }>
  | Readonly<{
    kind: "joined";
    session: SessionId;
    slave: string;
    procs: number;
    version: string;
    /** The base name of its plugin's file; null: it has none of its own. */
    plugin: string | null;
  }>
  /** `isOffence`: it broke the protocol, and was closed for that. */
  | Readonly<{ kind: "left"; session: SessionId; slave: string; reason: string; isOffence: boolean }>
  /** Something that a person should know. */
  | Readonly<{ kind: "warning"; level: "warn" | "error"; message: string; fields?: LogFields | undefined }>
  /** Any other line of the log; of all levels where the plugin wrote it. */
  | Readonly<{ kind: "log"; level: LogLevel; message: string; fields?: LogFields | undefined }>
  /** Errors came after the end of their jobs: `count` of them, some named. */
  | Readonly<{ kind: "late"; slave: string; errors: readonly LateError[]; count: number }>
  /** Told only where the log shows it. */
  | Readonly<{ kind: "attempt failed"; failed: FailedAttempt }>
  /** These are durable now. */
  | Readonly<{ kind: "dead letters"; letters: readonly DeadLetter[] }>
  | Readonly<{ kind: "saved"; tookMs: number }>
  /** An operator did something: the command with its value, and how the operator's side calls itself. */
  | Readonly<{ kind: "control"; command: string; value: string | null; by: string }>
  /** The first stop was asked for. */
  | Readonly<{ kind: "stopping" }>
  | Readonly<{ kind: "ended"; outcome: Outcome }>;

type LogFields = Readonly<Record<string, unknown>>;

/** Why the run is not faster, as far as the core or the process around it knows. */
export type RunReason =
  | Reason
  | Readonly<
    /** What of the user's own is waited for. */
    | { code: "waiting_for_user"; what: string; forMs: number }
    /** The source, by its name such as `getJobs`, owes a job and gives none. */
    | { code: "source_silent"; source: string; forMs: number }
    /** What slaves wait for themselves, or why one that is to join soon has not joined. */
    | { code: "waiting_for_slaves"; what: string }
    /** The run is over. */
    | { code: "ended"; outcome: Outcome["kind"] }
  >;

/** Numbers of a run as of now; `lateErrors`: how many, in this start. */
export type MasterStatus =
  & Omit<RunStatus, "reason">
  & Readonly<{
    reason: RunReason;
    /** Jobs settled a second, over the last seconds. */
    ratePerSecond: number;
    elapsedMs: number;
    lateErrors: number;
  }>;

/** One slave that is connected. */
export type SlaveRow =
  & SessionStatus
  & Readonly<{
    /** Its worker processes. */
    workers: number;
    version: string;
    /** Jobs settled a second, over the last seconds. */
    ratePerSecond: number;
    /** What it waits for, in its words; empty if for nothing. */
    waitsFor: string;
  }>;

/** All that is shown of a run: never an object a job. */
export type Snapshot =
  & MasterStatus
  & Readonly<{
    key: string;
    runId: string;
    plugin: string;
    version: string;
    address: Address;
    /** The cap on jobs yielded and not settled. */
    jobsMax: number;
    /** Since the last state that became durable. */
    savedAgoMs: number;
    /** The latest thing that a person should know; null if there was none. */
    warning: Readonly<{ message: string; agoMs: number }> | null;
    sessions: readonly SlaveRow[];
  }>;

/** Errors that came after their job was acked: how many there were in this start, and the first of them. */
export type LateErrorCounts = Readonly<
  { count: number; errors: readonly (LateError & Readonly<{ slave: string }>)[] }
>;
