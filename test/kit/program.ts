import { type ChildProcess, spawn } from "node:child_process";

/** No process of a test lives longer, unless its scenario says so. */
export const processMsMax = 90_000;

/** One process of the program under test, and all that it printed. */
export class Program {
  readonly process: ChildProcess;
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  stdout = "";
  stderr = "";
  #waiting: (() => void)[] = [];

  constructor(
    command: readonly string[],
    args: readonly string[],
    cwd: string,
    env: NodeJS.ProcessEnv,
    lifeMsMax = processMsMax,
  ) {
    this.process = spawn(command[0]!, [...command.slice(1), ...args], {
      cwd,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const limit = setTimeout(() => this.process.kill("SIGKILL"), lifeMsMax);
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => this.#heard(this.stdout += text));
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => this.#heard(this.stderr += text));
    this.ended = new Promise((resolve) => {
      this.process.on("close", (code, signal) => {
        clearTimeout(limit);
        resolve(code ?? signal!);
        this.#heard("");
      });
    });
  }

  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Waits until the program has printed something like this; rejects if it ends before. */
  async printed(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const found = `${this.stderr}\n${this.stdout}`.match(pattern);
      if (found !== null) return found;
      if (this.hasEnded) {
        throw new Error(
          `It ended (${await this.ended}) and never printed ${pattern}:\n${this.stderr}\n${this.stdout}`,
        );
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #heard(_text: string): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
