import type { Log, LogSettings } from "../lib/log.ts";
import type { SlaveLink } from "../link/link.ts";
import type { SlaveTls } from "../link/tls.ts";
import type { Welcome } from "../protocol/messages.ts";
import type { SpawnCommand } from "./spawn_self.ts";
import type { UplinkState } from "./uplink.ts";

/** What the options of the command line set at a slave, each by its row; missing where none was given. */
export type SlaveSettings = Readonly<{
  /** Whether to run although this plugin is not the master's. */
  anyPlugin?: boolean | undefined;
  /** Worker processes; else the plugin's own `procs`, or one a CPU. */
  procs?: number | undefined;
  /** Jobs in progress at once in each worker; else the plugin's own, or 1. */
  concurrency?: number | undefined;
  /** How long a stop waits for running jobs; else what the master says. */
  graceMs?: number | undefined;
}>;

export type SlaveOptions =
  & SlaveSettings
  & Readonly<{
    pluginPath: string;
    /** Undefined: the default export. */
    exportName: string | undefined;
    /** The master. */
    host: string;
    port: number;
    /** Null: `--insecure`. */
    token: Uint8Array | null;
    /** Where that was named, for people, if it was: a file beside the binary would not count then. */
    tokenFrom?: string | undefined;
    /** Undefined: without TLS. */
    tls?: SlaveTls | undefined;
    /** Jobs that it takes beyond those that its workers begin soon, to try what waits. @default 0 */
    extraCredit?: number;
    /** Called with the `options` of the plugin; throws a sentence that ends the slave if they are wrong. */
    checkOptions?: (options: Readonly<Record<string, unknown>>) => void;
    /** How to start a worker. @default this program with the word `worker` */
    command?: SpawnCommand;
    /** Added to the environment of each worker. */
    env?: Readonly<Record<string, string>>;
    /** How workers log. @default plain lines, no debugging */
    workerLog?: LogSettings;
    log: Log;
    /** Called when `status()` changed in `state`. */
    onState?: (status: SlaveStatus) => void;
  }>;

/** What a supervisor needs beside: tests put other clocks and connections in their place. */
export type SupervisorOptions =
  & SlaveOptions
  & Readonly<{
    dial: (
      plugin: Welcome["plugin"],
      procs: number,
      runtime: string,
      signal: AbortSignal,
    ) => Promise<{ link: SlaveLink; welcome: Welcome }>;
    nowMs: () => number;
    /** In [0, 1). */
    random: () => number;
  }>;

/** For a status line. */
export type SlaveStatus = Readonly<{
  state: "starting" | UplinkState | "draining" | "ended";
  /** The master's address. */
  master: string;
  /** Jobs that ended here, of this process. */
  done: number;
  skipped: number;
  failed: number;
  /** Deaths of workers that ran jobs. */
  crashes: number;
  /** Jobs at workers, and jobs that wait here. */
  running: number;
  queued: number;
  /** Workers that take jobs. */
  workers: number;
  procs: number;
  /** What is waited for that is no job, once it has lasted 10 s: `worker 123 is in setup since 12 s`. */
  waitsFor: string | null;
}>;

/**
 * How a slave ended: 0 dismissed or drained, 1 killed or an error of ours, 4 the plugin does not load, 5 no master
 * will have it.
 */
export type SlaveResult = Readonly<{ exitCode: 0 | 1 | 4 | 5; reason: string }>;

/** A slave under way. Nothing of it is left running once `finished` has resolved. */
export interface Slave {
  /** Never rejects. */
  readonly finished: Promise<SlaveResult>;
  /** Takes nothing new, hands back the untried, finishes what runs within the grace, leaves. Idempotent. */
  drain(): void;
  /** Ends at once; its jobs are lost to the master, which requeues them. */
  kill(): void;
  status(): SlaveStatus;
}
