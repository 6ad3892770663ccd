import { constants } from "node:os";
import { Writable } from "node:stream";
import { countsOf } from "../../core/types.ts";
import { monotonicMs, wallMs } from "../../lib/clock.ts";
import { TaskmasterError } from "../../lib/errors.ts";
import { type EarlyEnd, holdStandardFiles, replaceEarlyEndReport, writeNow } from "../../lib/exit_guard.ts";
import { HeldLog, type Log, Waits } from "../../lib/log.ts";
import { version } from "../../lib/runtime.ts";
import { formatDuration } from "../../lib/units.ts";
import { LoopWatch } from "../../lib/watchdog.ts";
import { dateFault, type MasterTls, readCertificate } from "../../link/tls.ts";
import { startMaster } from "../../master/master.ts";
import { reachableHost } from "../../master/setup.ts";
import type { FinishFault, Master, MasterOptions, MasterResult } from "../../master/types.ts";
import type { MasterEvent, MasterStatus } from "../../observe/events.ts";
import { EventWriter, linesOf, outcomeForJson, type ProgramEvent, statusLine } from "../../observe/ndjson.ts";
import { reasonInWords } from "../../observe/phrases.ts";
import { describeError, describeThrown } from "../../plugin/describe_error.ts";
import { FatalCall } from "../../plugin/jobs_iterator.ts";
import { codeInWords, type LoadedPlugin, loadPlugin } from "../../plugin/load_plugin.ts";
import { greetingLines, resumeLine } from "../../terminal/greeting.ts";
import { masterStatusLine, type StatusLine } from "../../terminal/status_line.ts";
import {
  earlyEndLines,
  earlyEndSentence,
  type Ending,
  quietLines,
  summaryLines,
} from "../../terminal/summary.ts";
import { Progress, Terminal } from "../../terminal/terminal.ts";
import type { CommandLine, PluginInvocation, PluginWords } from "../command.ts";
import { hostDefault, type Settings } from "../options.ts";
import { redirectConsole } from "../plugin_console.ts";
import { compiledBinary, deadCommand, programWords, resumeCommand } from "../program.ts";
import { confirmReset, type RunName, runName } from "../run_name.ts";
import { fieldsOf, oddVariables, settle } from "../settings.ts";
import { endWhileLoading, exitCodeOf, onSignals, type StopSignal } from "../signals.ts";
import { masterTls, tlsGreeting } from "../credentials.ts";
import { resolveToken, tokenBytes } from "../token.ts";

/** What the command line says besides the settings. */
type MasterParts = Readonly<{
  line: CommandLine;
  plugin: LoadedPlugin;
  args: Readonly<Record<string, string>>;
  name: RunName;
  /** Undefined with `--insecure`. */
  tokenText: string | undefined;
  tls: MasterTls | undefined;
  log: Log;
  onEvent: (event: MasterEvent) => void;
}>;

/** A master's options, of the settings of `master` or `run`. */
function masterOptions(settings: Settings, parts: MasterParts): MasterOptions {
  const { line, plugin, args, name, tokenText, tls, log, onEvent } = parts;
  const isRun = line.command === "run";
  return {
    ...fieldsOf("master", settings),
    ...(settings.host ?? hostDefault(line.command)),
    ...name,
    // Whoever names a port wants that one.
    portFallback: isRun && settings.host === undefined,
    plugin,
    args,
    token: tokenText === undefined ? null : tokenBytes(tokenText),
    tls,
    // The slave of a `run` ended with its master: nobody comes back for what it held.
    reclaimMs: isRun ? 0 : 3 * settings.heartbeat,
    version,
    logsAttempts: settings["log-level"] === "debug" && !settings.quiet,
    log,
    onEvent,
  };
}

/** Says on stdout, for `--json`, what happens at a master. */
class MasterEvents {
  readonly #writer: EventWriter | null;

  /** Null: nothing is to be said. */
  constructor(writer: EventWriter | null) {
    this.#writer = writer;
  }

  happened(event: MasterEvent): void {
    if (this.#writer !== null) { for (const line of linesOf(event)) this.#writer.write(line); }
  }

  status(status: MasterStatus): void {
    this.#writer?.write(statusLine(status));
  }

  ended(result: MasterResult, exitCode: number): void {
    this.#writer?.write(endedLine(result, exitCode));
  }

  /** The process ends: what is not written at once never is. */
  endedEarly(result: MasterResult): void {
    // A line that is not written whole would take this one with it.
    if (this.#writer === null || process.stdout.writableLength > 0) return;
    const output = new Writable({ write: (text, _, done) => (writeNow(1, String(text)), done()) });
    new EventWriter(output).write(endedLine(result, 1));
  }
}

function endedLine(
  { outcome, status, late, elapsedMs, savedFinally, error, finishFault, statePath, deadPath }: MasterResult,
  exitCode: number,
): ProgramEvent {
  return {
    event: "ended",
    outcome: outcomeForJson(outcome),
    exitCode,
    ...countsOf(status),
    stranded: status.stranded,
    elapsedMs,
    savedFinally,
    failures: status.failures,
    lateErrors: late.count,
    late: late.errors,
    statePath,
    deadPath,
    ...(finishFault === null ? {} : { onFinish: finishFault }),
    ...(error === undefined ? {} : { error: error.message }),
  };
}

/** What lives and ends with a master. */
type LocalSlaveRun = Readonly<{
  /** The master ended; `isDismissed` if it said so to its slaves, which then leave. Awaited. */
  ended: (isDismissed: boolean) => Promise<void>;
  /** Nothing is to be waited for any more. */
  hurried: () => void;
}>;

/** A master that runs for a person: with its status, its signals, its summary. */
export class MasterProgram {
  readonly master: Master;
  readonly terminal: Terminal;
  readonly words: PluginWords;
  readonly tokenText: string | undefined;
  readonly #settings: Settings;
  readonly #invocation: PluginInvocation;
  readonly #events: MasterEvents;
  readonly #greet: () => void;
  readonly #progress: Progress;
  readonly #over: (exitCode: number) => void;
  readonly #hasOnFinish: boolean;
  /** What it left behind threw. */
  #finishFault: FinishFault | null = null;
  readonly #loop: LoopWatch;
  /** This machine's slave is there, or needed no more. */
  #slaveIsThere = () => {};
  #hasJoined = false;
  #signal: StopSignal | undefined;
  #failure: number | undefined;
  #stoppedBy: string | undefined;
  #localSlave: LocalSlaveRun | undefined;

  constructor(parts: Prepared, master: Master, greet: () => void) {
    this.master = master;
    this.terminal = parts.terminal;
    this.words = parts.words;
    this.tokenText = parts.tokenText;
    this.#settings = parts.settings;
    this.#invocation = parts.invocation;
    this.#events = parts.events;
    this.#hasOnFinish = parts.plugin.plugin.onFinish !== undefined;
    this.#loop = parts.loop;
    this.#greet = greet;
    this.#progress = this.#startProgress();
    parts.invocation.faults.handleBy((error) => this.#astray(error));
    replaceEarlyEndReport((end) => this.#endedEarly(end));
    this.#over = onSignals({
      stop: (signal, count) => this.#stop(signal, count),
      show: () => this.#progress.show(),
    });
  }

  /** Says where it listens; what was logged since it began comes after. Once, and not before signals are handled. */
  greet(): void {
    this.#greet();
  }

  /** The run has ended, or was told to. */
  get isEnding(): boolean {
    return this.#signal !== undefined || this.#failure !== undefined ||
      this.master.standing().outcome !== null;
  }

  /** This machine's slave was started, and should join soon. */
  awaitSlave(): void {
    this.#slaveIsThere();
    this.#hasJoined = false;
    const hint = "Its own lines say why; --log-level debug says more";
    this.#slaveIsThere = this.master.expectSlave("this machine's slave has not joined", hint);
  }

  joined(): void {
    this.#hasJoined = true;
    this.#slaveIsThere();
  }

  /** Stops the run because it cannot go on, for this reason, a clause; `exitCode` is what the program exits with. */
  fail(exitCode: number, reason: string): void {
    // A second stop would not wait.
    if (this.#failure !== undefined) return;
    this.#failure = exitCode;
    this.#stoppedBy = reason;
    if (this.#signal === undefined) this.master.stop();
  }

  /** A fault that nobody waits for, such as a rejected promise of the plugin: the run ends, but it is saved. */
  #astray(error: unknown): undefined {
    // The source fails for it already.
    if (error instanceof FatalCall) return;
    const isFirst = this.#failure === undefined;
    const isOver = this.master.standing().outcome !== null;
    const what = isOver
      ? "Nobody caught what was thrown after the end of the run"
      : "Stopping, since nobody caught what was thrown";
    this.terminal.log(isFirst ? "error" : "debug", describeThrown(what, error));
    // What else of the plugin runs then?
    if (isOver && this.#hasOnFinish) {
      this.#finishFault = { kind: "threw", message: describeError(error).message };
    }
    this.fail(1, "nobody caught what was thrown, as said above");
  }

  /** Something else than this program ends the process. Only what is synchronous gets done. */
  #endedEarly(end: EarlyEnd): number {
    const result: MasterResult = {
      outcome: { kind: "stopped" },
      status: this.master.status(),
      late: { count: this.master.status().lateErrors, errors: [] },
      elapsedMs: this.master.status().elapsedMs,
      savedFinally: this.master.standing().isSaved,
      finishFault: null,
      error: new Error(earlyEndSentence(end)),
      statePath: this.master.statePath,
      deadPath: "",
    };
    this.terminal.lastWords(earlyEndLines(end, this.master.standing(), this.#ending(result)));
    this.#events.endedEarly(result);
    return 1;
  }

  /** Waits for the end, says how it was, and resolves with the exit code. */
  async finish(localSlave?: LocalSlaveRun): Promise<number> {
    this.#localSlave = localSlave;
    const ended = await this.master.finished;
    const result = { ...ended, finishFault: ended.finishFault ?? this.#finishFault };
    this.#slaveIsThere();
    this.#progress.stop();
    const isComplete = result.outcome.kind === "complete" && result.error === undefined;
    // Who was still to join heard nothing of the end.
    await localSlave?.ended(isComplete && this.#hasJoined);
    const exitCode = this.#failure ?? exitCodeOf(result, this.#signal);
    this.#over(exitCode);
    this.terminal.close();
    this.#showEnd(result);
    this.#events.ended(result, exitCode);
    return exitCode;
  }

  #startProgress(): Progress {
    return new Progress({
      terminal: this.terminal,
      intervalMs: this.#settings["status-interval"],
      line: () => this.#line(),
      onInterval: () => this.#events.status(this.master.status()),
      nowMs: monotonicMs,
    });
  }

  #line(): StatusLine {
    const status = this.master.status();
    return masterStatusLine({
      ...status,
      reason: reasonInWords(status.reason),
      jobsMax: this.#settings.size,
    });
  }

  #stop(signal: StopSignal, count: number): void {
    this.#signal ??= signal;
    this.#loop.stopping(constants.signals[signal]);
    if (count === 1) this.terminal.say(this.#stopLine());
    else this.#localSlave?.hurried();
    this.master.stop();
  }

  #stopLine(): string {
    const grace = formatDuration(this.#settings.grace);
    if (this.master.standing().outcome !== null) {
      return `Stopping: the run has ended, what the plugin still does may take ${grace}. Once more to end at once.`;
    }
    return `Stopping: nothing more is handed out, running jobs may take ${grace}. Once more to end at once.`;
  }

  #showEnd(result: MasterResult): void {
    const fault = faultOf(result);
    if (fault !== undefined) this.terminal.log("error", fault.stack ?? fault.message);
    const ending = this.#ending(result);
    if (!this.#settings.quiet) return summaryLines(ending).forEach((line) => this.terminal.say(line));
    // What is not as it should be is told to whoever wants to hear of nothing else.
    const isAsked = result.outcome.kind === "stopped" && this.#failure === undefined;
    const isMild = (isAsked || result.outcome.kind === "complete") && result.savedFinally &&
      result.finishFault === null;
    const level = isMild ? "warn" : "error";
    for (const line of quietLines(ending)) this.terminal.log(level, line);
  }

  #ending(result: MasterResult): Ending {
    const { outcome, status, late, elapsedMs, savedFinally, error, finishFault, deadPath } = result;
    const fault = faultOf(result);
    const isUnsaved = !savedFinally && fault === undefined;
    const program = programWords(this.#invocation);
    return {
      ...status,
      outcome,
      elapsedMs,
      saveError: isUnsaved ? error?.message ?? "it was not written" : undefined,
      fault: fault?.message,
      finishFault,
      late,
      stoppedBy: this.#stoppedBy,
      deadPath,
      deadCommand: deadCommand(program, this.#invocation.line),
      resumeCommand: resumeCommand(program, this.#invocation.argv),
    };
  }
}

/** What ended the run, unless it is an error that a person can mend. */
function faultOf({ error }: MasterResult): Error | undefined {
  return error instanceof TaskmasterError ? undefined : error;
}

type Prepared = Readonly<{
  invocation: PluginInvocation;
  words: PluginWords;
  terminal: Terminal;
  events: MasterEvents;
  tokenText: string | undefined;
  tls: MasterTls | undefined;
  /** Where this user's token was made just now. */
  newTokenPath: string | undefined;
  plugin: LoadedPlugin;
  settings: Settings;
  waits: Waits;
  loop: LoopWatch;
}>;

/** `taskmaster master`: iterates the plugin's source and hands its jobs to slaves. */
export async function master(invocation: PluginInvocation): Promise<number> {
  const program = await startMasterProgram(invocation);
  program.greet();
  return await program.finish();
}

/**
 * Starts the master of `taskmaster master` or `taskmaster run`; it has not yet greeted.
 *
 * @throws {TaskmasterError} of every kind, each with a sentence.
 */
export async function startMasterProgram(invocation: PluginInvocation): Promise<MasterProgram> {
  const { line, env, plugin: words } = invocation;
  const early = settle(line, env);
  const terminal = new Terminal({
    ...fieldsOf("log", early),
    output: process.stderr,
    hasStatus: !early["no-progress"],
    env,
  });
  // A slave may join while the first save is under way.
  const held = new HeldLog(terminal.log);
  for (const sentence of oddVariables(env)) held.log("warn", sentence);
  let program: MasterProgram | null = null;
  try {
    const warn = (sentence: string) => held.log("warn", sentence);
    const parts = await prepare(invocation, early, terminal, warn);
    const { events, plugin, settings, tokenText, tls } = parts;
    const name = runName(settings, plugin.path);
    await confirmReset(settings, name);
    const master = await startMaster(masterOptions(settings, {
      line,
      plugin,
      args: words.args,
      name,
      tokenText,
      tls,
      log: held.log,
      onEvent: (event) => {
        if (event.kind === "joined") program?.joined();
        events.happened(event);
      },
    }));
    return program = new MasterProgram(parts, master, () => {
      greet(parts, master);
      held.flush();
    });
  } catch (error) {
    held.flush();
    throw error;
  }
}

/** All that comes before the plugin's own code, and the plugin. */
async function prepare(
  invocation: PluginInvocation,
  early: Settings,
  terminal: Terminal,
  warn: (sentence: string) => void,
): Promise<Prepared> {
  const { line, env, tokenText, plugin: words } = invocation;
  const events = new MasterEvents(early.json ? new EventWriter(process.stdout) : null);
  const token = early.insecure ? undefined : await resolveToken({
    file: early["token-file"],
    text: tokenText,
    env,
    binary: compiledBinary(),
    mayCreate: true,
    warn,
  });
  const tls = await masterTls(early, env);
  redirectConsole((text) => terminal.relay(text));
  replaceEarlyEndReport((end) => (terminal.lastWords(atLoad(end)), 1));
  const waits = new Waits((sentence) => terminal.log("warn", sentence));
  const isTerminal = process.stderr.isTTY === true;
  const loop = new LoopWatch({ isJson: early["log-format"] === "json", isTerminal, graceMs: early.grace });
  const plugin = await loading(
    { terminal, waits },
    () => loadPlugin(words.path, words.exportName, line.command === "run" ? "both" : "master"),
  );
  terminal.log("debug", codeInWords(plugin));
  const settings = settle(line, env, plugin.options);
  loop.loaded(settings.grace);
  const newTokenPath = token?.isNew ? token.from : undefined;
  return {
    invocation,
    words,
    terminal,
    events,
    tokenText: token?.text,
    tls,
    newTokenPath,
    plugin,
    settings,
    waits,
    loop,
  };
}

async function loading(
  { terminal, waits }: Pick<Prepared, "terminal" | "waits">,
  load: () => Promise<LoadedPlugin>,
): Promise<LoadedPlugin> {
  const loaded = endWhileLoading((line) => terminal.lastWords([line]));
  const over = waits.begin(
    "the plugin loads",
    "Its top level awaits something: what takes long belongs into getJobs",
  );
  try {
    return await load();
  } finally {
    holdStandardFiles();
    over();
    loaded();
  }
}

/** Why the process ends before its run began. */
function atLoad(end: EarlyEnd): string[] {
  const why = end.how === "an empty event loop"
    ? "The plugin is not loaded: its top level awaits what never comes."
    : "The run had not begun. A plugin's top level must not end the process: throw an error there instead.";
  return [earlyEndSentence(end), `${why} No job was handed out by this start.`];
}

function greet(
  { invocation, words, terminal, plugin, settings, tls, newTokenPath }: Prepared,
  master: Master,
): void {
  const { address } = master;
  const lines = greetingLines({
    bound: address,
    reachable: { host: reachableHost(address.host), port: address.port },
    plugin: plugin.isWhole ? `${words.path}:${plugin.exportName}` : words.path,
    isInsecure: settings.insecure,
    tls: tls === undefined ? null : tlsGreeting(tls),
    mayJoin: invocation.line.command === "master",
  });
  const resumed = resumeLine(master.resumed, master.statePath);
  for (const text of resumed === undefined ? lines : [...lines, resumed]) terminal.say(text);
  const outOfDate = tls && dateFault(readCertificate(tls.cert), wallMs());
  if (outOfDate) {
    terminal.log("warn", `This master's certificate ${outOfDate}: only slaves with --tls-pin take it.`);
  }
  if (newTokenPath !== undefined) terminal.log("info", `Made a token for this user: ${newTokenPath}`);
}
