import { setTimeout } from "../base/clock.ts";
import { writeFileSync } from "node:fs";
import { type EarlyEnd, endProcess, keepListener, writeNow } from "../base/exit_guard.ts";
import { PluginError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { cutOffExitCode } from "../base/worker_variables.ts";
import { sentenceCharsMax } from "../base/wire_limits.ts";
import { describeError, describeThrown } from "../plugin/describe_error.ts";
import { Handler } from "../plugin/invoke.ts";
import { codeInWords, type LoadedPlugin, loadPlugin, PluginChangedError } from "../plugin/load_plugin.ts";
import { encodeMessage } from "../protocol/parse.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/worker_messages.ts";
import { type Notes, Runner } from "./runner.ts";
import { noNotes, StartNotes } from "./start_notes.ts";

/** What a worker exits with when something threw outside of any job. */
const brokenExitCode = 70;
/** A worker without a supervisor ends itself after this long, if nothing else does. */
const orphanMs = 500;

export type WorkerSessionOptions = Readonly<{
  send: (message: WorkerMessage) => void;
  /** Whether something that was sent has not left this process yet. */
  hasUnsent: () => boolean;
  /** Sends what is queued, then ends the process. */
  leave: (exitCode: number) => void;
  nowMs: () => number;
  /** Shared with the watchdog. */
  watch: Float64Array;
  notePath: string | undefined;
  lastPath: string | undefined;
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
  /** Opened at the start: the file may be gone by the time of `setup`, but not for who has it open. */
  readonly #notes: Notes;
  #loaded: LoadedPlugin | null = null;
  /** The one call of `setup`, from its begin. */
  #isSetUp = false;
  #timeoutMs = 0;
  #handler: Handler | null = null;
  #runner: Runner | null = null;
  #isLeaving = false;
  #isOrphaned = false;

  constructor(options: WorkerSessionOptions) {
    const { notePath, watch } = options;
    this.#options = options;
    this.#notes = notePath === undefined ? noNotes : new StartNotes(notePath, watch);
    process.on("exit", () => this.#lastWords());
    keepListener("uncaughtException", (error) => this.#broken("uncaught exception", error));
    keepListener("unhandledRejection", (error) => this.#broken("unhandled rejection", error));
  }

  /** The connection is gone. If the supervisor is not, it reads the last words. */
  orphaned(): void {
    if (this.#isLeaving || this.#isOrphaned) return;
    this.#isOrphaned = true;
    // The watchdog is to find the supervisor dead first: it clears up behind it.
    setTimeout(() => endProcess(cutOffExitCode), process.platform === "win32" ? 0 : orphanMs);
  }

  /** The plugin ends the process. Only what is synchronous gets done. Returns what it exits with. */
  endedEarly({ how, where, code = 1 }: EarlyEnd): number {
    const at = where === undefined ? "" : ` at ${where}`;
    // Nobody asks any more how this worker ends.
    if (this.#isLeaving) {
      writeNow(2, `taskmaster: the plugin ended worker ${process.pid} as it left: ${how}${at}\n`);
    }
    const isEmpty = how === "an empty event loop";
    const message = isEmpty ? "the worker had nothing left to wait for" : `handler exited (${code})${at}`;
    this.#lastWords({ kind: "broken", message: message.slice(0, sentenceCharsMax) });
    return code;
  }

  hello(secret: string): void {
    this.#options.send({ kind: "hello", pid: process.pid, secret, runtime: runtimeName() });
  }

  receive(message: SupervisorMessage): void {
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
        return void this.#quit();
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

  /** The first one prepares the plugin; later ones, of a master that was started anew, change the timeout. */
  async #setup(message: Extract<SupervisorMessage, { kind: "setup" }>): Promise<void> {
    const { args, concurrency } = message;
    this.#timeoutMs = message.timeoutMs;
    if (this.#isSetUp) return this.#runner?.setTimeout(this.#timeoutMs);
    this.#isSetUp = true;
    const { nowMs, watch, send, hasUnsent, log } = this.#options;
    const handler = new Handler(this.#loaded!.plugin, { args, log });
    await handler.setup();
    this.#handler = handler;
    // Another master may have come meanwhile.
    const timeoutMs = this.#timeoutMs;
    this.#runner = new Runner({
      handler,
      notes: this.#notes,
      watch,
      concurrency,
      timeoutMs,
      say: send,
      hasUnsent,
      nowMs,
    });
    send({ kind: "prepared" });
  }

  async #attempt(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      // A plugin that does not load is described by its message; what `setup` threw, by where it did.
      const text = this.#loaded === null
        ? error instanceof PluginError ? error.text : describeError(error).message
        : describeThrown("setup failed", error);
      const kind = error instanceof PluginChangedError ? "changed" : "unloadable";
      this.#options.send({ kind, message: text.slice(0, sentenceCharsMax) });
      this.#leave(0);
    }
  }

  async #quit(): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    await this.#runner?.whenIdle();
    try {
      await this.#handler?.teardown();
    } catch (error) {
      this.#options.log("error", describeThrown("teardown failed", error));
    }
    this.#leave(0);
  }

  #leave(exitCode: number): void {
    this.#isLeaving = true;
    this.#options.leave(exitCode);
  }

  /** No job is to blame for certain: the supervisor names those that ran. */
  #broken(what: string, error: unknown): void {
    this.#options.log("error", describeThrown(`${what} outside of a job`, error));
    this.#lastWords({ kind: "broken", message: `${what}: ${describeError(error).message}` });
    endProcess(brokenExitCode);
  }

  /** Called while the process exits, whoever asked for it: only what is synchronous gets done. */
  #lastWords(...more: WorkerMessage[]): void {
    const { lastPath } = this.#options;
    if (this.#isLeaving || lastPath === undefined) return;
    this.#isLeaving = true;
    try {
      const words = [...this.#runner?.lastWords() ?? [], ...more].map(encodeMessage);
      if (words.length > 0) writeFileSync(lastPath, Buffer.concat(words), { mode: 0o600 });
    } catch {
      // The folder is gone, or the disk full: what was not heard runs again.
    }
  }
}

/** `bun 1.4.5`, `deno 2.9.5`, `node 24.1.0`. */
export function runtimeName(): string {
  const { bun, deno, node } = process.versions;
  if (bun !== undefined) return `bun ${bun}`;
  return deno !== undefined ? `deno ${deno}` : `node ${node}`;
}
