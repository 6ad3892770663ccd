import hyperid from "hyperid";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { countsOf, type RunSettings, type RunState, settledOf } from "../core/types.ts";
import { sha256 } from "../lib/bytes.ts";
import { monotonicMs, random } from "../lib/clock.ts";
import { ConnectError } from "../lib/errors.ts";
import { handshakeMs, silentHeartbeatsMax } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { parseAddress } from "../lib/units.ts";
import { dialControl } from "../link/dial.ts";
import { listen, type Listener, type ListenOptions } from "../link/listen.ts";
import { type MasterTls, readCertificate, TlsClient } from "../link/tls.ts";
import type { Resumed } from "../observe/events.ts";
import { identityArgs } from "../plugin/args.ts";
import { controlFeature, features } from "../protocol/handshake.ts";
import type { Welcome } from "../protocol/messages.ts";
import { openState, readState, type StateStore } from "../state/store.ts";
import type { MasterOptions } from "./types.ts";

/** Where nothing but failed jobs is left and nothing succeeded for so long, they are taken for bad. */
const maxOutageAtEndMsDefault = 300_000;

/** A random id that nobody else makes: of a run, of a master process. Letters, digits, `-` and `_`. */
export function newId(): string {
  return hyperid({ urlSafe: true })();
}

/**
 * A host under which other machines reach one that listens on `host`: for a wildcard, this machine's first
 * address that is not loopback (IPv4 before IPv6), or `localhost` if it has none.
 */
export function reachableHost(host: string): string {
  if (host !== "0.0.0.0" && host !== "::" && host !== "") return host;
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = addresses.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"));
  const first = outside.find(({ family }) => family === "IPv4") ?? outside[0];
  return first?.address ?? "localhost";
}

type AliveOptions = Readonly<{
  token: Uint8Array | null;
  /** This master's own: the other one is known by the same certificate. */
  tls?: MasterTls | undefined;
  version: string;
  /** The run that the state on disk is of; null if that cannot be read: then a master of this key counts. */
  runId: () => Promise<string | null>;
  key: string;
}>;

/**
 * Whether a master of this run answers at `address`: its WELCOME to a control connection names run and key. A
 * master of another token, version or certificate cannot be told from a stranger and counts as none; the state is watched then.
 */
export async function isMasterAlive(address: string, options: AliveOptions): Promise<boolean> {
  const parsed = parseAddress(address, { host: "127.0.0.1", port: 0 });
  if (parsed === undefined || parsed.port === 0) return false;
  const { token, tls, version } = options;
  const { link, welcome } = await dialControl({
    ...parsed,
    token,
    tls: tls && new TlsClient({
      trust: { kind: "pin", hash: readCertificate(tls.cert).hash },
      identity: tls,
    }),
    intro: {
      slaveId: newId(),
      name: `${hostname()}:${process.pid}`,
      version,
      procs: 0,
      plugin: null,
      runtime: "",
      features,
    },
    nowMs: monotonicMs,
    signal: AbortSignal.timeout(handshakeMs),
  });
  void link.close("it was told which run that is");
  const runId = await options.runId();
  return welcome.key === options.key && (runId === null || welcome.runId === runId);
}

/** Locks and loads the state. @throws {StateError} */
export function openRunState(options: MasterOptions, log: Log): Promise<StateStore> {
  const { plugin, args, key, stateDir, reset, force, token, tls, version, heartbeatMs, maxDeadBytes } =
    options;
  const runId = () =>
    readState(join(stateDir, `${key}.state`)).then(({ identity }) => identity.runId, () => null);
  return openState({
    dir: stateDir,
    key,
    identity: {
      plugin: plugin.name,
      exportName: plugin.exportName,
      args: identityArgs(plugin.plugin, args),
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
  const { plugin, args, key, timeoutMs = 0, heartbeatMs, graceMs } = options;
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
    features: [...features, controlFeature],
  };
}

export function toSettings(options: MasterOptions, masterId: string): RunSettings {
  const { timeoutMs = 0, maxOutageMs = Infinity, maxOutageMs: maxOutageAtEndMs = maxOutageAtEndMsDefault } =
    options;
  // what a person sets is passed on under its own name
  return { ...options, masterId, timeoutMs, maxOutageMs, maxOutageAtEndMs, random, digest: sha256 };
}

export function toResumed(state: RunState | null): Resumed | null {
  if (state === null) return null;
  const { handedOut, complete } = state;
  return { ...countsOf(state), complete, stranded: handedOut - settledOf(state) };
}

function isPortTaken(error: unknown): boolean {
  return error instanceof ConnectError &&
    (error.cause as NodeJS.ErrnoException | undefined)?.code === "EADDRINUSE";
}
