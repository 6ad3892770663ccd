import { type ChildProcess, spawn } from "node:child_process";

/** No process of a test lives longer, unless its scenario says so. */
const processMsMax = 90_000;
/** How long after the end of a group's first process what it printed may still arrive. */
const lastWordsMsMax = 500;

/** What the program said as JSON: an event, or a state. */
export type Told = Readonly<Record<string, unknown>>;
export type ToldEvent = Told & Readonly<{ event: string; at: string }>;

export type ProgramOptions = Readonly<{
  cwd: string;
  env: NodeJS.ProcessEnv;
  /** It is killed then. @default processMsMax */
  lifeMsMax?: number | undefined;
  /** @default "ignore" */
  stdin?: "ignore" | "pipe";
  /**
   * Whether it has a process group of its own, so that what it started can be killed with it. Then its end is the end of
   * the first process; else that of all that hold its streams.
   */
  isGroup?: boolean;
}>;

/** One process that was started, and all that it printed. */
export class Program {
  readonly process: ChildProcess;
  readonly startedMs: number = performance.timeOrigin + performance.now();
  /** Exit code, or the signal that ended it, or why it could not be started. */
  readonly ended: Promise<number | string>;
  stdout = "";
  stderr = "";
  #end: number | string | null = null;
  #waiting: (() => void)[] = [];
  readonly #events: ToldEvent[] = [];
  /** Where the first line begins that was not looked at for an event. */
  #unread = 0;

  constructor([command = "", ...words]: readonly string[], options: ProgramOptions) {
    const { cwd, env, lifeMsMax = processMsMax, stdin = "ignore", isGroup = false } = options;
    this.process = spawn(command, words, { cwd, env, detached: isGroup, stdio: [stdin, "pipe", "pipe"] });
    const limit = setTimeout(() => this.signal("SIGKILL"), lifeMsMax);
    this.process.stdin?.on("error", () => {});
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => this.#wake(this.stdout += text));
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => this.#wake(this.stderr += text));
    this.ended = new Promise((resolve) => {
      const end = (how: number | string) => {
        clearTimeout(limit);
        this.#end ??= how;
        resolve(this.#end);
        this.#wake();
      };
      this.process.on("error", ({ message }) => end(message));
      this.process.on("close", (code, signal) => end(code ?? signal!));
      if (isGroup) {
        this.process.on(
          "exit",
          (code, signal) => setTimeout(() => end(code ?? signal!), lastWordsMsMax).unref(),
        );
      }
    });
  }

  /** NaN if it could not be started. */
  get pid(): number {
    return this.process.pid ?? NaN;
  }

  get hasEnded(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  signal(signal: NodeJS.Signals): void {
    this.process.kill(signal);
  }

  /** Waits until the program has printed something like this; rejects if it ends before. */
  printed(pattern: RegExp): Promise<RegExpMatchArray> {
    return this.#until(() => `${this.stderr}\n${this.stdout}`.match(pattern), `never printed ${pattern}`);
  }

  /** What it said with `--json` so far; of one kind, if that is named. */
  events(kind?: string): ToldEvent[] {
    for (let end; (end = this.stdout.indexOf("\n", this.#unread)) >= 0; this.#unread = end + 1) {
      const line = this.stdout.slice(this.#unread, end);
      if (line.startsWith('{"event":')) this.#events.push(JSON.parse(line));
    }
    return this.#events.filter(({ event }) => kind === undefined || event === kind);
  }

  /** The first event that is like this, once it was said; rejects if the program ends before. */
  event(isIt: (event: ToldEvent) => boolean): Promise<ToldEvent> {
    return this.#until(() => this.events().find(isIt), "never said what was waited for");
  }

  /** What a master counted at its end. */
  ending(): Told {
    return this.events("ended")[0] ?? {};
  }

  /** Waits for the end. @throws {Error} if it is not this one. */
  async endedWith(code: number): Promise<void> {
    if (await this.ended !== code) throw this.#failure("which is wrong");
  }

  /** Rejects if the program ends with anything but 0. */
  async failure(): Promise<never> {
    if (await this.ended !== 0) this.assertRuns();
    return new Promise(() => {});
  }

  assertRuns(): void {
    if (this.#end !== null) throw this.#failure("too early");
  }

  async #until<T>(look: () => T | null | undefined, missing: string): Promise<T> {
    for (;;) {
      const isOver = this.#end !== null;
      const found = look();
      if (found !== null && found !== undefined) return found;
      if (isOver) throw this.#failure(`and ${missing}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #failure(what: string): Error {
    const output = `${this.stderr}\n${this.stdout}`.slice(-10_000);
    return new Error(`${this.process.spawnargs.join(" ")} ended (${this.#end}) ${what}:\n${output}`);
  }

  #wake(_text = ""): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
