import type { RunState, Stranded } from "../../core/types.ts";
import { printable, safeJson } from "../../lib/text.ts";
import { decode } from "../../protocol/cbor.ts";
import { jobJson } from "../../lib/job_json.ts";
import { readState, type StateReport } from "../../state/store.ts";
import { countLines } from "../../terminal/summary.ts";
import type { Invocation } from "../command.ts";
import { filesOfRun } from "../run_name.ts";
import { settle } from "../settings.ts";

/** Longest job or cursor in JSON, as in dead letters. */
const jobCharsMax = 4_096;
/** Most stretches of stranded jobs listed for a person. */
const strandedShownMax = 10;

/** A state file for a person. */
export function stateLines(report: StateReport): string[] {
  const { path, version, identity, epoch, state, savedAtMs } = report;
  const args = Object.entries(identity.args).map(([name, value]) => printable(`${name}=${value}`));
  const { last, settings } = state;
  const stranded = strandedCount(state);
  return [
    `${printable(path, Infinity)} (format ${version}, saved ${new Date(savedAtMs).toISOString()})`,
    `  Plugin: ${printable(identity.plugin)}:${printable(identity.exportName)}${
      args.length > 0 ? ` ${args.join(" ")}` : ""
    }`,
    `  Run: ${printable(identity.runId)}, epoch ${epoch}, ${state.complete ? "finished" : "not finished"}${
      state.final ? "" : "; its master runs, or died without a last save"
    }`,
    ...countLines(
      { ...state, repeatedAtLeast: isAtLeast(state) },
      stranded,
      state.final ? undefined : sinceSave,
    ),
    `  Settings: ${settings.size === 0 ? "none" : [...settings].map(settingText).join(", ")}`,
    `  Last: ${last === null ? "nothing was handed out yet" : printable(json(last.cursor))}`,
    ...strandedLines(state.stranded),
  ];
}

const sinceSave = "what its master did since this save is not known here";

/** Whether more than `repeated` may have run again: also while its master may run, or is dead. */
function isAtLeast({ repeatedAtLeast, final }: RunState): boolean {
  return repeatedAtLeast || !final;
}

function settingText([name, value]: [string, unknown]): string {
  return `${printable(name)}=${printable(JSON.stringify(value))}`;
}

function strandedLines(stranded: readonly Stranded[]): string[] {
  if (stranded.length === 0) return [];
  const shown = stranded.slice(0, strandedShownMax).map(strandedLine);
  const rest = stranded.length - shown.length;
  return [
    "  Stranded, to be handed out first:",
    ...shown,
    ...(rest > 0 ? [`    and ${rest} more stretches (--json lists all)`] : []),
  ];
}

function strandedLine({ span, history, lease }: Stranded): string {
  const seqs = span.count === 1 ? `job ${span.seq}` : `jobs ${span.seq} to ${span.end - 1}`;
  const charges = [
    ...(history.failures > 0 ? [`${history.failures} failure${history.failures === 1 ? "" : "s"}`] : []),
    ...(history.crashes > 0 ? [`${history.crashes} crashes`] : []),
    ...(lease === null ? [] : [`last leased to ${printable(lease.slaveId, 40)}`]),
  ];
  return `    ${seqs}${charges.length > 0 ? ` (${charges.join(", ")})` : ""}: ${
    printable(json(span.job(span.seq)))
  }`;
}

/** The same for a program: jobs and cursors as in dead letters, with types that JSON lacks as `{"$bigint": ...}`. */
export function stateJson({ path, version, identity, epoch, state, savedAtMs }: StateReport): string {
  const { stranded, last, firstJobHash, settings, ...counters } = state;
  return safeJson(JSON.stringify({
    path,
    version,
    savedAt: new Date(savedAtMs).toISOString(),
    runId: identity.runId,
    epoch,
    plugin: { name: identity.plugin, export: identity.exportName, hash: hex(identity.pluginHash) },
    args: identity.args,
    ...counters,
    repeatedAtLeast: isAtLeast(state),
    last: last === null ? null : { cursor: JSON.parse(json(last.cursor)), jobHash: hex(last.jobHash) },
    firstJobHash: firstJobHash === null ? null : hex(firstJobHash),
    settings: Object.fromEntries(settings),
    strandedCount: strandedCount(state),
    stranded: stranded.flatMap(strandedJobs),
  }));
}

function strandedJobs({ span, history, lease }: Stranded): unknown[] {
  return Array.from({ length: span.count }, (_, at) => {
    const job = span.job(span.seq + at);
    return { seq: span.seq + at, job: JSON.parse(json(job)), ...history, lease };
  });
}

function strandedCount({ stranded }: RunState): number {
  return stranded.reduce((sum, { span }) => sum + span.count, 0);
}

function json(item: Uint8Array): string {
  return jobJson(decode(item), jobCharsMax);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Prints a state file on stdout; takes no lock, so the run may go on meanwhile. */
export async function state({ line, env }: Invocation): Promise<number> {
  const settings = settle(line, env);
  const report = await readState(filesOfRun(line.words[0]!, settings).state);
  const text = settings.json ? `${stateJson(report)}\n` : `${stateLines(report).join("\n")}\n`;
  // Bun calls back for an empty write, as `exit` makes one, before a pipe has taken all that is queued; for this, after.
  await new Promise<void>((resolve) => process.stdout.write(text, () => resolve()));
  return 0;
}
