import { formatElapsed } from "../base/duration.ts";
import { printable } from "../base/printable.ts";

/** What a master's status line shows; counts are of jobs, over all starts of the key unless said. */
export type MasterNumbers = Readonly<{
  settled: number;
  /** Settled a second, lately, by this start. */
  ratePerSecond: number;
  /** Of this start. */
  elapsedMs: number;
  buffered: number;
  /** The cap, `--size`. */
  jobsMax: number;
  inFlight: number;
  slaves: number;
  dead: number;
  /** The reason for the speed. */
  reason: string;
}>;

/**
 * `Current Job: 30421 | Rate:  991.06/s | Elapsed Time: 0:00:40 | Buffer: 9488/10000 | In Flight: 512 | Slaves: 4 |
 * Failed: 0 | slaves busy`, in one line.
 */
export function masterStatusLine(numbers: MasterNumbers): string {
  return [
    `Current Job: ${numbers.settled}`,
    `Rate: ${formatRate(numbers.ratePerSecond)}`,
    `Elapsed Time: ${formatElapsed(numbers.elapsedMs)}`,
    `Buffer: ${numbers.buffered}/${numbers.jobsMax}`,
    `In Flight: ${numbers.inFlight}`,
    `Slaves: ${numbers.slaves}`,
    `Failed: ${numbers.dead}`,
    // of a message of several lines, its first
    printable(numbers.reason.split("\n")[0]!),
  ].join(" | ");
}

/** What a slave's progress line shows; counts are of this process. */
export type SlaveNumbers = Readonly<{
  done: number;
  ratePerSecond: number;
  elapsedMs: number;
  failed: number;
  inFlight: number;
  procs: number;
  state: string;
}>;

/** `Jobs Done: 5120 | Rate:  991.06/s | Elapsed Time: 0:00:40 | In Flight: 64 | Procs: 4 | Failed: 0 | working`. */
export function slaveStatusLine(numbers: SlaveNumbers): string {
  return [
    `Jobs Done: ${numbers.done}`,
    `Rate: ${formatRate(numbers.ratePerSecond)}`,
    `Elapsed Time: ${formatElapsed(numbers.elapsedMs)}`,
    `In Flight: ${numbers.inFlight}`,
    `Procs: ${numbers.procs}`,
    `Failed: ${numbers.failed}`,
    printable(numbers.state),
  ].join(" | ");
}

/** `%7.2f` and the unit. */
export function formatRate(perSecond: number): string {
  return `${perSecond.toFixed(2).padStart(7)}/s`;
}
