import type { DeadLetter, Outcome, RunStatus, SessionId } from "../core/types.ts";
import type { Log } from "../lib/log.ts";
import type { Address } from "../lib/units.ts";
import type { MasterTls } from "../link/tls.ts";
import type { LoadedPlugin } from "../plugin/load_plugin.ts";
import type { LateError } from "../protocol/messages.ts";

/** What the options of the command line set at a master, each by its row. Times in milliseconds, sizes in bytes. */
export type MasterSettings = Readonly<{
  reset: boolean;
  force: boolean;
  jobsMax: number;
  bytesMax: number;
  failuresMax: number;
  backoffMs: number;
  /** @default 0: none */
  timeoutMs?: number | undefined;
  /** How long everything may fail. @default for ever, and 5 minutes where nothing but failed jobs is left. */
  maxOutageMs?: number | undefined;
  /** Most bytes of dead letters on the disk; the run ends before there are more. @default 1 GiB */
  maxDeadBytes?: number | undefined;
  heartbeatMs: number;
  /** `auto`: as often as it costs little. */
  checkpointMs: number | "auto";
  graceMs: number;
}>;

/** All that a master is told at its start. */
export type MasterOptions =
  & MasterSettings
  & Readonly<{
    plugin: LoadedPlugin;
    args: Readonly<Record<string, string>>;
    host: string;
    /** 0 takes a free one. */
    port: number;
    /** Whether to take a free port if `port` is in use. */
    portFallback: boolean;
    /** Null: no proof is asked for (`--insecure`). */
    token: Uint8Array | null;
    /** Undefined: the traffic is not encrypted. */
    tls?: MasterTls | undefined;
    key: string;
    stateDir: string;
    /** How long stranded leases wait for the slaves that held them. */
    reclaimMs: number;
    version: string;
    /** Whether each failed attempt is worth a line of the log, at debug. @default false */
    logsAttempts?: boolean;
    log: Log;
    onEvent?: (event: MasterEvent) => void;
  }>;

/** A master that listens. */
export interface Master {
  /** Really bound. */
  readonly address: Address;
  /** SHA-256 of its certificate, as a slave's pin takes it; null without TLS. */
  readonly fingerprint: string | null;
  readonly runId: string;
  /** What an earlier start left; null on a fresh one. */
  readonly resumed: Resumed | null;
  readonly statePath: string;
  /** Resolves at the end, whatever the end; never rejects. */
  readonly finished: Promise<MasterResult>;
  /** The first call stops handing out and waits for what runs, at most the grace; the second ends at once. */
  stop(): void;
  status(): MasterStatus;
  standing(): Standing;
}

/** What is on the disk, and what is still to come. */
export type Standing = Readonly<{
  /** Null until the end begins. */
  outcome: Outcome | null;
  /** Whether the last state of all is durable. */
  isSaved: boolean;
  /** Since the last save. */
  savedAgoMs: number;
}>;

/** Errors that came after their job was acked: how many there were in this start, and the first of them. */
export type LateErrorCounts = Readonly<
  { count: number; errors: readonly (LateError & Readonly<{ slave: string }>)[] }
>;

/** `lateErrors`: how many, in this start. */
export type MasterStatus = RunStatus & Readonly<{ elapsedMs: number; lateErrors: number }>;

/** The counters an earlier start saved. */
export type Resumed = Readonly<{
  handedOut: number;
  done: number;
  skipped: number;
  dead: number;
  stranded: number;
  /** The run had finished: only jobs that appeared since are handed out. */
  complete: boolean;
}>;

export type MasterResult = Readonly<{
  outcome: Outcome;
  status: RunStatus;
  late: LateErrorCounts;
  elapsedMs: number;
  /** Whether the last state of all is durable. If not, `error` says why and the run is to be resumed from an older one. */
  savedFinally: boolean;
  /** What ended the run, unless it is `outcome`: a fault of the program, a state that could not be saved or was taken over. */
  error?: Error;
  /** Why `onFinish` did not do what it had to once the run had ended; null if it did, or there is none. */
  finishFault: FinishFault | null;
  statePath: string;
  deadPath: string;
}>;

/** A stop cut `onFinish` off, or it threw. */
export type FinishFault = Readonly<{ kind: "cut off" }> | Readonly<{ kind: "threw"; message: string }>;

/** What happens at a master, as it happens: for `--json` and the like. A listener must not throw. */
export type MasterEvent =
  | Readonly<{ kind: "joined"; session: SessionId; slave: string; procs: number }>
  | Readonly<{ kind: "left"; session: SessionId; slave: string; reason: string }>
  | Readonly<{ kind: "warning"; message: string }>
  /** Errors came after the end of their jobs: `count` of them, some named. */
  | Readonly<{ kind: "late"; slave: string; errors: readonly LateError[]; count: number }>
  /** These are durable now. */
  | Readonly<{ kind: "dead letters"; letters: readonly DeadLetter[] }>
  | Readonly<{ kind: "saved"; tookMs: number }>
  /** The first stop was asked for. */
  | Readonly<{ kind: "stopping" }>
  | Readonly<{ kind: "ended"; outcome: Outcome }>;
