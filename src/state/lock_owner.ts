import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { isSameBytes } from "../lib/bytes.ts";
import { monotonicMs, setTimeout } from "../lib/clock.ts";
import { StateError } from "../lib/errors.ts";
import { lockTextBytesMax } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { printable } from "../lib/text.ts";
import { type Disk, errorCode, errorText, removeFile, type StateFiles } from "./disk.ts";
import { openOwn, readExactly, readHeader } from "./read_state.ts";
import { encodeHeader } from "./state_format.ts";

/** Pause between two looks at the state of a master that may run elsewhere, in milliseconds. */
const foreignLookMs = 250;

/**
 * The start time of a process, in the system's own format. Null if the process does not exist or is a zombie; empty if
 * it exists and its start time is unknown.
 */
export async function startOfProcess(pid: number): Promise<string | null> {
  if (!isThere(pid)) return null;
  if (process.platform === "linux") return await fromProc(pid);
  return process.platform === "win32" ? "" : await fromPs(pid);
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** `pid (name) state ... starttime`: the state is the first word behind the name, the start the twentieth. */
async function fromProc(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (stat === null) return null;
  const words = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ["Z", "X"].includes(words[0]!) ? null : words[19] ?? "";
}

async function fromPs(pid: number): Promise<string> {
  const env = { ...process.env, LC_ALL: "C", TZ: "UTC" };
  return await new Promise((resolve) => {
    execFile("ps", ["-o", "lstart=", "-p", String(pid)], { env, timeout: 5_000 }, (error, stdout) => {
      resolve(error === null ? stdout.trim() : "");
    });
  });
}

/** Who runs a key, as `<key>.lock` and the holder of the lock say it. */
export type LockOwner = Readonly<{
  host: string;
  /** Differs after a reboot; empty where there is none. */
  bootId: string;
  /** Which processes and sockets are in sight: differs between containers of one host. Empty where there are none. */
  space: string;
  pid: number;
  /** When the process began, in the words of the system; tells it from a later one of the same pid. */
  pidStart: string;
  /** Where the master can be reached; null until it listens. */
  address: string | null;
  /** SHA-256 of the certificate that it shows there, by which a client of this machine knows it; null without TLS. */
  fingerprint: string | null;
  /** What proves who holds the lock, known to who can read the file: 64 hex digits; empty if it has none. */
  nonce: string;
}>;

const nonceRule = /^(?:[0-9a-f]{64})?$/;

export async function thisOwner(address: string | null): Promise<LockOwner> {
  const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return {
    host: hostname(),
    bootId: bootId.trim(),
    space: ["pid", "net"].map(namespace).join(" ").trim(),
    pid: process.pid,
    pidStart: (await startOfProcess(process.pid)) ?? "",
    address,
    fingerprint: null,
    nonce: "",
  };
}

function namespace(kind: string): string {
  try {
    return readlinkSync(`/proc/self/ns/${kind}`);
  } catch {
    return "";
  }
}

/** Parses the text of a lock file; null if it names no owner. */
export function parseOwner(text: string): LockOwner | null {
  try {
    const { host, bootId, space, pid, pidStart, address, fingerprint = null, nonce = "" } = JSON.parse(text);
    const texts = [host, bootId, space, pidStart, address ?? "", fingerprint ?? "", nonce];
    if (!Number.isSafeInteger(pid) || pid <= 0 || texts.some((word) => typeof word !== "string")) return null;
    if (!nonceRule.test(nonce)) return null;
    return { host, bootId, space, pid, pidStart, address: address ?? null, fingerprint, nonce };
  } catch {
    return null;
  }
}

/** An owner in words for people, whoever wrote them. */
function ownerText({ pid, host, address }: LockOwner): string {
  return `pid ${pid} on "${printable(host)}"${address === null ? "" : ` at ${printable(address)}`}`;
}

/** Whether both see the same processes and the same sockets. */
export function isSamePlace(a: LockOwner, b: LockOwner): boolean {
  return a.host === b.host && a.bootId === b.bootId && a.space === b.space;
}

/** Whether the process of an owner in this place still runs. */
export async function isRunning({ pid, pidStart }: LockOwner): Promise<boolean> {
  const start = await startOfProcess(pid);
  return start !== null && (pidStart === "" || start === "" || start === pidStart);
}

export type ElsewhereOptions = Readonly<{
  /** How long the state must stay unchanged, in milliseconds: three heartbeats. */
  watchMs: number;
  /** Asks over the network whether a master of this run answers at an address. */
  isAlive?: ((address: string) => Promise<boolean>) | undefined;
  log: Log;
}>;

/**
 * Checks a last master that ran on another host, in another container or before a reboot, and did not remove its lock
 * file. It may still run, so its address is asked, then the state file is watched. Resolves if nothing answers and the
 * state file does not change within `watchMs`.
 *
 * @throws {StateError} if that master still runs.
 */
export async function watchElsewhere(
  disk: Disk,
  files: StateFiles,
  owner: LockOwner,
  options: ElsewhereOptions,
): Promise<void> {
  const { watchMs, isAlive, log } = options;
  const who = ownerText(owner);
  if (owner.address !== null && await isAlive?.(owner.address).catch(() => false)) {
    throw elsewhereError(files, who, "it answers");
  }
  log(
    "warn",
    `The last master of "${files.key}", ${who}, did not end in order. Watching for ${
      watchMs / 1000
    } s whether it still saves`,
  );
  const before = await look(disk, files.state);
  for (const endMs = monotonicMs() + watchMs; monotonicMs() < endMs;) {
    const pauseMs = Math.min(foreignLookMs, Math.max(1, endMs - monotonicMs()));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (!isSameBytes(before, await look(disk, files.state))) {
      throw elsewhereError(files, who, "it is saving its state");
    }
  }
}

/** The header, which holds the checksum of all the rest; nothing if there is none. */
async function look(disk: Disk, path: string): Promise<Uint8Array> {
  const header = await readHeader(disk, path);
  return header === null ? new Uint8Array() : encodeHeader(header);
}

function elsewhereError(files: StateFiles, who: string, sign: string): StateError {
  return new StateError(
    `Cannot start "${files.key}" in "${files.dir}": its master runs elsewhere, ${who}: ${sign}. Stop that one first, or ` +
      `give this run a --key of its own.`,
  );
}

export function lockedError(files: StateFiles, owner: LockOwner | null): StateError {
  const who = owner === null ? "an unknown pid" : ownerText(owner);
  return new StateError(
    `Cannot start "${files.key}" in "${files.dir}": a master of it already runs, ${who}. Stop that one first, or give ` +
      `this run a --key of its own.`,
  );
}

/**
 * Null if there is none, or what it holds is no owner, or longer than 4 KiB.
 *
 * @throws {StateError} if it is a symbolic link, no file, or not readable.
 */
export async function readOwner(disk: Disk, path: string): Promise<LockOwner | null> {
  const file = await openOwn(disk, path);
  if (file === null) return null;
  try {
    const bytes = await readExactly(file, lockTextBytesMax + 1);
    return bytes.length > lockTextBytesMax ? null : parseOwner(new TextDecoder().decode(bytes));
  } finally {
    await file.close();
  }
}

/** Writes the owner atomically: to a temporary name, then renamed. */
export async function writeOwner(disk: Disk, path: string, owner: LockOwner): Promise<void> {
  const temporary = await writeTemporary(disk, path, owner);
  try {
    await disk.rename(temporary, path);
  } catch (error) {
    await removeFile(disk, temporary).catch(() => {});
    throw error;
  }
}

/** The owner in a new file beside `path`; returns its name. */
export async function writeTemporary(disk: Disk, path: string, owner: LockOwner): Promise<string> {
  const temporary = `${path}.tmp.${randomBytes(4).toString("hex")}`;
  const file = await disk.open(temporary, "wx", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(owner)}\n`);
  } finally {
    await file.close();
  }
  return temporary;
}

/** Removes the lock file, unless it belongs to another owner by now. */
export async function removeOwner(disk: Disk, path: string, owner: LockOwner): Promise<void> {
  const there = await readOwner(disk, path);
  if (there !== null && isSamePlace(there, owner) && there.pid === owner.pid) await removeFile(disk, path);
}

export function lockFileError(files: StateFiles, error: unknown): StateError {
  const why = errorCode(error) === "EROFS" ? "it is read-only (EROFS)" : errorText(error);
  return new StateError(
    `Cannot keep the state in "${files.dir}": ${why}. Make the folder writable, or name another one with --state-dir.`,
    { cause: error },
  );
}
