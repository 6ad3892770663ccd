import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { descendantsOf } from "../proc.ts";
import { root } from "../rig.ts";
import { binary, tokenText } from "../taskmaster.ts";

/** No process of a measurement lives longer. */
const processMsMax = 240_000;

export function pluginPath(name: string): string {
  return join(root, "bench", "loads", "plugins", `${name}.ts`);
}

/** One `--json` event. */
export type Event = Readonly<{ event: string; at: string } & Record<string, unknown>>;
/** What a status event says of the run; `atMs` is the wall clock. */
export type Status = Readonly<{ atMs: number; done: number; inFlight: number; slaves: number }>;

/** A process of a measurement, and the lines of JSON that it prints. */
export class Program {
  readonly process: ChildProcess;
  readonly startedMs: number = performance.timeOrigin + performance.now();
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly events: Event[] = [];
  /** What it printed on stderr, for the error if it fails. */
  said = "";
  #hasEnded = false;
  #heard: () => void = () => {};

  constructor(command: string, words: readonly string[], folder: string) {
    const env = {
      PATH: process.env.PATH,
      HOME: folder,
      XDG_CONFIG_HOME: folder,
      TASKMASTER_TOKEN: tokenText,
    };
    this.process = spawn(command, words, { cwd: folder, env, stdio: ["pipe", "pipe", "pipe"] });
    const limit = setTimeout(() => this.process.kill("SIGKILL"), processMsMax);
    let rest = "";
    this.process.stdin!.on("error", () => {});
    this.process.stderr!.setEncoding("utf8").on("data", (text: string) => this.said += text);
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) if (line.startsWith("{")) this.events.push(JSON.parse(line));
      this.#heard();
    });
    this.ended = new Promise((resolve) => {
      this.process.on("close", (code, signal) => {
        clearTimeout(limit);
        this.#hasEnded = true;
        resolve(code ?? signal!);
        this.#heard();
      });
    });
  }

  get pid(): number {
    return this.process.pid!;
  }

  /** The first event that is like this, once it was printed. */
  async event(isIt: (event: Event) => boolean): Promise<Event> {
    for (;;) {
      const found = this.events.find(isIt);
      if (found !== undefined) return found;
      if (this.#hasEnded) {
        throw new Error(`${this.process.spawnargs.join(" ")} ended (${await this.ended}): ${this.said}`);
      }
      await new Promise<void>((resolve) => this.#heard = resolve);
    }
  }

  async port(): Promise<number> {
    return Number((await this.event(({ event }) => event === "listening")).port);
  }

  /** What it said of its run since a moment of the wall clock. */
  statuses(fromMs = 0): Status[] {
    return this.events.filter(({ event }) => event === "status")
      .map((event) => ({ ...(event as unknown as Status), atMs: Date.parse(event.at) }))
      .filter(({ atMs }) => atMs >= fromMs);
  }

  /** Waits for the end. @throws {Error} if it is not this one. */
  async endedWith(code: number): Promise<void> {
    const found = await this.ended;
    if (found !== code) {
      throw new Error(`${this.process.spawnargs.join(" ")} ended with ${found}: ${this.said}`);
    }
  }
}

const places = new Set<Place>();
let isStopped = false;

/** Ends all processes, and lets none be started any more: for a command that is told to stop. */
export function endPlaces(): void {
  isStopped = true;
  for (const place of places) place[Symbol.dispose]();
}

/** A folder for one measurement, and its processes; both are gone once it is disposed of. */
export class Place implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), "taskmaster-loads-"));
  readonly #programs: Program[] = [];

  constructor() {
    places.add(this);
  }

  /** The binary, with a free port and its state in this folder if it is a master. */
  taskmaster(
    command: "run" | "master" | "slave",
    plugin: string,
    words: readonly (string | number)[],
  ): Program {
    if (!existsSync(binary)) throw new Error("dist/taskmaster is missing: run `npm run compile` first.");
    const place = command === "slave" ? [] : ["--host", "127.0.0.1:0", "--state-dir", this.folder];
    return this.start(binary, [command, plugin, ...words, ...place, "--json", "--no-progress"]);
  }

  /** A script of this folder, in Bun. */
  script(name: string, words: readonly (string | number)[]): Program {
    return this.start(process.execPath, [join(root, "bench", "loads", `${name}.ts`), ...words]);
  }

  start(command: string, words: readonly (string | number)[]): Program {
    if (isStopped) throw new Error(`Cannot start ${command}: the measurement was stopped.`);
    const program = new Program(command, words.map(String), this.folder);
    this.#programs.push(program);
    return program;
  }

  /** Ends what still runs, by pid, with the children of its children. */
  [Symbol.dispose](): void {
    const running = this.#programs.filter(({ process }) =>
      process.exitCode === null && process.signalCode === null
    );
    const pids = running.flatMap(({ pid }) => [...descendantsOf(pid).map(({ pid }) => pid), pid]);
    for (const pid of pids) kill(pid);
    places.delete(this);
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // it ended by itself
  }
}
