import { type ChildProcess, spawn } from "node:child_process";
import { clearTimeout, setTimeout } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { refuseWithoutChildren } from "../../lib/runtime.ts";
import { formatAddress } from "../../lib/units.ts";
import { childEnvironment, slaveCommand } from "../../slave/spawn_self.ts";
import type { PluginInvocation } from "../command.ts";
import { type MasterProgram, startMasterProgram } from "./master.ts";
import { LineStream } from "../plugin_console.ts";
import { localSlaveSettings } from "../settings.ts";

export type LocalSlaveOptions = Readonly<{
  /** The words behind `slave`. */
  args: readonly string[];
  /** Variables that it is not to have. */
  without: readonly string[];
  tokenText: string;
  /** Takes what it and its workers print, a line at a time. */
  onLine: (line: string) => void;
  /** It ended for a reason that a new one would meet too: its exit code is the run's. */
  onHopeless: (exitCode: number) => void;
  /** It is started; it should join soon. */
  onStart: () => void;
  /** Whether the run is over, or stops: then a slave that ended is missed no more. */
  isEnding: () => boolean;
  log: Log;
}>;

/** Pause before a slave that ended is started anew. */
const restartMs = 1_000;
/** How long a slave may take to leave, before it is told to, and once it was told. */
const leaveMs = 10_000;
/** Exit codes that a new start cannot mend: usage, plugin, connection. */
const hopelessCodes: readonly number[] = [2, 4, 5];

/**
 * The slave process of `taskmaster run`, started anew when it ends before the run does. It has a process group of its own: Ctrl-C reaches
 * the master alone, which drains it. It ends itself when its master's process is gone.
 *
 *     RUNNING -- it ended --> PAUSING -- 1 s --> RUNNING
 *        '-- the run ends -------'-------------------------> ENDED
 */
export class LocalSlave {
  readonly #options: LocalSlaveOptions;
  #child: ChildProcess | null = null;
  #restart: NodeJS.Timeout | null = null;
  #isEnding = false;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: LocalSlaveOptions) {
    this.#options = options;
    // It would find its master gone half a second later, and a new one at the same port meanwhile.
    process.on("exit", () => this.kill());
    this.#start();
  }

  /** Waits for it to leave; `mayLinger` if it was dismissed by its master, else it is told to. */
  async end(mayLinger: boolean): Promise<void> {
    this.#isEnding = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    if (mayLinger) await this.#within(leaveMs);
    this.#child?.kill("SIGTERM");
    await this.#within(leaveMs);
    this.kill();
    await this.#exited;
  }

  /** Ends it at once; its workers notice. */
  kill(): void {
    this.#isEnding = true;
    this.#child?.kill("SIGKILL");
  }

  #start(): void {
    const { args, without, tokenText, onLine } = this.#options;
    const { command, args: words } = slaveCommand(args);
    let child;
    try {
      child = spawn(command, [...words], {
        detached: true,
        // Its stdout has nothing to say: events are the master's.
        stdio: ["ignore", "ignore", "pipe"],
        windowsHide: true,
        env: slaveEnvironment(without, tokenText),
      });
    } catch (error) {
      // Some errors are thrown, such as an environment that is too large.
      return this.#restartLater(
        `cannot be started: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    this.#child = child;
    this.#options.onStart();
    child.stderr.pipe(new LineStream(onLine));
    this.#exited = new Promise((resolve) => {
      child.once("error", (error) => this.#ended(resolve, `cannot be started: ${error.message}`));
      child.once("exit", (code, signal) => this.#ended(resolve, signal ?? `exit code ${code}`, code));
    });
  }

  #ended(resolve: () => void, how: string, code: number | null = null): void {
    resolve();
    if (this.#child === null) return;
    this.#child = null;
    if (this.#isEnding || this.#options.isEnding()) return;
    if (code !== null && hopelessCodes.includes(code)) return this.#options.onHopeless(code);
    this.#restartLater(code === 0 ? "it was told to leave: a signal reached it alone" : how);
  }

  #restartLater(how: string): void {
    this.#options.log("warn", `This machine's slave ended (${how}); starting another one`);
    this.#restart = setTimeout(() => this.#options.isEnding() || this.#start(), restartMs);
  }

  /** Resolves when it has exited, or after this time. */
  async #within(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([this.#exited, late]);
    clearTimeout(timer);
  }
}

/** The environment of this run's slave, which has the run's token. */
function slaveEnvironment(without: readonly string[], tokenText: string): NodeJS.ProcessEnv {
  const environment = childEnvironment("slave");
  for (const name of without) delete environment[name];
  return { ...environment, TASKMASTER_TOKEN: tokenText };
}

/** A master on loopback, and one slave of this machine that ends with it. */
export async function run(invocation: PluginInvocation): Promise<number> {
  refuseWithoutChildren();
  const program = await startMasterProgram(invocation);
  const { flags, without } = localSlaveSettings(invocation.line);
  const slave = new LocalSlave({
    args: slaveArgs(program, flags),
    without,
    tokenText: program.tokenText!, // `run` has no --insecure
    onLine: (line) => program.terminal.relay(line),
    onStart: () => program.awaitSlave(),
    isEnding: () => program.isEnding,
    onHopeless: (exitCode) =>
      program.fail(exitCode, `this machine's slave cannot run, as it said above (exit code ${exitCode})`),
    log: program.terminal.log,
  });
  // The slave starts meanwhile.
  program.greet();
  return await program.finish({
    // A finished run that is started again may end before its slave has joined: then nobody dismissed that one.
    ended: (isComplete) => slave.end(isComplete && program.master.status().settledNow > 0),
    hurried: () => slave.kill(),
  });
}

function slaveArgs({ master, words }: MasterProgram, flags: readonly string[]): string[] {
  const plugin = words.exportName === undefined ? words.path : `${words.path}:${words.exportName}`;
  const host = master.address.host === "0.0.0.0" || master.address.host === "::"
    ? "127.0.0.1"
    : master.address.host;
  const address = formatAddress({ host, port: master.address.port });
  return [`--host=${address}`, "--no-progress", ...flags, "--", plugin];
}
