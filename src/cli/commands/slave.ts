import { resolve } from "node:path";
import { monotonicMs } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { type Slave, type SlaveOptions, type SlaveResult, startSlave } from "../../slave/slave.ts";
import { EventWriter } from "../../observe/ndjson.ts";
import { RateMeter } from "../../observe/rate_meter.ts";
import { slaveGreetingLines } from "../../terminal/greeting.ts";
import { slaveStatusLine, type StatusLine } from "../../terminal/status_line.ts";
import { Progress, Terminal } from "../../terminal/terminal.ts";
import type { PluginInvocation } from "../command.ts";
import { masterAccess, trustInWords } from "../credentials.ts";
import type { Settings } from "../options.ts";
import { fieldsOf, given, oddVariables, settle } from "../settings.ts";
import { onSignals, type StopSignal, stopSignals } from "../signals.ts";

/** The first master on a machine makes the token, and may have been started together with this slave. */
const tokenWaitMs = 5_000;

/** `taskmaster slave`: runs the plugin's handler for a master. */
export async function slave(invocation: PluginInvocation): Promise<number> {
  return await (await SlaveProgram.start(invocation)).finish();
}

/** A slave that runs for a person: with its progress line and its signals. */
class SlaveProgram {
  readonly #slave: Slave;
  readonly #terminal: Terminal;
  readonly #events: EventWriter | null;
  /** Of a `run`, whose master says the rest. */
  readonly #isChild: boolean;
  readonly #rate = new RateMeter();
  readonly #progress: Progress;
  readonly #over: (exitCode: number) => void;
  readonly #startedMs = monotonicMs();
  #signal: StopSignal | undefined;

  private constructor(
    terminal: Terminal,
    settings: Settings,
    isChild: boolean,
    options: Omit<SlaveOptions, "onState">,
  ) {
    this.#terminal = terminal;
    this.#isChild = isChild;
    this.#events = settings.json ? new EventWriter(process.stdout) : null;
    this.#events?.write({
      event: "started",
      plugin: options.pluginPath,
      host: options.host,
      port: options.port,
    });
    this.#slave = startSlave({
      ...options,
      onState: (status) => this.#events?.write({ event: "state", ...status }),
    });
    this.#progress = this.#startProgress(settings["status-interval"]);
    this.#over = onSignals({
      stop: (signal, count) => this.#stop(signal, count),
      show: () => this.#progress.show(),
    });
  }

  /** @throws {TaskmasterError} if the options are wrong, or there is no token. */
  static async start(invocation: PluginInvocation): Promise<SlaveProgram> {
    const { line, env, isChild, plugin } = invocation;
    const settings = settle(line, env);
    const terminal = new Terminal({
      ...fieldsOf("log", settings),
      output: process.stderr,
      hasStatus: !settings["no-progress"],
      env,
    });
    const warn = (sentence: string) => terminal.log("warn", sentence);
    const access = await masterAccess(settings, invocation, warn, tokenWaitMs);
    // Of a run, the master has said so.
    if (!isChild) {
      for (const sentence of oddVariables(env)) warn(sentence);
      const trust = access.tls && trustInWords(access.tls, settings);
      for (const text of slaveGreetingLines(access.host, settings.insecure, trust)) terminal.say(text);
    }
    return new SlaveProgram(terminal, settings, isChild, {
      ...fieldsOf("slave", given(line, env)),
      ...access,
      pluginPath: resolve(plugin.path),
      exportName: plugin.exportName,
      checkOptions: (options) => void settle(line, env, options),
      // Workers log by themselves.
      workerLog: fieldsOf("log", settings),
      log: isChild ? asChild(terminal.log) : terminal.log,
    });
  }

  /** Waits for the end and resolves with the exit code. */
  async finish(): Promise<number> {
    const result = await this.#slave.finished;
    const exitCode = this.#exitCode(result);
    this.#over(exitCode);
    this.#progress.stop();
    this.#terminal.close();
    if (exitCode === 0 && !this.#isChild) this.#terminal.say(`Ended: ${result.reason}`);
    else if (exitCode !== 0) this.#showFailure(result.reason);
    this.#events?.write({ event: "ended", ...this.#slave.status(), reason: result.reason, exitCode });
    return exitCode;
  }

  /** What `setup` threw comes with its stack. */
  #showFailure(reason: string): void {
    this.#terminal.log("error", reason);
    if (!reason.startsWith("setup failed")) return;
    this.#terminal.log(
      "error",
      "No job was taken. Mend `setup`, or what it needs on this machine, and start again.",
    );
  }

  #exitCode({ exitCode }: SlaveResult): number {
    return exitCode === 1 && this.#signal !== undefined ? stopSignals[this.#signal] : exitCode;
  }

  #stop(signal: StopSignal, count: number): void {
    this.#signal ??= signal;
    if (count > 1) return this.#slave.kill();
    if (!this.#isChild) {
      this.#terminal.say("Stopping: taking nothing new, finishing what runs. Once more to end at once.");
    }
    this.#slave.drain();
  }

  #startProgress(intervalMs: number): Progress {
    return new Progress({
      terminal: this.#terminal,
      intervalMs,
      onLook: () => this.#rate.sample(settled(this.#slave), monotonicMs()),
      line: () => this.#line(),
      onInterval: () =>
        this.#events?.write({
          event: "status",
          ratePerSecond: this.#rate.perSecond,
          ...this.#slave.status(),
        }),
      nowMs: monotonicMs,
    });
  }

  #line(): StatusLine {
    const { running, queued, failed, procs, state, master, waitsFor } = this.#slave.status();
    return slaveStatusLine({
      done: settled(this.#slave),
      ratePerSecond: this.#rate.perSecond,
      elapsedMs: monotonicMs() - this.#startedMs,
      failed,
      inFlight: running + queued,
      procs,
      state: waitsFor !== null
        ? waitsFor
        : state === "connected"
        ? "connected"
        : state === "connecting" || state === "reconnecting"
        ? `${state} to ${master}`
        : state,
    });
  }
}

/** Jobs that ended well here. */
function settled(slave: Slave): number {
  const { done, skipped } = slave.status();
  return done + skipped;
}

/** The slave of a `run`: what it would say of its coming and going, its master says already. */
function asChild(log: Log): Log {
  return (level, message, fields) => log(level === "info" ? "debug" : level, message, fields);
}
