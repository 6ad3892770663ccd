import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { basename } from "node:path";
import type { ConnectError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { version } from "../base/version.ts";
import { dial } from "../link/dial.ts";
import type { Introduction, Welcome } from "../protocol/messages.ts";
import type { Command } from "./self.ts";
import { Supervisor } from "./supervisor.ts";
import type { UplinkState } from "./uplink.ts";

export type SlaveOptions = Readonly<{
  pluginPath: string;
  /** Undefined: the default export. */
  exportName: string | undefined;
  /** The master. */
  host: string;
  port: number;
  /** Null: `--insecure`. */
  token: Uint8Array | null;
  /** Worker processes; undefined: the plugin's own `procs`, or one a CPU. */
  procs: number | undefined;
  /** Jobs in progress at once in each worker; undefined: the plugin's own, or 1. */
  concurrency: number | undefined;
  /** How long a stop waits for running jobs; undefined: what the master says. */
  graceMs: number | undefined;
  /** How to start a worker. @default this program with the word `worker` */
  command?: Command;
  /** Added to the environment of each worker. */
  env?: Readonly<Record<string, string>>;
  log: Log;
  /** Called when `status()` changed in `state`. */
  onState?: (status: SlaveStatus) => void;
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

/**
 * Runs the handlers of a plugin for a master: one connection, and worker processes that it watches. Connects for ever.
 * Signals are the caller's: the first should call `drain`, the second `kill`.
 */
export function startSlave(options: SlaveOptions): Slave {
  const slaveId = randomUUID();
  return new Supervisor({
    ...options,
    nowMs: () => performance.now(),
    random: Math.random,
    dial: (plugin, procs, runtime, signal) =>
      dial({
        host: options.host,
        port: options.port,
        token: options.token,
        intro: introduce(slaveId, plugin, procs, runtime),
        role: "slave",
        nowMs: () => performance.now(),
        log: options.log,
        signal,
      }),
  });
}

/** As `startSlave`, for those who need nothing but its end. */
export function runSlave(options: SlaveOptions): Promise<SlaveResult> {
  return startSlave(options).finished;
}

function introduce(
  slaveId: string,
  plugin: Welcome["plugin"],
  procs: number,
  runtime: string,
): Introduction {
  return { slaveId, name: `${hostname()}:${process.pid}`, version, procs, plugin, runtime };
}

/** The plugin as a slave names it to its master. */
export function pluginName(
  options: Pick<SlaveOptions, "pluginPath" | "exportName">,
  hash: Uint8Array,
): Welcome["plugin"] {
  return { name: basename(options.pluginPath), export: options.exportName ?? "default", hash };
}

export type { ConnectError };
