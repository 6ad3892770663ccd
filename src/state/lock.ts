import { createHash, createHmac, randomBytes } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { isSameBytes } from "../lib/bytes.ts";
import { clearTimeout, monotonicMs, setTimeout } from "../lib/clock.ts";
import { lockTextBytesMax } from "../lib/limits.ts";
import { UnprovenConnections } from "../lib/unproven.ts";
import { type Disk, errorCode, linkless, removeFile, type StateFiles } from "./disk.ts";
import {
  type ElsewhereOptions,
  isRunning,
  isSamePlace,
  lockedError,
  lockFileError,
  type LockOwner,
  readOwner,
  removeOwner,
  thisOwner,
  watchElsewhere,
  writeOwner,
  writeTemporary,
} from "./lock_owner.ts";

/** Longest wait for the holder of a lock to prove that it is a master; it may be stopped. */
const lockAnswerMs = 1_000;
/** After a proof that did not hold: a master that took the lock just now may not have written its nonce yet. */
const lockPauseMs = 50;
/**
 * Most simultaneous connections to a master's lock socket, and the longest time in ms that one may take to ask its
 * question. A starting master asks as soon as it is connected.
 */
const lockConnectionsMax = 8, lockAskMs = 500;
/** Shortest time between two checks that the lock file is still there, in milliseconds. */
const lockNoteLookMs = 250;

/** Takeovers of a dead master's file that may go to someone quicker, before that is strange. */
const triesMax = 20;

type FileLockOptions =
  & ElsewhereOptions
  & Readonly<{
    /**
     * Whether this process holds the kernel's lock too. Then another process that takes the file does not hold that
     * lock, so it cannot be a master that shares the sockets of this machine or container.
     */
    isAlone: boolean;
    /** Nonces of the locks that this process holds. */
    heldHere: ReadonlySet<string>;
  }>;

/**
 * Takes `<key>.lock`, which appears whole or not at all. The file alone is the lock if the kernel's lock does not exist
 * or is held by a stranger. The file outlives a killed master, so it records the pid and the start time of the process.
 *
 * @throws {StateError} naming the master that runs.
 */
async function takeFile(
  disk: Disk,
  files: StateFiles,
  here: LockOwner,
  options: FileLockOptions,
): Promise<void> {
  for (let tries = 1; tries <= triesMax; tries++) {
    const made = await create(disk, files, here, options.isAlone);
    if (made === "made") return;
    const owner = await readOwner(disk, files.lock);
    if (owner !== null) await checkDead(disk, files, owner, here, options);
    if (made === "linkless") return await writeOwner(disk, files.lock, here).catch(failed(files));
    await clear(disk, files.lock, owner);
  }
  throw lockedError(files, await readOwner(disk, files.lock));
}

/** Creates the lock file again if it was removed; leaves a file of another owner alone. */
async function restoreFile(disk: Disk, files: StateFiles, here: LockOwner): Promise<void> {
  try {
    await disk.lstat(files.lock);
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    if (await create(disk, files, here, true) === "linkless") await writeOwner(disk, files.lock, here);
  }
}

/** `taken`: the file exists. `linkless`: this file system has no hard links, so no atomic exclusive creation. */
async function create(
  disk: Disk,
  files: StateFiles,
  here: LockOwner,
  isAlone: boolean,
): Promise<"made" | "taken" | "linkless"> {
  const temporary = await writeTemporary(disk, files.lock, here).catch(failed(files));
  try {
    await disk.link(temporary, files.lock);
    return "made";
  } catch (error) {
    if (isAlone && linkless.includes(errorCode(error))) return "linkless";
    // ENOENT: the new owner swept the temporary file away.
    if (["EEXIST", "ENOENT"].includes(errorCode(error))) return "taken";
    return await failed(files)(error);
  } finally {
    await removeFile(disk, temporary);
  }
}

function failed(files: StateFiles): (error: unknown) => Promise<never> {
  return (error) => Promise.reject(lockFileError(files, error));
}

async function checkDead(
  disk: Disk,
  files: StateFiles,
  owner: LockOwner,
  here: LockOwner,
  options: FileLockOptions,
) {
  if (!isSamePlace(owner, here)) return await watchElsewhere(disk, files, owner, options);
  // Left by an earlier store of this process, which held the kernel's lock as this one does.
  if (options.isAlone && owner.pid === here.pid && !options.heldHere.has(owner.nonce)) return;
  if (await isRunning(owner)) throw lockedError(files, owner);
}

/** Removes the lock file of a dead master; puts the file back if another start has replaced it meanwhile. */
async function clear(disk: Disk, path: string, dead: LockOwner | null): Promise<void> {
  // Not a name that a sweep of temporary files removes: the file may have to be put back.
  const aside = `${path}.dead.${randomBytes(4).toString("hex")}`;
  try {
    await disk.rename(path, aside);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  const taken = await readOwner(disk, aside);
  if (JSON.stringify(taken) !== JSON.stringify(dead)) await disk.link(aside, path).catch(() => {});
  await removeFile(disk, aside);
}

type SocketLock = Readonly<{ release(): Promise<void> }>;

/** What was asked of whoever holds a name, and what came back: a line, or nothing. */
type LockReply = Readonly<{ question: string; line: string | null }>;

const questionRule = /^[0-9a-f]{64}$/;
const questionBytes = 32;
const newline = 10;

/**
 * The name of the abstract socket of a key in a folder. It depends on the folder's device and inode, so every path to
 * the folder gives the same name. Abstract sockets exist on Linux only: they leave no file behind, and the kernel frees
 * them however the process ends. Any user of the machine can compute the name, bind it, or connect to it; hence the
 * proof.
 */
export function socketName(folder: { dev: bigint; ino: bigint }, key: string): string {
  return `\0taskmaster:${createHash("sha256").update(`${folder.dev}:${folder.ino}:${key}`).digest("hex")}`;
}

/** The answer, 64 hex digits, that only a process that knows the nonce can give. Null if the question is malformed. */
export function proofOf(nonce: string, name: string, question: string): string | null {
  if (!questionRule.test(question)) return null;
  return createHmac("sha256", nonce).update(`taskmaster/lock/1${name}\0${question}`).digest("hex");
}

/** Whether the reply came from a process that knows the nonce. False if there is no nonce. */
export function isProof({ question, line }: LockReply, nonce: string, name: string): boolean {
  if (line === null || nonce === "") return false;
  // Digests are compared, so that the time of the comparison reveals nothing about the proof.
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return isSameBytes(digest(line), digest(proofOf(nonce, name, question) ?? ""));
}

/** Collects the first line that an unproven peer sends. It is refused if it has no end within `bytesMax` bytes. */
export class FirstLine {
  readonly #bytes: Uint8Array;
  #filled = 0;

  constructor(bytesMax: number) {
    this.#bytes = new Uint8Array(bytesMax);
  }

  /** Returns the line without its newline; null if it is refused; undefined until the newline has come. */
  push(chunk: Uint8Array): string | null | undefined {
    const kept = chunk.subarray(0, this.#bytes.length - this.#filled);
    this.#bytes.set(kept, this.#filled);
    const end = kept.indexOf(newline);
    if (end >= 0) return Buffer.from(this.#bytes.subarray(0, this.#filled + end)).toString("latin1");
    this.#filled += kept.length;
    return this.#filled < this.#bytes.length ? undefined : null;
  }
}

/**
 * Binds the socket name, and answers each peer's question with one line. Resolves to null if another process holds the
 * name.
 *
 * @param answer Returns the proof for a question; null closes the connection without an answer. It must never reject.
 */
async function holdSocket(
  name: string,
  answer: (question: string) => Promise<string | null>,
): Promise<SocketLock | null> {
  const strangers = new UnprovenConnections({ connectionsMax: () => lockConnectionsMax, msMax: lockAskMs });
  const server = createServer((socket) => {
    // The lock keeps no process alive that has nothing else to do.
    socket.unref();
    strangers.admit(socket);
    const question = new FirstLine(2 * questionBytes + 1);
    const onData = async (chunk: Uint8Array) => {
      const line = question.push(chunk);
      if (line === undefined) return;
      socket.off("data", onData);
      const proof = line === null ? null : await answer(line);
      if (proof === null) return void socket.destroy();
      socket.end(`${proof}\n`);
      socket.destroySoon();
    };
    socket.on("data", onData);
  });
  if (!await listen(server, name)) return null;
  server.unref();
  const release = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      strangers.close();
    });
  return { release };
}

function listen(server: Server, name: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    // Once it listens, an error means that a connection was not accepted (no file descriptors): its peer gets no reply.
    server.on("error", (error) => errorCode(error) === "EADDRINUSE" ? resolve(false) : reject(error));
    server.listen({ path: name }, () => resolve(true));
  });
}

/** Asks the holder of the name for a proof, for at most `msMax`. The holder may be stopped, gone, or a stranger. */
export async function askHolder(name: string, msMax: number): Promise<LockReply> {
  const question = randomBytes(questionBytes).toString("hex");
  const line = await new Promise<string | null>((resolve) => {
    const answer = new FirstLine(lockTextBytesMax);
    const socket: Socket = connect({ path: name });
    const timer = setTimeout(() => {
      resolve(null);
      socket.destroy();
    }, msMax);
    socket.on("connect", () => socket.write(`${question}\n`));
    socket.on("data", (chunk: Uint8Array) => {
      const line = answer.push(chunk);
      if (line === undefined) return;
      resolve(line);
      socket.destroy();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(null);
    });
  });
  return { question, line };
}

type AskedOwner = Readonly<{ owner: LockOwner | null; isProven: boolean; isAnswered: boolean }>;

/** Asks the holder of the name to prove that it is the master named in the lock file. */
async function askOwner(disk: Disk, path: string, name: string, msMax: number): Promise<AskedOwner> {
  const reply = await askHolder(name, msMax);
  const owner = await readOwner(disk, path);
  const isProven = owner !== null && isProof(reply, owner.nonce, name);
  return { owner, isProven, isAnswered: reply.line !== null };
}

export type Lock = Readonly<{
  /** Says in `<key>.lock` where this master can be reached. */
  setAddress(address: string, fingerprint: string | null): Promise<void>;
  /** Frees the key. Idempotent. */
  release(): Promise<void>;
}>;

type LockOptions =
  & ElsewhereOptions
  & Readonly<{
    address: string | null;
    /** Whether the kernel keeps the lock too (abstract sockets, Linux) or a file alone does. */
    isKernel: boolean;
  }>;

/**
 * Takes the lock of a key: first the kernel's, if the system has one and no stranger holds it, then the file.
 * Afterwards no other master of the key runs on this host, nor elsewhere as far as that can be known.
 *
 * @throws {StateError} naming the master that runs.
 */
export async function takeLock(disk: Disk, files: StateFiles, options: LockOptions): Promise<Lock> {
  const lock = new OpenLock(disk, files, {
    ...await thisOwner(options.address),
    nonce: randomBytes(32).toString("hex"),
  });
  try {
    await lock.take(options);
    return lock;
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Nonces of the locks that this process holds. */
const heldHere = new Set<string>();

class OpenLock implements Lock {
  readonly #disk: Disk;
  readonly #files: StateFiles;
  #owner: LockOwner;
  /** Null where the kernel keeps no lock, or a stranger holds it. */
  #socket: SocketLock | null = null;
  /** From when the file is taken until it is let go. */
  #isHeld = false;
  #isReleased = false;
  #lookedAtMs = -Infinity;

  constructor(disk: Disk, files: StateFiles, owner: LockOwner) {
    this.#disk = disk;
    this.#files = files;
    this.#owner = owner;
  }

  async take(options: LockOptions): Promise<void> {
    const { isKernel, log } = options;
    const name = isKernel
      ? socketName(await this.#disk.stat(this.#files.dir, { bigint: true }), this.#files.key)
      : null;
    if (name !== null) this.#socket = await this.#takeSocket(name);
    const isAlone = this.#socket !== null;
    await takeFile(this.#disk, this.#files, this.#owner, { ...options, isAlone, heldHere });
    this.#isHeld = true;
    heldHere.add(this.#owner.nonce);
    if (name === null || this.#socket !== null) return;
    // The holder may have been another starting master, which has found the file taken and given up by now.
    this.#socket = await this.#hold(name);
    if (this.#socket === null) log("warn", strangerWarning(this.#files));
  }

  async setAddress(address: string, fingerprint: string | null): Promise<void> {
    this.#owner = { ...this.#owner, address, fingerprint };
    await writeOwner(this.#disk, this.#files.lock, this.#owner).catch((error) => {
      throw lockFileError(this.#files, error);
    });
  }

  async release(): Promise<void> {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#isHeld) await removeOwner(this.#disk, this.#files.lock, this.#owner).catch(() => {});
    heldHere.delete(this.#owner.nonce);
    await this.#socket?.release();
  }

  /** Null if a stranger holds the socket. @throws {StateError} if a process holds it that proves to be a master. */
  async #takeSocket(name: string): Promise<SocketLock | null> {
    for (const endMs = monotonicMs() + lockAnswerMs;;) {
      const lock = await this.#hold(name);
      const leftMs = endMs - monotonicMs();
      if (lock !== null || leftMs <= 0) return lock;
      const { owner, isProven } = await askOwner(this.#disk, this.#files.lock, name, leftMs);
      if (isProven) throw lockedError(this.#files, owner);
      await new Promise((resolve) => setTimeout(resolve, Math.min(lockPauseMs, leftMs)));
    }
  }

  #hold(name: string): Promise<SocketLock | null> {
    return holdSocket(name, async (question) => {
      const proof = proofOf(this.#owner.nonce, name, question);
      if (proof !== null) await this.#restoreFile().catch(() => {});
      return proof;
    });
  }

  /** Creates the lock file again if something removed it: a process that asks needs the nonce in the file. */
  async #restoreFile(): Promise<void> {
    const nowMs = monotonicMs();
    if (!this.#isHeld || this.#isReleased || nowMs < this.#lookedAtMs + lockNoteLookMs) return;
    this.#lookedAtMs = nowMs;
    await restoreFile(this.#disk, this.#files, this.#owner);
  }
}

/**
 * Finds the master that `<key>.lock` names. `isAlive` is null if that cannot be known from here: the master is of
 * another host, container or boot. Resolves to null if there is no lock file; a live master whose file was removed is
 * asked over its socket first, which makes it create the file again.
 *
 * @throws {StateError} if the path is a symbolic link or not a regular file, or if it cannot be read.
 */
export async function findOwner(
  disk: Disk,
  files: StateFiles,
  isKernel: boolean,
): Promise<{ owner: LockOwner; isAlive: boolean | null } | null> {
  const folder = await disk.stat(files.dir, { bigint: true }).catch(() => null);
  if (folder === null) return null;
  const { owner, isProven }: AskedOwner = isKernel
    ? await askUntilNamed(disk, files.lock, socketName(folder, files.key))
    : { owner: await readOwner(disk, files.lock), isProven: false, isAnswered: false };
  if (owner === null) return null;
  const isAlive = isProven || (isSamePlace(owner, await thisOwner(null)) ? await isRunning(owner) : null);
  return { owner, isAlive };
}

/** A master that answers although its lock file is gone is creating the file again: waits for the file. */
async function askUntilNamed(disk: Disk, path: string, name: string): Promise<AskedOwner> {
  for (const endMs = monotonicMs() + lockAnswerMs;;) {
    const asked = await askOwner(disk, path, name, Math.max(1, endMs - monotonicMs()));
    if (asked.owner !== null || !asked.isAnswered || monotonicMs() >= endMs) return asked;
    await new Promise((resolve) => setTimeout(resolve, lockPauseMs));
  }
}

function strangerWarning({ dir, key, lock }: StateFiles): string {
  return `Another program holds the socket that is the lock of "${key}" in "${dir}", and cannot prove that it is a master ` +
    `of it: "${lock}" alone keeps a second master away. See whose it is with: ss -xlp`;
}
