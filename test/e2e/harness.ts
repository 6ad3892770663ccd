import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

export const root = resolve(import.meta.dirname ?? ".", "../..");
export const binary = join(root, "dist", "taskmaster");
export const probe = join(root, "test", "e2e", "probe.ts");

/**
 * How each runtime starts the program. Node is the npm package of that name: of all releases that run the source, 24.2
 * has the most peculiarities.
 */
export const runtimes: Readonly<Record<"binary" | "bun" | "deno" | "node", readonly string[]>> = {
  binary: [binary],
  bun: [join(root, "node_modules", ".bin", "bun"), join(root, "mod.ts")],
  deno: [join(root, "node_modules", ".bin", "deno"), "run", "-A", join(root, "mod.ts")],
  node: [join(root, "node_modules", "node", "bin", "node"), join(root, "mod.ts")],
};

/** What the processes of a scenario share. */
export const token = "e2e-3kVw9TzQm7RbXc2LfYp8HsNd4GjUa6EeB5w";

/** No process of a test lives longer, unless its scenario says so. */
const processMsMax = 90_000;

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

/** A folder, a token and the programs of one scenario; everything is gone after `end()`. */
export class Scenario {
  readonly folder = mkdtempSync(join(tmpdir(), "taskmaster-e2e-"));
  readonly #programs: Program[] = [];
  readonly env: NodeJS.ProcessEnv;
  readonly #lifeMsMax: number;

  /** @param lifeMsMax No process lives longer. */
  constructor(lifeMsMax = processMsMax) {
    this.#lifeMsMax = lifeMsMax;
    this.env = {
      PATH: process.env.PATH,
      HOME: this.folder,
      XDG_CONFIG_HOME: join(this.folder, "config"),
      TASKMASTER_TOKEN: token,
    };
  }

  start(command: readonly string[], args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    const program = new Program(command, args, this.folder, { ...this.env, ...env }, this.#lifeMsMax);
    this.#programs.push(program);
    return program;
  }

  /** A master on a free port with the probe plugin. */
  master(words: readonly string[], command = runtimes.binary, port = 0): Program {
    return this.start(command, [
      "master",
      probe,
      `dir=${this.folder}`,
      "--state-dir",
      this.folder,
      "--host",
      `127.0.0.1:${port}`,
      ...words,
    ]);
  }

  /** Master and slave in one, with two workers and the probe plugin. */
  run(words: readonly string[]): Program {
    const place = [`dir=${this.folder}`, "--state-dir", this.folder, "--host", "127.0.0.1:0", "--procs", "2"];
    return this.start(runtimes.binary, ["run", probe, ...place, ...words]);
  }

  slave(
    port: number,
    words: readonly string[] = [],
    command = runtimes.binary,
    env: NodeJS.ProcessEnv = {},
  ): Program {
    return this.start(command, ["slave", probe, "--host", `127.0.0.1:${port}`, ...words], env);
  }

  records(): Records {
    return new Records(this.folder);
  }

  /** How often each id was handled, from what the workers of tally.ts left. */
  tallies(jobs: number): number[] {
    const counts = new Array<number>(jobs).fill(0);
    for (const name of readdirSync(this.folder).filter((name) => name.endsWith(".tally"))) {
      readFileSync(join(this.folder, name)).forEach((count, id) => counts[id]! += count);
    }
    return counts;
  }

  deadLetters(key = "probe"): DeadLetterLine[] {
    const path = join(this.folder, `${key}.dead.ndjson`);
    return existsSync(path)
      ? readFileSync(path, "utf8").trim().split("\n").map((line) => JSON.parse(line))
      : [];
  }

  /** Which runtimes the workers ran in. */
  workerRuntimes(): string[] {
    const path = join(this.folder, "runtimes");
    return existsSync(path) ? [...new Set(readFileSync(path, "utf8").trim().split("\n"))].sort() : [];
  }

  async end(): Promise<void> {
    await this.endProcesses();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Ends all that runs still; the folder stays. */
  async endProcesses(): Promise<void> {
    // all at once: one that outlives its tracer would keep the pipes open
    this.#killAll();
    for (const program of this.#programs) await program.ended;
    this.#killAll();
  }

  #killAll(): void {
    for (const pid of processesOf(this.folder)) {
      try {
        process.kill(Number(pid), "SIGKILL");
      } catch {
        // it has ended meanwhile
      }
    }
  }
}

type DeadLetterLine = {
  seq: number;
  failures: number;
  crashes: number;
  attempts: { error: string }[];
  cbor: string;
};

/** Port on which a master listens, from its first line. */
export async function portOf(master: Program): Promise<number> {
  return Number((await master.printed(/^Taskmaster server running on '[^']*:(\d+)'$/m))[1]);
}

/** What the handlers wrote: how often each id was yielded, begun and ended. */
export class Records {
  readonly yielded = new Map<number, number>();
  readonly begun = new Map<number, number>();
  readonly ended = new Map<number, number>();
  /** When each id was begun, and with which `ctx.attempt`; in no order. */
  readonly begins = new Map<number, { atMs: number; attempt: number }[]>();
  /** When jobs were begun, on the wall clock. */
  readonly begunAtMs: number[] = [];

  constructor(folder: string) {
    const kinds: Record<string, Map<number, number>> = { Y: this.yielded, B: this.begun, E: this.ended };
    for (const name of readdirSync(folder).filter((name) => name.endsWith(".records"))) {
      for (const line of readFileSync(join(folder, name), "utf8").split("\n")) {
        const [kind = "", word, atMs, attempt] = line.split(" ");
        const id = Number(word);
        const counts = kinds[kind];
        counts?.set(id, (counts.get(id) ?? 0) + 1);
        if (kind !== "B") continue;
        this.begunAtMs.push(Number(atMs));
        const begins = this.begins.get(id) ?? [];
        begins.push({ atMs: Number(atMs), attempt: Number(attempt) });
        this.begins.set(id, begins);
      }
    }
  }

  /** Ids of 0 .. jobs-1 that never ended. */
  lost(jobs: number): number[] {
    return Array.from({ length: jobs }, (_, id) => id).filter((id) => !this.ended.has(id));
  }

  /** Begins beyond each id's first. */
  get repeated(): number {
    return [...this.begun.values()].reduce((sum, count) => sum + count - 1, 0);
  }

  /** Jobs begun between two moments. */
  begunBetween(fromMs: number, toMs: number): number {
    return this.begunAtMs.filter((atMs) => atMs >= fromMs && atMs <= toMs).length;
  }
}

/** Pids of the processes of a scenario, children of children too: its folder is in the environment of each. */
export function processesOf(folder: string): string[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name) && belongsTo(name, folder));
}

function belongsTo(pid: string, folder: string): boolean {
  try {
    // a process that has ended and was not waited for has no environment any more
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`HOME=${folder}\0`);
  } catch {
    return false;
  }
}

/** Waits until a condition holds that only the disk can tell; rejects after half a minute, or what is given. */
export async function until(condition: () => boolean, what: string, msMax = 30_000): Promise<void> {
  const deadline = Date.now() + msMax;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`It never came to this: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Whole numbers below `below`, the same ones for the same seed (mulberry32). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
