import { readFile } from "node:fs/promises";
import { readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { printable } from "../base/printable.ts";
import { startOfProcess } from "./process_start.ts";

/** Who runs a key, as `<key>.lock` and the holder of the lock say it. */
export type Holder = Readonly<{
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
  /** What proves who holds the lock, known to who can read the note: 64 hex digits; empty if it has none. */
  nonce: string;
}>;

const nonceRule = /^(?:[0-9a-f]{64})?$/;

export async function thisHolder(address: string | null): Promise<Holder> {
  const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  return {
    host: hostname(),
    bootId: bootId.trim(),
    space: ["pid", "net"].map(namespace).join(" ").trim(),
    pid: process.pid,
    pidStart: (await startOfProcess(process.pid)) ?? "",
    address,
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

/** Null if the text is no holder's. */
export function parseHolder(text: string): Holder | null {
  try {
    const { host, bootId, space, pid, pidStart, address, nonce = "" } = JSON.parse(text);
    const texts = [host, bootId, space, pidStart, address ?? "", nonce];
    if (!Number.isSafeInteger(pid) || pid <= 0 || texts.some((word) => typeof word !== "string")) return null;
    if (!nonceRule.test(nonce)) return null;
    return { host, bootId, space, pid, pidStart, address: address ?? null, nonce };
  } catch {
    return null;
  }
}

/** A holder in words for people, whoever wrote them. */
export function holderText({ pid, host, address }: Holder): string {
  return `pid ${pid} on "${printable(host)}"${address === null ? "" : ` at ${printable(address)}`}`;
}

/** Whether both see the same processes and the same sockets. */
export function isSamePlace(a: Holder, b: Holder): boolean {
  return a.host === b.host && a.bootId === b.bootId && a.space === b.space;
}

/** Whether the process of a holder in this place still runs. */
export async function isRunning({ pid, pidStart }: Holder): Promise<boolean> {
  const start = await startOfProcess(pid);
  return start !== null && (pidStart === "" || start === "" || start === pidStart);
}
