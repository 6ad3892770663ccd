import { random } from "../base/clock.ts";
import { join } from "node:path";
import { sha256 } from "../base/digest.ts";
import { ConnectError } from "../base/errors.ts";
import { silentHeartbeatsMax } from "../base/limits.ts";
import { maxOutageAtEndMsDefault } from "../base/run_limits.ts";
import type { RunSettings, RunState } from "../core/types.ts";
import { listen, type Listener, type ListenOptions } from "../link/listen.ts";
import { features } from "../protocol/handshake.ts";
import type { Welcome } from "../protocol/messages.ts";
import { openState, readState, type StateStore } from "../state/store.ts";
import { newId } from "./ids.ts";
import { isMasterAlive } from "./is_alive.ts";
import type { MasterOptions, Resumed } from "./types.ts";

/** Locks and loads the state. @throws {StateError} */
export function openRunState(options: MasterOptions): Promise<StateStore> {
  const { plugin, args, key, stateDir, reset, force, log, token, tls, version, heartbeatMs, maxDeadBytes } =
    options;
  const runId = () =>
    readState(join(stateDir, `${key}.state`)).then(({ identity }) => identity.runId, () => null);
  return openState({
    dir: stateDir,
    key,
    identity: {
      plugin: plugin.name,
      exportName: plugin.exportName,
      args,
      pluginHash: plugin.hash,
    },
    newRunId: newId,
    reset,
    force,
    log,
    maxDeadBytes,
    watchMs: silentHeartbeatsMax * heartbeatMs,
    isAlive: (address) => isMasterAlive(address, { token, tls, version, runId, key }),
  });
}

/** Listens where it was told, or on a free port if that is allowed. @throws {ConnectError} */
export async function listenSomewhere(options: ListenOptions, portFallback: boolean): Promise<Listener> {
  try {
    return await listen(options);
  } catch (error) {
    if (!portFallback || !isPortTaken(error)) throw error;
    return await listen({ ...options, port: 0 });
  }
}

export function toWelcome(
  options: MasterOptions,
  { runId, epoch }: Pick<StateStore, "runId" | "epoch">,
  masterId: string,
): Welcome {
  const { plugin, args, key, timeoutMs, heartbeatMs, graceMs } = options;
  return {
    runId,
    masterId,
    key,
    epoch,
    plugin: { name: plugin.name, export: plugin.exportName, hash: plugin.hash },
    args,
    timeoutMs,
    heartbeatMs,
    graceMs,
    features,
  };
}

export function toSettings(options: MasterOptions, masterId: string): RunSettings {
  const { jobsMax, bytesMax, failuresMax, backoffMs, heartbeatMs, graceMs, reclaimMs, timeoutMs } = options;
  const settings = { jobsMax, bytesMax, failuresMax, backoffMs, heartbeatMs, graceMs, reclaimMs, timeoutMs };
  const maxOutageMs = options.maxOutageMs ?? Infinity;
  const maxOutageAtEndMs = options.maxOutageMs ?? maxOutageAtEndMsDefault;
  return { masterId, ...settings, maxOutageMs, maxOutageAtEndMs, random, digest: sha256 };
}

export function toResumed(state: RunState | null): Resumed | null {
  if (state === null) return null;
  const { handedOut, done, skipped, dead, complete } = state;
  return { handedOut, done, skipped, dead, complete, stranded: handedOut - done - skipped - dead };
}

function isPortTaken(error: unknown): boolean {
  return error instanceof ConnectError &&
    (error.cause as NodeJS.ErrnoException | undefined)?.code === "EADDRINUSE";
}
