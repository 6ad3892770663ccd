import { isoTime, wallMs } from "../base/clock.ts";
import { foreignWatchMs, maxDeadBytesDefault } from "../base/state_limits.ts";
import type { Log } from "../base/log.ts";
import { DeadLetterFile } from "./dead_letter_file.ts";
import { type Disk, explained, nodeDisk } from "./disk.ts";
import { checkFolder, proveWritable, sweepTemporaries } from "./folder.ts";
import { checkIdentity, type Identity, type Purpose } from "./identity.ts";
import { checkKey } from "./key.ts";
import { loadState } from "./load_state.ts";
import { takeLock } from "./lock.ts";
import { setAside } from "./reset.ts";
import { type StateFiles, stateFiles } from "./state_files.ts";
import { OpenStore, type StateStore } from "./state_store.ts";
import { StateWriter } from "./state_writer.ts";

export type OpenStateOptions = Readonly<{
  /** The folder; it must exist. */
  dir: string;
  key: string;
  identity: Purpose;
  newRunId: () => string;
  /** Start over: earlier state and dead letters are kept as `.bak.<time>`. */
  reset: boolean;
  /** Resume although plugin or arguments differ. The run stays the same one. */
  force: boolean;
  /** Where this master can be reached, if that is known already. */
  address?: string | undefined;
  log: Log;
  /**
   * How long a state whose last master may still run elsewhere is watched: three heartbeats.
   *
   * @default 15_000
   */
  watchMs?: number | undefined;
  /** Asks over the network whether a master of this run answers at an address. */
  isAlive?: ((address: string) => Promise<boolean>) | undefined;
  /** Most bytes of dead letters. @default 1 GiB */
  maxDeadBytes?: number | undefined;
  /** @default node:fs/promises */
  disk?: Disk | undefined;
  /** Whether the kernel keeps the lock. @default on Linux */
  isKernelLock?: boolean | undefined;
}>;

/**
 * Takes the lock of a key, proves that its state can be saved, and loads what is there.
 *
 * @throws {UsageError} if the key is none.
 * @throws {StateError} if it is locked, damaged, not writable, not readable, of another run, or written by a newer version.
 */
export async function openState(options: OpenStateOptions): Promise<StateStore> {
  checkKey(options.key);
  try {
    return await openStore(options);
  } catch (error) {
    throw explained(error, `Cannot open the state of "${options.key}" in "${options.dir}"`);
  }
}

async function openStore(options: OpenStateOptions): Promise<StateStore> {
  const {
    disk = nodeDisk,
    address = null,
    watchMs = foreignWatchMs,
    isKernelLock = process.platform === "linux",
  } = options;
  const files = stateFiles(options.dir, options.key);
  await checkFolder(disk, files.dir);
  const lock = await takeLock(disk, files, { ...options, address, watchMs, isKernel: isKernelLock });
  try {
    await sweepTemporaries(disk, files);
    await proveWritable(disk, files);
    if (options.reset) tellAside(await setAside(disk, files, new Date(wallMs())), options.log);
    return new OpenStore({ ...await resume(disk, files, options), lock });
  } catch (error) {
    await lock.release();
    throw error;
  }
}

function tellAside({ state, dead }: Awaited<ReturnType<typeof setAside>>, log: Log): void {
  const kept = [
    ...(state === null ? [] : [`the earlier state as "${state}"`]),
    ...(dead === null ? [] : [`its dead letters as "${dead}"`]),
  ];
  if (kept.length > 0) log("info", `Starting over: kept ${kept.join(", and ")}.`);
}

async function resume(disk: Disk, files: StateFiles, options: OpenStateOptions) {
  const { identity: purpose, force, log } = options;
  const loaded = await loadState(disk, files, log);
  if (loaded !== null) {
    // such as a start whose arguments were mistyped
    const isUntouched = loaded.from === "state" && loaded.state.final && loaded.state.handedOut === 0;
    checkIdentity(loaded.identity, purpose, { force, isUntouched, path: files.state, log });
  }
  const identity: Identity = { ...purpose, runId: loaded?.identity.runId ?? options.newRunId() };
  const epoch = (loaded?.epochSeen ?? 0) + 1;
  const seen = loaded?.from === "state" ? loaded.header : null;
  const writer = new StateWriter({ disk, files, runId: identity.runId, epoch, loaded: seen, log });
  const dead = new DeadLetterFile({
    disk,
    path: files.dead,
    dir: files.dir,
    nowIso: () => isoTime(),
    bytesMax: options.maxDeadBytes ?? maxDeadBytesDefault,
    log,
  });
  await dead.check();
  return { identity, epoch, loaded: loaded?.state ?? null, path: files.state, disk, writer, dead };
}
