import { printable } from "../lib/text.ts";
import { formatElapsed } from "../lib/units.ts";
import { cutToWidth, widthOf } from "./text_width.ts";

/** One line of text for a terminal of so many columns; `Infinity` asks for all of it. */
export type StatusLine = (columns: number) => string;

/** What a master's status line shows; counts are of jobs, over all starts of the key unless said. */
type MasterNumbers = Readonly<{
  settled: number;
  /** Settled a second, lately, by this start. */
  ratePerSecond: number;
  /** Time since this start, in milliseconds; earlier starts are not counted. */
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
export function masterStatusLine(numbers: MasterNumbers): StatusLine {
  const { settled, buffered, jobsMax, inFlight, slaves, dead, reason } = numbers;
  return fitted({
    ...numbers,
    count: { label: "Current Job", shortLabel: "Job", value: settled },
    middle: [`Buffer: ${buffered}/${jobsMax}`, `In Flight: ${inFlight}`, `Slaves: ${slaves}`],
    failed: dead,
    reason,
  });
}

/** What a slave's progress line shows; counts are of this process. */
type SlaveNumbers = Readonly<{
  done: number;
  ratePerSecond: number;
  elapsedMs: number;
  failed: number;
  inFlight: number;
  procs: number;
  state: string;
}>;

/** `Jobs Done: 5120 | Rate:  991.06/s | Elapsed Time: 0:00:40 | In Flight: 64 | Procs: 4 | Failed: 0 | working`. */
export function slaveStatusLine(numbers: SlaveNumbers): StatusLine {
  const { done, inFlight, procs, failed, state } = numbers;
  return fitted({
    ...numbers,
    count: { label: "Jobs Done", shortLabel: "Done", value: done },
    middle: [`In Flight: ${inFlight}`, `Procs: ${procs}`],
    failed,
    reason: state,
  });
}

/** `%7.2f` and the unit. */
export function formatRate(perSecond: number): string {
  return `${perSecond.toFixed(2).padStart(7)}/s`;
}

type Fields = Readonly<{
  count: Readonly<{ label: string; shortLabel: string; value: number }>;
  ratePerSecond: number;
  elapsedMs: number;
  /** Left out first, in this order. */
  middle: readonly string[];
  failed: number;
  reason: string;
}>;

const separator = " | ";
/** While another field can be shortened, the reason is cut no shorter than this. */
const reasonColumnsMin = 16;

/**
 * The first layout that leaves room for the reason. While fields of the middle can be left out, the reason must fit
 * whole; after that, `reasonColumnsMin` columns of it must.
 */
function fitted(fields: Fields): StatusLine {
  // of a message of several lines, its first
  const reason = printable(fields.reason.split("\n")[0]!);
  return (columns) => {
    let last = "";
    for (const { text, hasMiddle } of layoutsOf(fields)) {
      const room = columns - widthOf(text) - separator.length;
      const needed = hasMiddle ? widthOf(reason) : Math.min(widthOf(reason), reasonColumnsMin);
      if (room >= needed) return `${text}${separator}${cutToWidth(reason, room)}`;
      last = text;
    }
    return cutToWidth(`${last}${separator}${reason}`, columns);
  };
}

/** Layouts of the part before the reason, from the widest to the narrowest. */
function* layoutsOf({ count, ratePerSecond, elapsedMs, middle, failed }: Fields) {
  const [elapsed, rate] = [formatElapsed(elapsedMs), formatRate(ratePerSecond)];
  const job = `${count.label}: ${count.value}`;
  const start = [job, `Rate: ${rate}`];
  const failures = failed > 0 ? [`Failed: ${failed}`] : [];
  const droppable = failed > 0 ? middle : [...middle, "Failed: 0"];
  const layout = (parts: readonly string[], hasMiddle = false) => ({
    text: parts.join(separator),
    hasMiddle,
  });
  for (let from = 0; from <= droppable.length; from++) {
    const parts = [...start, `Elapsed Time: ${elapsed}`, ...droppable.slice(from), ...failures];
    yield layout(parts, from < droppable.length);
  }
  yield layout([...start, `Elapsed: ${elapsed}`, ...failures]);
  yield layout([...start, elapsed, ...failures]);
  yield layout([job, rate.trimStart(), elapsed, ...failures]);
  yield layout([job, rate.trimStart(), ...failures]);
  yield layout([job, ...failures]);
  yield layout([`${count.shortLabel} ${count.value}`, ...failures]);
}
