import { formatDuration, formatElapsed } from "../base/duration.ts";
import type { EarlyEnd } from "../base/exit_guard.ts";
import { printable } from "../base/printable.ts";
import { formatRate } from "./status_line.ts";

/** How a run ended, for the summary. Counts are over all starts of the key unless said. */
export type Ending = Readonly<{
  outcome:
    | Readonly<{ kind: "complete"; ignoredLast: boolean }>
    | Readonly<{ kind: "stopped" }>
    | Readonly<{ kind: "source failed"; message: string }>;
  /** Set if the last state could not be saved. */
  saveError: string | undefined;
  /** Set if the program itself was at fault: nothing was saved since, on purpose. */
  fault: string | undefined;
  handedOut: number;
  done: number;
  skipped: number;
  dead: number;
  stranded: number;
  repeated: number;
  /** More than `repeated` may have run again. */
  repeatedAtLeast: boolean;
  /** Of `handedOut`: jobs that a source which started over yielded once more. */
  handedOutAgain: number;
  /** Settled by this start. */
  settledNow: number;
  elapsedMs: number;
  /** Dead letters of this start, by message. */
  failures: readonly Readonly<{ message: string; count: number }>[];
  /** Errors of this start that came after the end of their jobs; the first of them. */
  late: Readonly<{ count: number; errors: readonly Readonly<{ seq: number | null; message: string }>[] }>;
  deadPath: string;
  /** The command that goes on where this ended. */
  resumeCommand: string;
}>;

/** How it stood with a run whose process ends before it. */
export type Standing = Readonly<{
  /** Null: it was under way. */
  outcome: Ending["outcome"] | null;
  /** Whether the last state of all is durable. */
  isSaved: boolean;
  /** Since the last save. */
  savedAgoMs: number;
}>;

/** Most lines of a source's stack shown. */
const stackLinesShownMax = 10;
/** Most messages of failures listed. */
const failuresShownMax = 10;

/** The last lines of a run: what became of the jobs, and what to do next. */
export function summaryLines(ending: Ending): string[] {
  return [
    headline(ending),
    ...detail(ending),
    ...counts(ending),
    ...failures(ending),
    ...late(ending),
    ...nextStep(ending),
  ];
}

/** Why a run ended before it was complete, and what to do next: for whoever is shown no summary. None if it is complete. */
export function incompleteLines(ending: Ending): string[] {
  const next = nextStep(ending);
  return next.length === 0 ? [] : [headline(ending), ...detail(ending), ...next];
}

/** What ended the process of a run, as a sentence. */
export function earlyEndSentence({ how, where }: EarlyEnd): string {
  if (how === "an empty event loop") {
    return "The process ended before its program had: nothing was left for it to wait for.";
  }
  const at = where === undefined ? "" : `, called at ${printable(where, 1_000)}`;
  return `The plugin ended the process before its program had ended: ${printable(how)}${at}.`;
}

/** Why the process of a run ends early, where the run stands, and what to do next. */
export function earlyEndLines(end: EarlyEnd, standing: Standing, ending: Ending): string[] {
  return [
    earlyEndSentence(end),
    standingLine(standing),
    counts(ending)[0]!,
    `Resume with: ${ending.resumeCommand}`,
  ];
}

function standingLine({ outcome, isSaved, savedAgoMs }: Standing): string {
  if (outcome !== null && isSaved) {
    const how = outcome.kind === "complete" ? "complete" : "stopped";
    return `The run itself is ${how} and saved: what is missing is what the plugin still had to do, as in onFinish.`;
  }
  return `The state was saved ${
    formatDuration(savedAgoMs)
  } ago. Nothing is lost: what was handed out or ended since runs again.`;
}

/** What the source threw, but for what the headline says of it: the stack. */
function detail({ outcome, saveError, fault }: Ending): string[] {
  if (outcome.kind !== "source failed") return [];
  const lines = outcome.message.split("\n").slice(0, 1 + stackLinesShownMax).map((line) => printable(line));
  return saveError === undefined && fault === undefined ? lines.slice(1) : lines;
}

function headline({ outcome, dead, late, saveError, fault }: Ending): string {
  if (fault !== undefined) {
    return `Ended by a fault of the program, as of the last save: ${printable(fault.split("\n")[0]!, 1_000)}`;
  }
  if (saveError !== undefined) {
    return `Ended, and the state could not be saved: ${printable(saveError, 1_000)}`;
  }
  switch (outcome.kind) {
    case "stopped":
      return "Stopped and saved.";
    case "source failed":
      return `Ended: ${printable(outcome.message.split("\n")[0]!, 1_000)}`;
    case "complete":
      if (outcome.ignoredLast) {
        return "Nothing was handed out: getJobs began at its first job again, and this run is finished. --reset starts over.";
      }
      return dead === 0 && late.count === 0 ? "Finished: every job is handled." : `Finished, with ${
        [
          ...dead > 0 ? [plural(dead, "dead letter")] : [],
          ...late.count > 0 ? [`${plural(late.count, "error")} after the end of jobs`] : [],
        ].join(", and ")
      }.`;
  }
}

function counts(ending: Ending): string[] {
  const { stranded, settledNow, elapsedMs } = ending;
  const rate = elapsedMs > 0 ? settledNow * 1_000 / elapsedMs : 0;
  return [
    ...countLines(ending, stranded),
    `  This start: ${plural(settledNow, "job")} in ${formatElapsed(elapsedMs)}, ${
      formatRate(rate).trimStart()
    }`,
  ];
}

type Counted = Pick<
  Ending,
  "handedOut" | "handedOutAgain" | "done" | "skipped" | "dead" | "repeated" | "repeatedAtLeast"
>;

/** What became of the jobs, over all starts: two lines. `handedOut` counts a job again that a source yielded again. */
export function countLines(counted: Counted, stranded: number): string[] {
  const { handedOut, handedOutAgain, done, skipped, dead, repeated, repeatedAtLeast } = counted;
  const jobs = handedOutAgain === 0
    ? ""
    : ` (as far as is known ${handedOut - handedOutAgain} different jobs: getJobs started over)`;
  const least = repeatedAtLeast ? "at least " : "";
  const why = repeatedAtLeast ? " (a master was killed: what it did since its last save is not known)" : "";
  return [
    `  Handed out: ${handedOut} = ${done} done + ${skipped} skipped + ${dead} dead + ${stranded} stranded${jobs}`,
    `  Repeated: ${least}${repeated}${why}`,
  ];
}

function failures({ failures, dead, deadPath }: Ending): string[] {
  if (dead === 0) return [];
  const sorted = failures.toSorted((a, b) => b.count - a.count);
  const shown = sorted.slice(0, failuresShownMax).map(({ message, count }) =>
    `    ${count} x ${printable(message)}`
  );
  const rest = sorted.length - shown.length;
  return [
    ...(shown.length > 0 ? ["  Failures of this start:", ...shown] : []),
    ...(rest > 0 ? [`    and ${plural(rest, "other message")}`] : []),
    `  Dead letters: ${deadPath}`,
  ];
}

function late({ late: { count, errors } }: Ending): string[] {
  if (count === 0) return [];
  const shown = errors.slice(0, failuresShownMax).map(({ seq, message }) =>
    `    ${printable(message)}${seq === null ? "" : ` (job ${seq})`}`
  );
  const rest = count - shown.length;
  return [
    "  Errors after the end of their jobs, as of a forgotten await: these jobs count as done, and their work may not be.",
    ...shown,
    ...(rest > 0 ? [`    and ${rest} more`] : []),
  ];
}

function nextStep({ outcome, saveError, fault, resumeCommand }: Ending): string[] {
  if (outcome.kind === "complete" && saveError === undefined && fault === undefined) return [];
  return [`Resume with: ${resumeCommand}`];
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
