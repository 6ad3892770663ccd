import { readdirSync, readFileSync } from "node:fs";

/** One process as /proc/PID/stat tells it. */
export type Process = Readonly<{ pid: number; parent: number; ownTicks: number; waitedTicks: number }>;

/** A file of /proc of a process; empty if that has ended, or where there is no /proc. */
export function proc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return "";
  }
}

/** All that run now, by their parent; empty where there is no /proc. */
export function processesByParent(): Map<number, Process[]> {
  const children = new Map<number, Process[]>();
  for (const pid of allPids()) {
    const stat = proc(pid, "stat");
    if (stat === "") continue; // it ended since the listing
    const one = parseStat(stat);
    const others = children.get(one.parent);
    if (others === undefined) children.set(one.parent, [one]);
    else others.push(one);
  }
  return children;
}

/** Children of a process, their children and so on. */
export function descendantsOf(pid: number, children = processesByParent()): Process[] {
  return (children.get(pid) ?? []).flatMap((child) => [child, ...descendantsOf(child.pid, children)]);
}

/** The second field is the program's name in parentheses and may hold anything, parentheses too: see proc(5). */
export function parseStat(text: string): Process {
  const behindName = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
  const field = (number: number) => behindName[number - 3]!;
  return {
    pid: parseInt(text, 10),
    parent: field(4),
    ownTicks: field(14) + field(15),
    waitedTicks: field(16) + field(17),
  };
}

/** Megabytes (of a million bytes) that a process has now, or had at most. */
export function memoryMB(pid: number, which: "now" | "peak"): number {
  const field = which === "now" ? "VmRSS" : "VmHWM";
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(proc(pid, "status"))?.[1] ?? NaN) * 1024 / 1e6;
}

/** Milliseconds of CPU that the main thread of a process has used. */
export function mainThreadMs(pid: number): number {
  return Number(proc(pid, `task/${pid}/schedstat`).split(" ")[0]) / 1e6;
}

function allPids(): number[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
  } catch {
    return [];
  }
}
