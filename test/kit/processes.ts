import { readdirSync, readFileSync } from "node:fs";

// Processes as /proc shows them: Linux only, as are the machines that test this.

/** Whether a process lives; one that ended and that nobody waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]![0];
    return state !== "Z";
  } catch {
    return false;
  }
}

/** Pids of a process's children; none if it has ended. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return text.trim().split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Pids of the processes of a scenario, children of children too: its folder is in the environment of each. */
export function processesOf(folder: string): string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && belongsTo(name, folder));
}

function belongsTo(pid: string, folder: string): boolean {
  try {
    // a process that has ended and was not waited for has no environment any more
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`HOME=${folder}\0`);
  } catch {
    return false;
  }
}
