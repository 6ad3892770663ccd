import { ftruncateSync, writeSync } from "node:fs";
import { clearTimeout, setImmediate, setTimeout } from "../lib/clock.ts";
import { PluginError } from "../lib/errors.ts";
import { askWhenEmpty, type EarlyEnd, endProcess, keepListener, writeNow } from "../lib/exit_guard.ts";
import { sentenceCharsMax } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import { isOwnFile, openOwnFile, type OwnFile } from "../lib/own_file.ts";
import type { Ranges } from "../lib/ranges.ts";
import { reported } from "../lib/text.ts";
import { brokenExitCode, cutOffExitCode } from "../lib/worker_start.ts";
import { argValues } from "../plugin/args.ts";
import { describeError, describeThrown } from "../plugin/describe_error.ts";
import { PluginHost } from "../plugin/handler.ts";
import { handlerOf } from "../plugin/kinds.ts";
import { codeInWords, type LoadedPlugin, loadPlugin, PluginChangedError } from "../plugin/load_plugin.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/messages.ts";
import { encodeMessage } from "../protocol/parse.ts";
import { JobTags, LateErrors } from "./late_errors.ts";
import { noNotes, type Notes, StartNotes } from "./notes.ts";
import { Runner } from "./runner.ts";
import type { RunningCall } from "./running_calls.ts";

/** After an error of an unknown job, a call that is still running this much later may be stuck because of it. */
const doubtMs = 2_000;
/** Most late errors that one worker logs; all are counted. */
const loggedMax = 10;
/** A worker without a supervisor ends itself after this long, if nothing else does. */
const orphanMs = 500;

type WorkerSessionOptions = Readonly<{
  send: (message: WorkerMessage) => void;
  /** Whether something that was sent has not left this process yet. */
  hasUnsent: () => boolean;
  /** Sends what is queued, then ends the process. */
  leave: (exitCode: number) => void;
  /** From now on nothing of this program keeps the process: it ends once nothing of the plugin does. */
  letGo: () => void;
  /** What was let go keeps the process again, until all is sent. */
  keep: () => void;
  nowMs: () => number;
  /** Shared with the watchdog. */
  watch: Float64Array;
  /** Null if none can be written. */
  note: OwnFile | null;
  /** For last words; null if none can be written. */
  last: OwnFile | null;
  log: Log;
}>;

/**
 * What a worker does about each message of its supervisor.
 *
 *     STARTED -- load --> LOADED -- setup --> PREPARED -- quit, jobs ended --> LEAVING
 *         '------ unloadable -------'-----------------------------------------^
 */
export class WorkerSession {
  readonly #options: WorkerSessionOptions;
  /** Opened at the start: by the time of `setup` the file may be gone, but an open one stays usable. */
  readonly #notes: Notes;
  readonly #lastFd: number;
  #loaded: LoadedPlugin | null = null;
  /** Whether `setup` was called, which happens once. */
  #isSetUp = false;
  #timeoutMs = 0;
  #host: PluginHost | null = null;
  #runner: Runner | null = null;
  readonly #tags = new JobTags();
  readonly #late: LateErrors;
  #logged = 0;
  /** An error of an unknown job, and the calls that ran when it came. */
  #doubt: { calls: readonly RunningCall[]; what: string; error: unknown; timer: NodeJS.Timeout } | null =
    null;
  #isQuitting = false;
  #isTearingDown = false;
  #isLeaving = false;
  /** Only what the plugin left open keeps the process alive. */
  #isLetGo = false;
  #timesEmpty = 0;
  #isOrphaned = false;
  /** The jobs to blame for the end of the process; undefined if unknown. */
  #culprits: Ranges | undefined;

  constructor(options: WorkerSessionOptions) {
    const { note, last, watch } = options;
    this.#options = options;
    this.#notes = note === null ? noNotes : new StartNotes(note, watch);
    this.#lastFd = last === null ? -1 : openOwnFile(last);
    this.#late = new LateErrors(options.send);
    process.on("exit", () => this.#lastWords());
    keepListener("uncaughtException", (error) => this.#astray("uncaught exception", error));
    keepListener("unhandledRejection", (error) => this.#astray("unhandled rejection", error));
  }

  /** The connection closed. If the supervisor lives, it reads the last words. */
  orphaned(): void {
    if (this.#isLeaving || this.#isOrphaned) return;
    this.#isOrphaned = true;
    // Gives the watchdog time to find the supervisor dead: it removes the folder that was left behind.
    setTimeout(() => endProcess(cutOffExitCode), process.platform === "win32" ? 0 : orphanMs);
  }

  /** The plugin ends the process: only synchronous work gets done. Returns the exit code. */
  endedEarly({ how, where, code = 1 }: EarlyEnd): number {
    if (this.#isLetGo && how === "an empty event loop") return 0;
    const at = where === undefined ? "" : ` at ${where}`;
    if (this.#isLeaving) {
      writeNow(2, reported(`the plugin ended worker ${process.pid} as it left: ${how}${at}`));
      const what = this.#isTearingDown ? "teardown ended the process by " : "";
      const message = `${what}${how}${at}`.slice(0, sentenceCharsMax);
      this.#writeLast(() => [{ kind: "broken", message }]);
      return code;
    }
    const isEmpty = how === "an empty event loop";
    const message = isEmpty ? "the worker had nothing left to wait for" : `handler exited (${code})${at}`;
    this.#blame(`${how}${at}`);
    this.#lastWords({ kind: "broken", message: message.slice(0, sentenceCharsMax) });
    return code;
  }

  /** Blames the job whose code ends the process, if that is known: a running one, or one that had ended. */
  #blame(how: string): void {
    const runner = this.#runner, owner = this.#tags.current;
    // The job whose handler is on the stack is known without a tag.
    if (runner === null || owner === null || runner.isOnStack) return;
    const call = runner.running.find(({ from }) => from === owner);
    if (call !== undefined) this.#culprits = [call.from, call.to];
    else {
      this.#culprits = [];
      if (!runner.hasFailed(owner)) this.#late.add(owner, how);
    }
  }

  hello(): void {
    this.#options.send({ kind: "hello", pid: process.pid, runtime: runtimeName() });
  }

  /** The peer did not prove to be the supervisor: nothing was sent to it, and nothing it sent is obeyed. */
  misled(message: string): void {
    writeNow(2, reported(`worker ${process.pid} ends: ${message}`));
    this.#lastWords({ kind: "broken", message });
    endProcess(brokenExitCode);
  }

  receive(message: SupervisorMessage): void {
    try {
      this.#obey(message);
    } catch (error) {
      this.#fault(error);
    }
  }

  #obey(message: SupervisorMessage): void {
    switch (message.kind) {
      case "load":
        return void this.#attempt(() => this.#load(message));
      case "setup":
        return void this.#attempt(() => this.#setup(message));
      case "slice":
        return this.#runner!.slice(message);
      case "withdraw":
        return this.#runner?.withdraw();
      case "abort":
        return this.#runner?.abort(message.jobs, message.why);
      case "quit":
        return void this.#quit(message);
      default:
        return message satisfies never;
    }
  }

  async #load({ plugin, exportName, hash }: Extract<SupervisorMessage, { kind: "load" }>): Promise<void> {
    const isFirst = hash.length === 0;
    const name = exportName === "" ? undefined : exportName;
    const loaded = await loadPlugin(plugin, name, "slave", isFirst ? undefined : hash);
    this.#loaded = loaded;
    if (isFirst) this.#options.log("debug", codeInWords(loaded));
    this.#options.send({ kind: "loaded", hash: loaded.hash, options: loaded.options });
  }

  /** The first `setup` message prepares the plugin; later ones, of a restarted master, only change the timeout. */
  async #setup(message: Extract<SupervisorMessage, { kind: "setup" }>): Promise<void> {
    const { args, concurrency } = message;
    this.#timeoutMs = message.timeoutMs;
    if (this.#isSetUp) return this.#runner?.setTimeout(this.#timeoutMs);
    this.#isSetUp = true;
    const { nowMs, watch, send, hasUnsent, log } = this.#options;
    const { plugin } = this.#loaded!;
    const host = new PluginHost(plugin, argValues(plugin, args), log);
    const handler = handlerOf(plugin, await host.setup());
    this.#host = host;
    // A restarted master may have changed it meanwhile.
    const timeoutMs = this.#timeoutMs;
    this.#runner = new Runner({
      handler,
      notes: this.#notes,
      tags: this.#tags,
      watch,
      concurrency,
      timeoutMs,
      say: send,
      onFault: (error) => this.#fault(error),
      hasUnsent,
      nowMs,
    });
    send({ kind: "prepared" });
  }

  async #attempt(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      // For a plugin that does not load the message is enough; for what `setup` threw the stack is told.
      const text = this.#loaded === null
        ? error instanceof PluginError ? error.text : describeError(error).message
        : describeThrown("setup failed", error);
      const kind = error instanceof PluginChangedError ? "changed" : "unloadable";
      this.#options.send({ kind, message: text.slice(0, sentenceCharsMax) });
      this.#leave(0);
    }
  }

  async #quit({ waitMs, isSick }: Extract<SupervisorMessage, { kind: "quit" }>): Promise<void> {
    if (this.#isQuitting || this.#isLeaving) return;
    this.#isQuitting = true;
    await this.#runner?.whenIdle();
    this.#isLeaving = true;
    this.#endDoubt();
    this.#isTearingDown = true;
    try {
      await this.#host?.teardown();
    } catch (error) {
      this.#options.log("error", describeThrown("teardown failed", error));
      // Results of acked jobs that it should have written may be lost.
      if (!isSick) this.#late.add(null, `teardown failed: ${describeError(error).message}`);
    }
    this.#isTearingDown = false;
    this.#waitForRest(waitMs);
  }

  /**
   * Waits for what handlers began without waiting for it, at most `waitMs`. Where nothing is left, the process ends at
   * once.
   */
  #waitForRest(waitMs: number): void {
    this.#runner?.rest();
    this.#late.flush();
    this.#options.send({ kind: "resting" });
    this.#isLetGo = true;
    askWhenEmpty(() => this.#isEmpty());
    this.#options.letGo();
    setTimeout(() => {
      const { pid } = process;
      this.#options.log(
        "warn",
        `Worker ${pid} is still busy: a forgotten await, or an open connection. It ends all the same`,
      );
      this.#endRest();
    }, waitMs).unref();
  }

  /** The event loop is empty. Bun reports rejections only after that, so the loop turns once more. */
  #isEmpty(): boolean {
    this.#timesEmpty++;
    if (this.#timesEmpty === 1) setImmediate(() => {});
    if (this.#timesEmpty !== 2) return this.#timesEmpty === 1;
    this.#options.keep();
    this.#endRest();
    return true;
  }

  /** Nothing of the plugin runs any more: the process may end. */
  #endRest(): void {
    this.#late.flush();
    this.#options.send({ kind: "over" });
    this.#leave(0);
  }

  #leave(exitCode: number): void {
    this.#isLeaving = true;
    this.#options.leave(exitCode);
  }

  /**
   * Something threw that no handler waits for.
   *
   * | whose it is | what happens |
   * | --- | --- |
   * | a job that runs | it may wait for ever for what failed: the worker ends, and that job is to blame |
   * | a job that has ended well | it is late: counted, named; the worker goes on |
   * | a job that has failed | it was charged already |
   * | not known, while jobs run | late as well, if all of them end soon; else the worker ends, and who still runs is suspect |
   * | not known, and none runs | late; before the first job, the worker ends |
   */
  #astray(what: string, error: unknown): void {
    const runner = this.#runner, owner = this.#tags.current;
    const running = runner?.running ?? [];
    if (owner === null && running.length > 0 && !this.#isLeaving) {
      return this.#beginDoubt(running, what, error);
    }
    const call = running.find(({ from }) => from === owner);
    if (call !== undefined && !this.#isLeaving) return this.#broken(what, error, [call.from, call.to]);
    if (!runner?.hasBegun && !this.#isLeaving) return this.#broken(what, error, []);
    if (owner !== null && runner?.hasFailed(owner)) {
      return this.#log("warn", `job ${owner}, which had failed`, what, error);
    }
    this.#countLate(owner, what, error);
  }

  #countLate(seq: number | null, what: string, error: unknown): void {
    this.#log("error", seq === null ? "a job" : `job ${seq}`, what, error);
    this.#late.add(seq, describeError(error).message);
  }

  #log(level: "warn" | "error", whose: string, what: string, error: unknown): void {
    if (this.#logged++ >= loggedMax) return;
    const more = this.#logged < loggedMax ? "" : " (of more such errors this worker logs nothing)";
    this.#options.log(level, describeThrown(`After the end of ${whose}: ${what}${more}`, error));
  }

  /** The first of several errors decides; the others are counted as late. */
  #beginDoubt(calls: readonly RunningCall[], what: string, error: unknown): void {
    if (this.#doubt !== null) return this.#countLate(null, what, error);
    const timer = setTimeout(() => this.#endDoubt(), doubtMs);
    timer.unref();
    this.#doubt = { calls, what, error, timer };
  }

  #endDoubt(): void {
    const doubt = this.#doubt;
    if (doubt === null) return;
    clearTimeout(doubt.timer);
    this.#doubt = null;
    const suspects = this.#runner!.stillRunning(doubt.calls);
    if (suspects.length === 0) this.#countLate(null, doubt.what, doubt.error);
    else this.#broken(doubt.what, doubt.error, suspects);
  }

  /** Code of this program failed, so no job would end any more. If a job caused that, it is one of the running ones. */
  #fault(error: unknown): void {
    this.#broken("the worker itself failed, as if a handler had changed built-in objects", error, undefined);
  }

  /**
   * The state of this process cannot be relied on any more: it ends, and the supervisor is told which jobs are to blame
   * or suspect; if that is unknown, all that run.
   */
  #broken(what: string, error: unknown, culprits: Ranges | undefined): void {
    this.#culprits = culprits;
    try {
      this.#options.log("error", describeThrown(`${what} outside of a job`, error));
      this.#lastWords({ kind: "broken", message: `${what}: ${describeError(error).message}` });
    } finally {
      endProcess(brokenExitCode);
    }
  }

  /** Called while the process exits, for whatever reason: only synchronous work gets done. */
  #lastWords(...more: WorkerMessage[]): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#writeLast(() => [...this.#runner?.lastWords(this.#culprits) ?? [], ...more]);
  }

  /** Writes what the supervisor may not have received into a file: these messages, and late errors not sent yet. */
  #writeLast(words: () => readonly WorkerMessage[]): void {
    const { last } = this.#options;
    // A plugin may have closed the descriptor, and its number may be another file's by now.
    if (last === null || !isOwnFile(this.#lastFd, last)) return;
    try {
      const late = this.#late.take();
      const said = [...words(), ...late === null ? [] : [late]].map(encodeMessage);
      const bytes = Buffer.concat(said);
      ftruncateSync(this.#lastFd, 0);
      for (let at = 0; at < bytes.length;) at += writeSync(this.#lastFd, bytes, at, bytes.length - at, at);
    } catch {
      // The disk is full: jobs whose answers were not received run again.
    }
  }
}

/** `bun 1.4.5`, `deno 2.9.5`, `node 24.1.0`. */
function runtimeName(): string {
  const { bun, deno, node } = process.versions;
  if (bun !== undefined) return `bun ${bun}`;
  return deno !== undefined ? `deno ${deno}` : `node ${node}`;
}
