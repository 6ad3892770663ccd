import { headline } from "../core/piece.ts";
import { sha256 } from "../lib/bytes.ts";
import { isPlainJson, jobJson } from "../lib/job_json.ts";
import { messageGroup, messageGroupsMax, printable, safeJson, setIn } from "../lib/text.ts";
import { formatDuration } from "../lib/units.ts";
import { decode } from "../protocol/cbor.ts";
import type { DeadLetterRecord } from "../state/store.ts";

/** Most names of slaves kept for a group, and the longest beginning of one. */
const slavesMax = 10;
const slaveCharsMax = 60;
/** Groups shown with a sample; of the rest there is a line each. */
const sampledMax = 20;
/** Most lines of a sample's error, in a list of groups and in full; and the longest of them in characters. */
const stackLinesInList = 6;
const stackLinesMax = 60;
const stackLineCharsMax = 500;

type DeadLetterGroup = {
  /** What its messages have in common; null for the rest, which are not counted apart. */
  readonly group: string | null;
  count: number;
  /** Times of the first and the last letter, ISO 8601, UTC. */
  first: string;
  last: string;
  /** Of all attempts; one more than `slavesMax` if there are more. */
  readonly slaves: Set<string>;
  /** Lines that show the letter that came first: not the letter, whose job may have a megabyte. */
  readonly sample: readonly string[];
};

/** What the letters of one group have in common: of the last attempt, or of a row that could not be sent. */
export function groupOf({ attempts, row }: DeadLetterRecord): string {
  return messageGroup(
    row === undefined ? headline(attempts.at(-1)?.error ?? "") : `cannot be sent: ${row.reason}`,
  );
}

/** The short name of a group, the same at any time and on any machine: 8 hex digits. */
export function groupId(group: string): string {
  return Buffer.from(sha256(new TextEncoder().encode(group))).toString("hex", 0, 4);
}

/** Dead letters by group, in bounded memory. */
export class DeadLetterGroups {
  readonly #groups = new Map<string | null, DeadLetterGroup>();
  readonly #stackLines: number;

  constructor(how: "briefly" | "in full") {
    this.#stackLines = how === "in full" ? stackLinesMax : stackLinesInList;
  }

  add(letter: DeadLetterRecord): void {
    const key = groupOf(letter);
    const group = this.#groups.get(key) ??
      this.#open(this.#groups.size < messageGroupsMax ? key : null, letter);
    group.count++;
    if (letter.time < group.first) group.first = letter.time;
    if (letter.time > group.last) group.last = letter.time;
    for (const { slave } of letter.attempts) {
      if (slave !== "" && group.slaves.size <= slavesMax) group.slaves.add(slave.slice(0, slaveCharsMax));
    }
  }

  #open(group: string | null, letter: DeadLetterRecord): DeadLetterGroup {
    const known = this.#groups.get(group);
    if (known !== undefined) return known;
    const { seq, time } = letter;
    const sample = [
      `job ${seq}: ${printable(briefJob(letter))}`,
      ...errorLines(letter, letter.attempts.at(-1), this.#stackLines),
    ];
    const opened = { group, count: 0, first: time, last: time, slaves: new Set<string>(), sample };
    this.#groups.set(group, opened);
    return opened;
  }

  get count(): number {
    return [...this.#groups.values()].reduce((sum, { count }) => sum + count, 0);
  }

  /** For a person: the most frequent first. */
  lines(): string[] {
    const sorted = [...this.#groups.values()].sort((a, b) => b.count - a.count);
    const shown = sorted.slice(0, sampledMax).flatMap((group) => ["", ...groupLines(group)]);
    const rest = sorted.slice(sampledMax).map(titleOf);
    return [...shown.slice(1), ...(rest.length > 0 ? ["", ...rest] : [])];
  }
}

/** `3f2a91bc  2 x user # not found` */
function titleOf({ group, count }: DeadLetterGroup): string {
  return group === null
    ? `other     ${count} x other messages (--json lists all)`
    : `${groupId(group)}  ${count} x ${group === "" ? "(without a message)" : printable(group)}`;
}

function groupLines(group: DeadLetterGroup): string[] {
  const { count, first, last, slaves, sample } = group;
  const names = [...slaves].slice(0, slavesMax).map((name) => printable(name, slaveCharsMax));
  const at = names.length === 0
    ? ""
    : `; at ${names.join(", ")}${slaves.size > slavesMax ? ", and others" : ""}`;
  const when = count === 1 ? printable(first) : `${printable(first)} to ${printable(last)}`;
  return [
    titleOf(group),
    `  ${when}${at}`,
    `  ${count === 1 ? "" : "such as "}${sample[0]}`,
    ...sample.slice(1),
  ];
}

/** One letter for a person, in full. */
export function letterLines(letter: DeadLetterRecord): string[] {
  const { seq, time, failures, crashes, attempts } = letter;
  const counts = [
    `${failures} failure${failures === 1 ? "" : "s"}`,
    `${crashes} crash${crashes === 1 ? "" : "es"}`,
  ];
  return [
    `Job ${seq}, of group ${groupId(groupOf(letter))}, buried ${printable(time)}, ${counts.join(" and ")}`,
    `  ${printable(letter.row === undefined ? jobOf(letter).json : briefJob(letter), Infinity)}`,
    ...(letter.row === undefined ? [] : errorLines(letter, undefined, stackLinesMax)),
    ...attempts.flatMap((attempt) => [
      `  ${printable(attempt.how)} at ${printable(attempt.slave, slaveCharsMax)}, ${
        printable(attempt.at)
      }, after ${formatDuration(Math.max(0, attempt.durationMs))}:`,
      ...errorLines(letter, attempt, stackLinesMax),
    ]),
  ];
}

/** One letter of a group for a person, in a line. */
export function letterLine(letter: DeadLetterRecord): string {
  const error = letter.row?.reason ?? headline(letter.attempts.at(-1)?.error ?? "");
  return `  job ${letter.seq}, ${printable(letter.time)}: ${printable(error)}: ${
    printable(briefJob(letter))
  }`;
}

/** Set in deeper than any line of ours: others wrote them. */
function errorLines(
  { row }: DeadLetterRecord,
  attempt: DeadLetterRecord["attempts"][number] | undefined,
  linesMax: number,
): string[] {
  const text = row !== undefined
    ? `cannot be sent: at ${row.path} there is ${row.reason}`
    : attempt === undefined
    ? ""
    : attempt.stack.includes(headline(attempt.error))
    ? attempt.stack
    : `${attempt.error}\n${attempt.stack}`;
  const lines = text.trimEnd().split("\n");
  const shown = lines.slice(0, linesMax).filter((line) => line.trim() !== "");
  const rest = lines.length - linesMax;
  return [...shown, ...(rest > 0 ? [`    (${rest} more lines)`] : [])]
    .map((line) => `    ${setIn(printable(line, stackLineCharsMax))}`);
}

/** The job as its line shows it; of a row that could not be sent its cursor. */
function briefJob({ job, row }: DeadLetterRecord): string {
  return row === undefined ? JSON.stringify(job ?? null) : `cursor ${JSON.stringify(row.cursor)}`;
}

/** The job in full, and whether that says all; what its line shows where its bytes cannot be read. */
function jobOf({ job, cbor }: DeadLetterRecord): { json: string; isExact: boolean } {
  if (cbor === null) return { json: "null", isExact: true };
  try {
    const decoded = decode(cbor);
    return { json: jobJson(decoded, Infinity), isExact: isPlainJson(decoded) };
  } catch {
    return { json: JSON.stringify(job ?? null), isExact: false };
  }
}

/** One letter for a program, as a line of JSON without its newline. */
export function letterJson(letter: DeadLetterRecord): string {
  const { seq, time, failures, crashes, attempts, cbor, row } = letter;
  const head = { seq, group: groupId(groupOf(letter)), time, failures, crashes, attempts, ...row };
  const { json, isExact } = jobOf(letter);
  const bytes = isExact ? "" : `,"cbor":"${Buffer.from(cbor!).toString("base64")}"`;
  return safeJson(`${JSON.stringify(head).slice(0, -1)},"job":${json}${bytes}}`);
}
