import { headline, placeIn } from "../core/piece.ts";
import type { Notice, Outcome, Reason, SourceFault, SourceRetry, WindowLimit } from "../core/types.ts";
import { errorMessageCharsMax } from "../lib/limits.ts";
import { since } from "../lib/log.ts";
import { asClause, printable } from "../lib/text.ts";
import { formatRate } from "../lib/units.ts";
import type { RunReason } from "./events.ts";

/** The options that set the limits of the window. */
const windowOptions: Readonly<Record<WindowLimit, string>> = { jobs: "--size", bytes: "--size-bytes" };

/** What the status says of a run that is over. */
const endings: Readonly<Record<Outcome["kind"], string>> = {
  complete: "finished",
  stopped: "stopped",
  "source failed": "source failed",
  outage: "everything failed",
  "no room": "too many dead letters",
};

/** One phrase for the status: why the run is not faster. */
export function reasonInWords(reason: RunReason): string {
  switch (reason.code) {
    case "waiting_for_user":
      return since(reason.what, 0, reason.forMs);
    case "source_silent":
      return `source slow: ${sourceSilence(reason.source, reason.forMs)}`;
    case "waiting_for_slaves":
      return "what" in reason ? `waiting for slaves: ${reason.what}` : "waiting for slaves";
    case "ended":
      return endings[reason.outcome];
    default:
      return coreReasonInWords(reason);
  }
}

function coreReasonInWords(reason: Exclude<Reason, { code: "waiting_for_slaves" }>): string {
  switch (reason.code) {
    case "draining":
      return "draining";
    case "paused":
      return "paused";
    case "throttled":
      return `throttled: ${reason.message}`;
    case "failing":
      return `failing: ${reason.message}`;
    case "recovering":
      return `throttled: load comes back slowly after: ${reason.message}`;
    case "paced":
      return `throttled: ${
        paceInWords(reason.startsPerSecond)
      } starts/s, since more fail with: ${reason.message}`;
    case "slave_sick":
      return `slave ${reason.slave} fails everything: ${reason.message}`;
    case "stalled":
      return `stalled ${Math.floor(reason.forMs / 1000)}s: job ${reason.seq} at ${reason.slave}`;
    case "slaves_busy":
      return "slaves busy";
    case "source_slow":
      return "source slow";
    case "window_full":
      return `window full (${windowOptions[reason.limit]})`;
    case "waiting_for_retries":
      return "waiting for retries";
    case "rate_limited":
      return `throttled: --rate ${formatRate(reason.perSecond)}`;
    case "in_flight_limited":
      return `throttled: --max-in-flight ${reason.jobs}`;
    default:
      reason satisfies never;
      // A master of a later version may know more reasons.
      return printable((reason as Reason).code);
  }
}

/** `getJobs gives nothing since 12 s`. */
export function sourceSilence(source: string, forMs: number): string {
  return since(`${source} gives nothing`, 0, forMs);
}

function paceInWords(perSecond: number): string {
  return perSecond >= 10 ? String(Math.round(perSecond)) : perSecond.toFixed(1);
}

const startedOver = "getJobs ignores `last`: its first job is the run's first job again";
const beginAtLast = "Let getJobs(last) begin at `last`";
const sourceEnd = "What it yielded is finished, then the run ends, resumable.";

/** One sentence, safe to show, of what a person should know. */
export function noticeInWords(notice: Notice): string {
  switch (notice.code) {
    case "outage began":
      return `Everything fails: ${
        printable(notice.message)
      }. No job is charged while that lasts; a few are tried now ` +
        "and then. If the plugin is at fault, stop the run, mend the plugin and start the same command again";
    case "outage ended":
      return "Jobs succeed again";
    case "slave sick":
      return `Slave ${printable(notice.slave)} fails everything: ${
        printable(notice.message)
      }. Others do not, so it ` +
        "gets a probe a second until one succeeds, and no job is charged for it";
    case "slave well":
      return `Slave ${printable(notice.slave)} succeeds again`;
    case "source started over":
      return `${startedOver}, so jobs that are done run again. ${beginAtLast}, or use --reset to start over.`;
    case "source failed":
      return sourceFailureInWords(notice.fault, notice.next);
    default:
      return notice satisfies never;
  }
}

/** Of the stack only its place is told: the rest is left to the end, for a source that is called again shows it in vain. */
function sourceFailureInWords(
  { message, startedOver: hasStartedOver }: SourceFault,
  next: SourceRetry,
): string {
  // A fault that nobody but the plugin's author can mend is told whole.
  const charsMax = next.kind === "hopeless" ? errorMessageCharsMax : undefined;
  const threw = asClause(printable(headline(message), charsMax));
  const place = placeIn(message);
  const where = place === "" ? "" : ` It was thrown at ${printable(place)}.`;
  if (hasStartedOver) {
    return `${startedOver}, after it threw, and is given up: ${threw}. ${beginAtLast}. ${sourceEnd}${where}`;
  }
  return `${threw}; ${nextInWords(next)}${where}`;
}

function nextInWords(next: SourceRetry): string {
  switch (next.kind) {
    case "called again":
      return `it is called again in ${next.pauseMs / 1_000} s.`;
    case "hopeless":
      return `calling it again cannot help. ${sourceEnd}`;
    case "given up":
      return `it threw ${next.failures} times without a new job, and is given up. ${sourceEnd}`;
  }
}

/** What ended a run whose source failed: a sentence, and the stack in the lines below it. */
export function sourceFaultInWords({ message, startedOver: hasStartedOver }: SourceFault): string {
  return hasStartedOver ? `${startedOver}, after it threw. ${beginAtLast}.\n${message}` : message;
}
