import { printable } from "../lib/text.ts";
import { formatAddress, formatDuration, formatElapsed } from "../lib/units.ts";
import type { SlaveRow, Snapshot } from "../observe/events.ts";
import { reasonInWords } from "../observe/phrases.ts";
import { formatRate } from "./status_line.ts";
import { cutToWidth, widthOf } from "./text_width.ts";

/**
 * A run for a person, in lines of at most so many columns: state and reason, counts, rate, saves, what was warned of last,
 * failures, and a line a slave, for as many as fit. It has at most
 * `rows` lines: what stands first must not leave the screen.
 */
export function snapshotLines(snapshot: Snapshot, columns: number, rows = Infinity): string[] {
  const { plugin, key, address, version, slaves } = snapshot;
  const lines = [
    `${printable(key)}: ${printable(reasonInWords(snapshot.reason))}`,
    `  Master: ${printable(plugin)} at ${formatAddress(address)}, taskmaster ${printable(version)}, for ${
      formatElapsed(snapshot.elapsedMs)
    }`,
    ...countLines(snapshot),
    `  Saved: ${formatDuration(Math.round(snapshot.savedAgoMs))} ago`,
    ...warningLines(snapshot),
    ...failureLines(snapshot),
    `  Slaves: ${slaves}`,
  ];
  const room = Math.max(1, rows - lines.length);
  return [...lines, ...slaveLines(snapshot.sessions, room)].slice(0, rows).map((line) =>
    cutToWidth(line, columns)
  );
}

function countLines(snapshot: Snapshot): string[] {
  const { settled, done, skipped, dead, inFlight, buffered, jobsMax, ratePerSecond, repeated } = snapshot;
  return [
    `  Settled: ${settled} (${done} done, ${skipped} skipped, ${dead} dead), ${
      formatRate(ratePerSecond).trim()
    }`,
    `  In flight: ${inFlight}, buffered: ${buffered} of ${jobsMax}${
      repeated > 0 ? `, repeated: ${repeated}` : ""
    }`,
  ];
}

function warningLines({ warning }: Snapshot): string[] {
  if (warning === null) return [];
  return [`  Last warning, ${formatDuration(Math.round(warning.agoMs))} ago: ${printable(warning.message)}`];
}

/** Most messages of dead letters that are shown. */
const failuresMax = 5;

function failureLines({ failures }: Snapshot): string[] {
  if (failures.length === 0) return [];
  const shown = failures.slice(0, failuresMax).map(({ message, count }) =>
    `    ${count} x ${printable(message)}`
  );
  const rest = failures.length - shown.length;
  return ["  Dead letters of this start:", ...shown, ...(rest > 0 ? [`    and ${rest} other messages`] : [])];
}

const heads = ["slave", "workers", "in flight", "rate", "settled", "failed", "last heard"];

function slaveLines(sessions: readonly SlaveRow[], room: number): string[] {
  if (sessions.length === 0) return [];
  const shown = sessions.length < room ? sessions : sessions.slice(0, Math.max(0, room - 2));
  const cells = [heads, ...shown.map(cellsOf)];
  const widths = heads.map((_, at) => Math.max(...cells.map((row) => widthOf(row[at]!))));
  const lines = cells.map((row, index) =>
    `    ${row.map((cell, at) => pad(cell, widths[at]!, at === 0)).join("  ")}${
      index === 0 ? "" : remarkOn(shown[index - 1]!)
    }`.trimEnd()
  );
  const rest = sessions.length - shown.length;
  return rest > 0 ? [...lines, `    and ${rest} more`] : lines;
}

function cellsOf(row: SlaveRow): string[] {
  return [
    printable(row.name, 40),
    String(row.workers),
    String(row.inFlight),
    formatRate(row.ratePerSecond).trim(),
    String(row.settled),
    String(row.failures),
    `${(row.heardMs / 1_000).toFixed(1)} s ago`,
  ];
}

function remarkOn({ mode, waitsFor }: SlaveRow): string {
  const remarks = [
    ...(mode === "open"
      ? []
      : [{ reserved: "runs one job alone", quarantined: "fails everything", draining: "drains" }[mode]]),
    ...(waitsFor === "" ? [] : [printable(waitsFor)]),
  ];
  return remarks.length === 0 ? "" : `  ${remarks.join(", ")}`;
}

function pad(cell: string, width: number, isText: boolean): string {
  const space = " ".repeat(Math.max(0, width - widthOf(cell)));
  return isText ? cell + space : space + cell;
}
