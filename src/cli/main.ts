import { TaskmasterError, UsageError } from "../lib/errors.ts";
import { type EarlyEnd, guardExits, releaseExits, writeNow } from "../lib/exit_guard.ts";
import { changedBy, describeDenied, forgetTuning, isBinary, takeTypedName } from "../lib/runtime.ts";
import { reported } from "../lib/text.ts";
import { startWatchdog } from "../lib/watchdog.ts";
import { describeError, describeThrown, hasPluginFrames } from "../plugin/describe_error.ts";
import { type Generation, takeGeneration } from "../slave/spawn_self.ts";
import { Foreground, lineOverStatus } from "../terminal/screen.ts";
import { checkWords, readCommandLine, readPluginWords } from "./command_line.ts";
import { commands } from "./commands.ts";
import type { Invocation } from "./command.ts";
import { optionsOf } from "./options.ts";
import { oddVariables } from "./settings.ts";
import { exit, Faults } from "./signals.ts";

/**
 * Runs the program: `argv` are the words behind its name. Resolves with the exit code, and never rejects: an
 * error that a person can mend is shown as its sentence, any other with its stack, as exit code 1.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const exitCode = await carryOut(argv);
  releaseExits();
  return exitCode;
}

/** Runs the program, and ends the process with its exit code. */
export async function mainProcess(argv: readonly string[]): Promise<never> {
  return await exit(await carryOut(argv));
}

async function carryOut(argv: readonly string[]): Promise<number> {
  try {
    // Before anything of a plugin is loaded, nor any process started: neither may find it there.
    const tokenText = process.env["TASKMASTER_TOKEN"];
    delete process.env["TASKMASTER_TOKEN"];
    forgetTuning();
    takeTypedName();
    const { generation, parentPid } = takeGeneration();
    refuseRecursion(generation, argv);
    const changed = changedBy(process, isBinary());
    if (changed !== null) throw new UsageError(`Cannot run: ${changed}`);
    if (generation === "worker") return await (await import("./commands/worker.ts")).workerProgram(parentPid);
    guardExits(endedEarly);
    if (generation === "slave") startWatchdog({ parentPid });
    const faults = new Faults(report);
    const line = readCommandLine(argv);
    const isChild = generation !== "first";
    return await callCommand({ line, argv, env: process.env, tokenText, isChild, faults });
  } catch (error) {
    return report(error);
  }
}

async function callCommand(invocation: Invocation): Promise<number> {
  const { line, env } = invocation;
  const row = commands[line.command];
  if ("plugin" in row) {
    const plugin = readPluginWords(line, row);
    return await (await row.load())({ ...invocation, plugin });
  }
  process.stdout.on("error", readerLeft);
  if (optionsOf(line.command).length > 0) {
    for (const sentence of oddVariables(env)) process.stderr.write(reported(sentence));
  }
  checkWords(line, row);
  return await (await row.load())(invocation);
}

/** A reader of stdout that has enough, such as `head`, is no fault; what cannot be written otherwise is one. */
function readerLeft(error: Error & { code?: string }): void {
  if (error.code !== "EPIPE") throw error;
}

/** A child that does not come out as what it was started as would start children for ever. */
function refuseRecursion(generation: Generation, argv: readonly string[]): void {
  const first = argv[0];
  if (generation === "first" ? first !== "worker" : first === generation) return;
  if (generation === "first") {
    throw new UsageError("`taskmaster worker` is for slaves: they start it. Use `taskmaster slave`.");
  }
  throw new UsageError(
    `Cannot run: started as a ${generation} of another process, with the words ${JSON.stringify(argv)}. ` +
      "TASKMASTER_GENERATION in the environment says so, which is for these alone: unset it.",
  );
}

/** Of a command that has nothing more to say. */
function endedEarly({ how, where }: EarlyEnd): number {
  const at = where === undefined ? "" : `, called at ${where}`;
  writeNow(2, reported(`the process ended before its command had, by ${how}${at}.`));
  return 1;
}

/** How Bun, Node and Deno say so. */
const noMoreThreads =
  /Failed to spawn worker thread|ERR_WORKER_INIT_FAILED|Resource temporarily unavailable|\bEAGAIN\b/;

/** Shows an error that ends the program, and says what it exits with. */
export function report(error: unknown): number {
  if (error instanceof TaskmasterError) {
    const text = reported(error.message, error.below).trimEnd();
    lineOverStatus(process.stderr, text, new Foreground().isForeground);
    return error.exitCode;
  }
  const denied = describeDenied(error);
  if (denied !== undefined) {
    process.stderr.write(reported(denied));
    return 2;
  }
  process.stderr.write(reported(describeFault(error)));
  return 1;
}

/** What was thrown that no person can mend by the command line alone. */
function describeFault(error: unknown): string {
  const { message, stack } = describeError(error);
  if (noMoreThreads.test(message)) {
    return `this machine lets this user start no more processes and threads (${message}). Raise the limit (\`ulimit -u\`, ` +
      "LimitNPROC= of systemd, pids_limit of a container), or take a smaller --procs.";
  }
  if (hasPluginFrames(stack)) return describeThrown("nobody caught what the plugin threw", error);
  return describeThrown(
    "unexpected error, a fault of taskmaster; the run can be resumed with the same command",
    error,
  );
}
