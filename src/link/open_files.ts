import { readFileSync } from "node:fs";
import { connectionsMax } from "../base/limits.ts";

/** Files that a master may open for anything else: its state, its plugin's connections, what the runtime needs. */
const otherFiles = 128;

/**
 * Most connections that leave descriptors for everything else. Where a process runs out of them it can neither save nor
 * take a slave, and under Deno it accepts nobody any more, even when there are some again. Known on Linux only.
 */
export function connectionsAllowed(): number {
  return placesFor(filesMax());
}

/** @param filesMax Files that the process may open. */
export function placesFor(filesMax: number): number {
  return Math.min(connectionsMax, Math.max(filesMax - otherFiles, Math.floor(filesMax / 2)));
}

function filesMax(): number {
  try {
    const soft = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return soft === undefined ? Infinity : Number(soft);
  } catch {
    return Infinity;
  }
}
