import type { DeadLetter, RunState } from "../core/types.ts";
import { existsSync } from "node:fs";
import { isoTime, wallMs } from "../lib/clock.ts";
import type { JobSpan } from "../lib/bytes.ts";
import { StateError } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { asClause } from "../lib/text.ts";
import { DeadLetterFile, lastLetters } from "./dead_letters.ts";
import {
  checkKey,
  type Disk,
  errorCode,
  explained,
  nodeDisk,
  removeFile,
  type StateFiles,
  stateFiles,
} from "./disk.ts";
import { checkIdentity, type Identity, type Purpose } from "./identity.ts";
import { type LateLetters, loadLateLetters } from "./late_letters.ts";
import { findOwner, type Lock, takeLock } from "./lock.ts";
import {
  checkFolder,
  loadState,
  proveWritable,
  readStateFile,
  sweepTemporaries,
  syncFolder,
} from "./read_state.ts";
import type { LockOwner } from "./lock_owner.ts";
import { DamageError } from "./state_fields.ts";
import { StateWriter } from "./state_writer.ts";

export type { DeadLetterRecord } from "./dead_letters.ts";
export { DeadLetterScan } from "./dead_letter_scan.ts";

/**
 * Default limit of the dead-letter file, in bytes: a run that exceeds it has a fault that nobody has looked at.
 */
const maxDeadBytesDefault = 1 << 30;
/** How long the state file of a master elsewhere must stay unchanged, in ms: three default heartbeats. */
const foreignWatchMs = 15_000;
/** Abstract sockets are Linux's. */
const hasKernelLock = process.platform === "linux";

/**
 * Renames the files of the earlier run to `.bak.<time>`. `.prev` is deleted first, so that it can never be taken for
 * the previous state of the new run, even if this process dies in between. Returns the new paths; null for a file that
 * did not exist.
 */
async function setAside(
  disk: Disk,
  files: StateFiles,
  now: Date,
): Promise<{ state: string | null; dead: string | null }> {
  await removeFile(disk, files.prev);
  await syncFolder(disk, files.dir);
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, "");
  // The state is moved last: as long as it exists, the earlier run is the current one.
  const dead = await moveAside(disk, files.dead, time);
  const state = await moveAside(disk, files.state, time);
  await syncFolder(disk, files.dir);
  return { state, dead };
}

async function moveAside(disk: Disk, path: string, time: string): Promise<string | null> {
  for (let number = 1;; number++) {
    const aside = `${path}.bak.${time}${number === 1 ? "" : `-${number}`}`;
    if (await isThere(disk, aside)) continue;
    try {
      await disk.rename(path, aside);
      return aside;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return null;
      throw error;
    }
  }
}

async function isThere(disk: Disk, path: string): Promise<boolean> {
  return await disk.lstat(path).then(() => true, () => false);
}

/** The files of one run, held by its master. */
export interface StateStore {
  readonly runId: string;
  /** The number of this master's life under the run id: one above the last that was saved. */
  readonly epoch: number;
  /** What was saved last; null on a fresh start. */
  readonly loaded: RunState | null;
  /** Path of the state file. */
  readonly path: string;
  /** Path of the dead-letter file. */
  readonly deadPath: string;
  /**
   * Resolves when the state is durable, with the time in ms that this thread spent on it. Saves run one at a time, in
   * order. The first save raises the epoch on disk. Late letters whose jobs are done by now are taken back before.
   *
   * @throws {SaveError} if it could not be written this time: try again.
   * @throws {StateError} if another master took the run over: end the run.
   */
  save(state: RunState): Promise<number>;
  /**
   * Resolves when the dead letters are durable. Only then may a state leave out their jobs.
   *
   * @throws {SaveError} if they could not all be written this time: try again with all of them.
   * @throws {NoRoomError} if they would exceed `maxDeadBytes`: end the run.
   * @throws {StateError} if the file cannot be used at all.
   */
  bury(letters: readonly DeadLetter[]): Promise<void>;
  /** Reports jobs that are handed out, to find out which late letters belong to the very same jobs. */
  handedOut(spans: readonly JobSpan[]): void;
  /** Says in `<key>.lock` where this master can be reached. @throws {StateError} if it cannot be written. */
  setAddress(address: string, fingerprint: string | null): Promise<void>;
  /** Waits for what is being written, frees the lock. Idempotent. */
  close(): Promise<void>;
}

type StoreParts = Readonly<{
  identity: Identity;
  epoch: number;
  loaded: RunState | null;
  path: string;
  writer: StateWriter;
  dead: DeadLetterFile;
  late: LateLetters;
  lock: Lock;
}>;

class OpenStore implements StateStore {
  readonly #parts: StoreParts;
  #saving: Promise<unknown> = Promise.resolve();
  #appending: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;

  constructor(parts: StoreParts) {
    this.#parts = parts;
  }

  get runId(): string {
    return this.#parts.identity.runId;
  }

  get epoch(): number {
    return this.#parts.epoch;
  }

  get loaded(): RunState | null {
    return this.#parts.loaded;
  }

  get path(): string {
    return this.#parts.path;
  }

  get deadPath(): string {
    return this.#parts.dead.path;
  }

  async save(state: RunState): Promise<number> {
    this.#checkOpen("save");
    const saved = this.#saving.then(() => this.#save(state));
    this.#saving = saved.catch(() => {});
    return await saved;
  }

  /** If the process dies after the letters were taken back and before the save, their jobs are only run again. */
  async #save(state: RunState): Promise<number> {
    const { writer, identity, dead, late } = this.#parts;
    const seqs = late.toTakeBack(state);
    if (seqs.length > 0) {
      await this.#append(() => dead.takeBack(seqs));
      late.forget(seqs);
    }
    return await writer.save({ identity, state });
  }

  async bury(letters: readonly DeadLetter[]): Promise<void> {
    this.#checkOpen("bury");
    const { dead, late } = this.#parts;
    await this.#append(() => dead.bury(letters));
    late.forget(letters.map(({ seq }) => seq));
  }

  async #append(append: () => Promise<void>): Promise<void> {
    const appended = this.#appending.then(append);
    this.#appending = appended.catch(() => {});
    await appended;
  }

  handedOut(spans: readonly JobSpan[]): void {
    this.#parts.late.compare(spans);
  }

  async setAddress(address: string, fingerprint: string | null): Promise<void> {
    this.#checkOpen("set the address");
    await this.#parts.lock.setAddress(address, fingerprint).catch((error: unknown) => {
      throw explained(error, `Cannot say in a file beside "${this.path}" where this master is`);
    });
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await Promise.all([this.#saving, this.#appending]);
    await this.#parts.lock.release();
  }

  #checkOpen(what: string): void {
    if (this.#closing !== null) throw new StateError(`Cannot ${what} "${this.path}": its store is closed.`);
  }
}

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
   * How long to watch the state file of a last master that may still run elsewhere, in ms: three heartbeats.
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
 * Takes the lock of a key, proves that its state can be saved, and loads the saved state.
 *
 * @throws {UsageError} if the key is not valid.
 * @throws {StateError} if the state is locked, damaged, not readable, not writable, of another run, or written by a
 *   newer version.
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
    isKernelLock = hasKernelLock,
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
    // Nothing is lost then: the earlier start may have had mistyped arguments.
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
  const state = loaded?.state ?? null;
  const late = await loadLateLetters(state, (isWanted) => lastLetters(files.dead, disk, isWanted)).catch(
    (error) => {
      throw explained(error, `Cannot read the dead letters in "${files.dead}"`);
    },
  );
  return { identity, epoch, loaded: state, path: files.state, writer, dead, late };
}

/** What a state file says, for people. */
export type StateReport = Readonly<{
  path: string;
  /** Of the format. */
  version: number;
  identity: Identity;
  epoch: number;
  state: RunState;
  /** Wall-clock time of the file, in ms. */
  savedAtMs: number;
}>;

/**
 * Reads a state file without taking its lock: the file is never missing or incomplete while its master runs.
 *
 * @throws {StateError} if the file does not exist, is damaged, or was written by a newer version.
 */
export async function readState(path: string): Promise<StateReport> {
  const read = await readStateFile(nodeDisk, path).catch((error: unknown) => {
    if (!(error instanceof DamageError)) throw error;
    const advice = existsSync(`${path}.prev`)
      ? `The one before it may be good: "${path}.prev".`
      : "There is none before it: put a good copy in its place, or start over with --reset.";
    throw new StateError(`Cannot read "${path}": ${asClause(error.message)}. ${advice}`);
  });
  if (read === null) {
    throw new StateError(
      `Cannot read "${path}": there is no such file. Give the key of a run, and its folder with --state-dir.`,
    );
  }
  const { header: { version, epoch }, identity, state, savedAtMs } = read;
  return { path, version, identity, epoch, state, savedAtMs };
}

/** The master that runs a key, or that ran it last and did not remove its lock. */
export type RunOwner =
  & Pick<LockOwner, "host" | "bootId" | "pid" | "address" | "fingerprint">
  & Readonly<{
    /** Null if that cannot be told from here: it is of another host or container, or of the time before a reboot. */
    isAlive: boolean | null;
  }>;

/**
 * Reads who the master of a key in a folder is; null if there is none. Takes no lock.
 *
 * @throws {UsageError} if the key is not valid.
 * @throws {StateError} if `<key>.lock` is a symbolic link or not a regular file, or if it cannot be read.
 */
export async function readRunOwner(
  dir: string,
  key: string,
  { disk = nodeDisk, isKernelLock = hasKernelLock }: Pick<OpenStateOptions, "disk" | "isKernelLock"> = {},
): Promise<RunOwner | null> {
  checkKey(key);
  const found = await findOwner(disk, stateFiles(dir, key), isKernelLock);
  if (found === null) return null;
  const { host, bootId, pid, address, fingerprint } = found.owner;
  return { host, bootId, pid, address, fingerprint, isAlive: found.isAlive };
}
