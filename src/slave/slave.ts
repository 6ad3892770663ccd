import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { monotonicMs, random } from "../lib/clock.ts";
import { refuseWithoutChildren, version } from "../lib/runtime.ts";
import { dial } from "../link/dial.ts";
import { TlsClient } from "../link/tls.ts";
import { features } from "../protocol/handshake.ts";
import { refuseWithinWorker } from "./spawn_self.ts";
import { Supervisor } from "./supervisor.ts";
import type { Slave, SlaveOptions, SlaveResult } from "./types.ts";
export type { Slave, SlaveOptions, SlaveResult, SlaveStatus } from "./types.ts";

/**
 * Runs the handlers of a plugin for a master: one connection, and worker processes that it watches. Connects for ever.
 * Signals are the caller's: the first should call `drain`, the second `kill`.
 *
 * @throws {ConnectError} if a certificate, key or CA cannot be used, or Deno does not allow to start workers.
 * @throws {Error} in a process that was started as a worker.
 */
export function startSlave(options: SlaveOptions): Slave {
  refuseWithinWorker();
  refuseWithoutChildren();
  const slaveId = randomUUID();
  const tls = options.tls && new TlsClient(options.tls);
  let isSaid = false;
  const sayOnce = (sentence: string) => {
    options.log(isSaid ? "debug" : "warn", sentence);
    isSaid = true;
  };
  return new Supervisor({
    ...options,
    nowMs: monotonicMs,
    random,
    dial: (plugin, procs, runtime, signal) =>
      dial({
        host: options.host,
        port: options.port,
        token: options.token,
        tokenFrom: options.tokenFrom,
        tls,
        onSilent: sayOnce,
        intro: {
          slaveId,
          name: `${hostname()}:${process.pid}`,
          version,
          procs,
          plugin,
          runtime,
          features,
          ...(options.anyPlugin ? { anyPlugin: true } : {}),
        },
        nowMs: monotonicMs,
        signal,
      }),
  });
}

/** As `startSlave`, for those who need nothing but its end. */
export async function runSlave(options: SlaveOptions): Promise<SlaveResult> {
  return await startSlave(options).finished;
}
