import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { processesOf } from "./processes.ts";
import { Program } from "./program.ts";
import { Records } from "./records.ts";
import { root, runtimes } from "./runtimes.ts";

export const probePlugin = join(root, "test", "e2e", "probe.ts");

/** What the processes of a scenario share. */
export const tokenText = "e2e-3kVw9TzQm7RbXc2LfYp8HsNd4GjUa6EeB5w";

/** A folder, a token and the programs of one scenario; everything is gone after `end()`. */
export class Scenario {
  readonly folder = mkdtempSync(join(tmpdir(), "taskmaster-e2e-"));
  readonly #programs: Program[] = [];
  readonly env: NodeJS.ProcessEnv;
  readonly #lifeMsMax: number | undefined;

  /** @param lifeMsMax No process lives longer. */
  constructor(lifeMsMax?: number) {
    this.#lifeMsMax = lifeMsMax;
    this.env = {
      PATH: process.env.PATH,
      HOME: this.folder,
      XDG_CONFIG_HOME: join(this.folder, "config"),
      TASKMASTER_TOKEN: tokenText,
    };
  }

  start(command: readonly string[], args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    const program = new Program([...command, ...args], {
      cwd: this.folder,
      env: { ...this.env, ...env },
      lifeMsMax: this.#lifeMsMax,
    });
    this.#programs.push(program);
    return program;
  }

  /** A master on a free port with the probe plugin. */
  master(words: readonly string[], command = runtimes.binary, port = 0): Program {
    return this.start(command, [
      "master",
      probePlugin,
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
    return this.start(runtimes.binary, ["run", probePlugin, ...place, ...words]);
  }

  slave(
    port: number,
    words: readonly string[] = [],
    command = runtimes.binary,
    env: NodeJS.ProcessEnv = {},
  ): Program {
    return this.start(command, ["slave", probePlugin, "--host", `127.0.0.1:${port}`, ...words], env);
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
