import type { Outcome, RunOptions } from "../core/types.ts";
import type { Log } from "../lib/log.ts";
import type { Address } from "../lib/units.ts";
import type { MasterTls } from "../link/tls.ts";
import type { LoadedPlugin } from "../plugin/load_plugin.ts";
import type { LateErrorCounts, MasterEvent, MasterStatus, Resumed, Snapshot } from "../observe/events.ts";

/** What the options of the command line set at a master, each by its row. Times in milliseconds, sizes in bytes. */
export type MasterSettings =
  & RunOptions
  & Readonly<{
    reset: boolean;
    force: boolean;
    /** @default 0: none */
    timeoutMs?: number | undefined;
    /** How long everything may fail. @default for ever, and 5 minutes where nothing but failed jobs is left. */
    maxOutageMs?: number | undefined;
    /** Most bytes of dead letters on the disk; the run ends before there are more. @default 1 GiB */
    maxDeadBytes?: number | undefined;
    /** `auto`: as often as it costs little. */
    checkpointMs: number | "auto";
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
    /** Where the lines of the log go. */
    log: Log;
    /** Hears what happens, `started` first. It must not throw. */
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
  /** All that is shown of the run at this moment. */
  snapshot(): Snapshot;
  /** A slave is to join soon: until what this returns is called, the reason names the wait, once it lasts 10 s. */
  expectSlave(what: string, hint: string): () => void;
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

export type MasterResult = Readonly<{
  outcome: Outcome;
  status: MasterStatus;
  late: LateErrorCounts;
  elapsedMs: number;
  /**
   * Whether the last state of all is durable. If not, `error` says why and the run is to be resumed from an older one.
   */
  savedFinally: boolean;
  /**
   * What ended the run, unless it is `outcome`: a fault of the program, a state that could not be saved or was taken
   * over.
   */
  error?: Error;
  /** Why `onFinish` did not do what it had to once the run had ended; null if it did, or there is none. */
  finishFault: FinishFault | null;
  statePath: string;
  deadPath: string;
}>;

/** A stop cut `onFinish` off, or it threw. */
export type FinishFault = Readonly<{ kind: "cut off" }> | Readonly<{ kind: "threw"; message: string }>;
