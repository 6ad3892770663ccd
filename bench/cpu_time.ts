import { readdirSync, readFileSync } from "node:fs";

/** Linux counts CPU time in hundredths of a second for every program, whatever its own clock is (USER_HZ). */
const tickMs = 10;

/** One process as /proc/PID/stat tells it. */
type Process = { pid: number; parent: number; ownTicks: number; waitedTicks: number };

/**
 * CPU time, user and system, of everything this process ever started, children of children too: of those that run,
 * and of those that ended and were waited for. The difference of two calls is what was spent in between. NaN where
 * there is no /proc.
 */
export function cpuMsOfDescendants(): number {
  const processes = allProcesses();
  const self = processes.find(({ pid }) => pid === process.pid);
  if (self === undefined) return NaN;
  const childrenOf = new Map<number, Process[]>();
  for (const one of processes) childrenOf.set(one.parent, [...childrenOf.get(one.parent) ?? [], one]);
  let ticks = self.waitedTicks;
  const open = [process.pid];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    for (const child of childrenOf.get(pid) ?? []) {
      ticks += child.ownTicks + child.waitedTicks;
      open.push(child.pid);
    }
  }
  return ticks * tickMs;
}

function allProcesses(): Process[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap(readProcess);
  } catch {
    return [];
  }
}

function readProcess(pid: string): Process[] {
  try {
    return [parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"))];
  } catch {
    return []; // it ended since the listing
  }
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
