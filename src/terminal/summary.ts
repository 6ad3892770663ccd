import type { Outcome, RunCounts } from "../core/types.ts";
import type { EarlyEnd } from "../lib/exit_guard.ts";
import { printable, setIn } from "../lib/text.ts";
import { formatDuration, formatElapsed } from "../lib/units.ts";
import type { MasterStatus } from "../observe/events.ts";
import { sourceFaultInWords } from "../observe/phrases.ts";
import { formatRate } from "./status_line.ts";

/** How a run ended, for the summary. Counts are over all starts of the key unless said. */
export type Ending =
  & RunCounts
  & Pick<MasterStatus, "stranded" | "settledNow" | "elapsedMs" | "outage" | "sick" | "failures">
  & Readonly<{
    outcome: Outcome;
    /** Set if the last state could not be saved. */
    saveError: string | undefined;
    /** Set if the program itself was at fault: nothing was saved since, on purpose. */
    fault: string | undefined;
    /** Why `onFinish` did not do what it had to; null if it did, or there is none. */
    finishFault: Readonly<{ kind: "cut off" }> | Readonly<{ kind: "threw"; message: string }> | null;
    /** What stopped the run, unless it was a signal; a clause. */
    stoppedBy?: string | undefined;
    /** Errors of this start that came after the end of their jobs; the first of them. */
    late: Readonly<{ count: number; errors: readonly Readonly<{ seq: number | null; message: string }>[] }>;
    deadPath: string;
    /** The command that shows the dead letters. */
    deadCommand: string;
    /** The command that goes on where this ended. */
    resumeCommand: string;
  }>;

/** How it stood with a run whose process ends before it. */
type SavedStanding = Readonly<{
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
    ...sick(ending),
    ...failures(ending),
    ...late(ending),
    ...unfinished(ending),
    ...nextStep(ending),
  ];
}

/**
 * For whoever is shown no summary: why a run is not complete, and what to do next; of a complete one what is not as it
 * should be, in one line. None if all is well.
 */
export function quietLines(ending: Ending): string[] {
  const { outcome } = ending;
  const found = faultsOfJobs(ending);
  const next = nextStep(ending);
  if (next.length > 0) {
    return [
      headline(ending),
      ...detail(ending),
      ...found.map((fault) => `There are ${fault}`),
      ...unfinished(ending),
      ...next,
    ];
  }
  if (outcome.kind === "complete" && outcome.ignoredLast) return [headline(ending)];
  return found.length > 0 ? [`Finished, with ${found.join(", and ")}`] : [];
}

/** What makes an exit code 3, each with where it is or a sample. */
function faultsOfJobs({ dead, failures, deadPath, late }: Ending): string[] {
  const [most] = failures;
  const often = most === undefined ? "" : `; most often: ${groupLine(most)}`;
  const sample = late.errors[0] === undefined ? "" : `, such as: ${printable(late.errors[0].message)}`;
  return [
    ...(dead > 0 ? [`${plural(dead, "dead letter")} in ${deadPath}${often}`] : []),
    ...(late.count > 0 ? [`${plural(late.count, "error")} after the end of jobs${sample}`] : []),
  ];
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
export function earlyEndLines(end: EarlyEnd, standing: SavedStanding, ending: Ending): string[] {
  return [
    earlyEndSentence(end),
    standingLine(standing),
    counts(ending)[0]!.trim(),
    `Resume with: ${ending.resumeCommand}`,
  ];
}

function standingLine({ outcome, isSaved, savedAgoMs }: SavedStanding): string {
  if (outcome !== null && isSaved) {
    const how = outcome.kind === "complete" ? "complete" : "stopped";
    return `The run itself is ${how} and saved: what is missing is what the plugin still had to do, as in onFinish.`;
  }
  return `The state was saved ${
    formatDuration(savedAgoMs)
  } ago. Nothing is lost: what was handed out or ended since runs again.`;
}

/** What the source threw, but for what the headline says of it: the stack. Set in, for others wrote it. */
function detail({ outcome, saveError, fault }: Ending): string[] {
  if (outcome.kind !== "source failed") return [];
  const lines = sourceFaultInWords(outcome).split("\n").slice(0, 1 + stackLinesShownMax)
    .map((line) => setIn(printable(line)));
  return saveError === undefined && fault === undefined ? lines.slice(1) : lines;
}

function headline({ outcome, dead, late, finishFault, saveError, fault, stoppedBy, outage }: Ending): string {
  if (fault !== undefined) {
    return `Ended by a fault of the program, as of the last save: ${printable(fault.split("\n")[0]!, 1_000)}`;
  }
  if (saveError !== undefined) {
    return `Ended, and the state could not be saved: ${printable(saveError, 1_000)}`;
  }
  switch (outcome.kind) {
    case "stopped":
      return [
        "Stopped and saved.",
        ...(stoppedBy === undefined ? [] : [`What ended it: ${printable(stoppedBy)}.`]),
        ...(outage === null ? [] : [`Nothing succeeded any more: ${printable(outage)}`]),
      ].join(" ");
    case "source failed":
      return `Ended: ${printable(sourceFaultInWords(outcome).split("\n")[0]!, 1_000)}`;
    case "outage":
      return `Ended, saved: nothing succeeded for as long as --max-outage allows: ${
        printable(outcome.message.split("\n")[0]!)
      }`;
    case "no room":
      return `Ended, saved: the dead letters would take more than --max-dead allows: ${
        printable(outcome.message, 1_000)
      }.`;
    case "complete":
      if (outcome.ignoredLast) {
        return "Nothing was handed out: getJobs began at its first job again, and this run is finished. --reset starts over.";
      }
      return `${complete(dead, late.count)}${finishFault === null ? "" : ", but onFinish failed"}.`;
  }
}

function complete(dead: number, late: number): string {
  if (dead === 0 && late === 0) return "Finished: every job is handled";
  const found = [
    ...dead > 0 ? [plural(dead, "dead letter")] : [],
    ...late > 0 ? [`${plural(late, "error")} after the end of jobs`] : [],
  ];
  return `Finished, with ${found.join(", and ")}`;
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

const killed = "a master was killed, or an older state was taken: what was done since its save is not known";

/**
 * What became of the jobs, over all starts: two lines. `handedOut` counts a job again that a source yielded again. `unknown`:
 * why more may have run again.
 */
export function countLines(counted: RunCounts, stranded: number, unknown = killed): string[] {
  const { handedOut, handedOutAgain, done, skipped, dead, repeated, repeatedAtLeast } = counted;
  const jobs = handedOutAgain === 0
    ? ""
    : ` (as far as is known ${handedOut - handedOutAgain} different jobs: getJobs started over)`;
  const count = !repeatedAtLeast ? `${repeated}` : repeated === 0 ? "none known" : `at least ${repeated}`;
  const why = repeatedAtLeast ? ` (${unknown})` : "";
  return [
    `  Handed out: ${handedOut} = ${done} done + ${skipped} skipped + ${dead} dead + ${stranded} stranded${jobs}`,
    `  Repeated: ${count}${why}`,
  ];
}

function sick({ sick }: Ending): string[] {
  return sick.map(({ name, message }) =>
    `  Slave ${printable(name)} failed everything: ${printable(message)}`
  );
}

function failures({ failures, dead, deadPath, deadCommand }: Ending): string[] {
  if (dead === 0) return [];
  const shown = failures.slice(0, failuresShownMax).map((group) => `    ${groupLine(group)}`);
  const rest = failures.length - shown.length;
  return [
    ...(shown.length > 0 ? ["  Failures of this start:", ...shown] : []),
    ...(rest > 0 ? [`    and ${plural(rest, "other message")}`] : []),
    `  Dead letters: ${deadPath}`,
    `  Look at them with: ${deadCommand}`,
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

function groupLine({ message, count, differ }: Ending["failures"][number]): string {
  return `${count} x ${printable(message)}${differ ? " (and others like it)" : ""}`;
}

/** The run has ended as it has, but for what the plugin had to do then. */
function unfinished({ finishFault }: Ending): string[] {
  if (finishFault === null) return [];
  const why = finishFault.kind === "threw"
    ? `threw: ${printable(finishFault.message, 1_000)}`
    : "was cut off";
  return [`What onFinish had to do is not done, for it ${why}. The next start calls it again at its end.`];
}

function nextStep(ending: Ending): string[] {
  const { finishFault, resumeCommand } = ending;
  if (!isAllDone(ending)) return [...advice(ending), `Resume with: ${resumeCommand}`];
  if (finishFault === null) return [];
  return [
    `The run itself is complete and saved: no job runs again. Call onFinish again with: ${resumeCommand}`,
  ];
}

/** What to do before. The jobs of letters that were not written are in the state: they are tried again. */
function advice({ outcome, saveError, fault }: Ending): string[] {
  if (outcome.kind !== "no room" || saveError !== undefined || fault !== undefined) return [];
  return [
    "Look at these letters, and mend why so many jobs fail. Then resume with a larger --max-dead, or move that file away before.",
  ];
}

function isAllDone({ outcome, saveError, fault }: Ending): boolean {
  return outcome.kind === "complete" && saveError === undefined && fault === undefined;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
