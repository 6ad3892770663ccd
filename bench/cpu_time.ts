import { descendantsOf, parseStat, proc } from "./proc.ts";

/** Linux counts CPU time in hundredths of a second for every program, whatever its own clock is (USER_HZ). */
const tickMs = 10;

/**
 * CPU time, user and system, of everything this process ever started, children of children too: of those that run,
 * and of those that ended and were waited for. The difference of two calls is what was spent in between. NaN where
 * there is no /proc.
 */
export function cpuMsOfDescendants(): number {
  const self = proc(process.pid, "stat");
  if (self === "") return NaN;
  let ticks = parseStat(self).waitedTicks;
  for (const { ownTicks, waitedTicks } of descendantsOf(process.pid)) ticks += ownTicks + waitedTicks;
  return ticks * tickMs;
}
