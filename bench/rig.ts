import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { settingsOf } from "../src/lib/runtime.ts";
import { cpuMsOfDescendants } from "./cpu_time.ts";

export const root = resolve(import.meta.dirname!, "..");
export const bun = join(root, "node_modules", ".bin", "bun");
export const deno = join(root, "node_modules", ".bin", "deno");

/**
 * What Bun is told as a slave of taskmaster begins: what that is held against is to have it too. Of the two settings
 * peers are given only the one that is sure to help them: they run too slowly for a later last compiler.
 */
export const tunedEnvironment = settingsOf("slave");
export const purgeLater = { MIMALLOC_PURGE_DELAY: tunedEnvironment["MIMALLOC_PURGE_DELAY"] };

/** How long a program has to end after SIGTERM. */
const endMsMax = 5_000;
/** How long after its end what a program printed may still arrive. */
const lastWordsMsMax = 500;
/** How much of what a program printed is kept, for the error if it fails. */
const keptChars = 2_000;

export type Measured = Readonly<{ elapsedMs: number; cpuMs: number }>;

/** One process that was started, and the lines that it prints on stdout and stderr. */
export class Program {
  readonly pid: number;
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  readonly #process: ChildProcess;
  readonly #lines = new Set<string>();
  #tail = "";
  #wake: () => void = () => {};
  #end: number | string | null = null;

  constructor(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv) {
    // a process group of its own: so what it started can be ended with it
    this.#process = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    this.pid = this.#process.pid ?? NaN;
    for (const stream of [this.#process.stdout!, this.#process.stderr!]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#tail = (this.#tail + text).slice(-keptChars);
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) this.#lines.add(line);
        this.#wake();
      });
    }
    this.ended = new Promise((resolve) => {
      const end = (how: number | string) => {
        this.#end ??= how;
        resolve(this.#end);
        this.#wake();
      };
      this.#process.on("error", (error) => end(error.message));
      // its last words come after its end; but a process that it left behind may keep its streams open
      this.#process.on("close", (code, signal) => end(code ?? signal ?? "?"));
      this.#process.on("exit", (code, signal) => {
        sleep(lastWordsMsMax, undefined, { ref: false }).then(() => end(code ?? signal ?? "?"));
      });
    });
  }

  /** Waits for a line, `pattern` in full; rejects if the program ends without one. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      for (const line of this.#lines) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      this.assertRuns();
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Rejects if the program ends with anything but 0. */
  async failure(): Promise<never> {
    if (await this.ended !== 0) this.assertRuns();
    return new Promise(() => {});
  }

  assertRuns(): void {
    if (this.#end !== null) throw new Error(`It ended (${this.#end}) too early: ${this.#tail}`);
  }

  /** Ends the program and all of its process group. */
  async end(): Promise<void> {
    if (Number.isNaN(this.pid)) return;
    if (this.#end === null) this.#process.kill("SIGTERM");
    await Promise.race([this.ended, sleep(endMsMax, undefined, { ref: false })]);
    try {
      process.kill(-this.pid, "SIGKILL");
    } catch {
      // nothing is left of it
    }
    await this.ended;
  }
}

/** What one measurement needs: a folder, processes, a clock. Nothing of it is left after `end()`. */
export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), "taskmaster-bench-"));
  readonly #programs: Program[] = [];
  #ending: Promise<void> | null = null;

  /** @throws {Error} after `end()`: what is under way when a measurement is stopped must not start more. */
  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    if (this.#ending !== null) throw new Error(`Cannot start ${command}: the measurement has ended.`);
    const base = { PATH: process.env.PATH, HOME: this.folder, LANG: "C.UTF-8" };
    const program = new Program(command, args, this.folder, { ...base, ...env });
    this.#programs.push(program);
    return program;
  }

  /** A server on a free port of loopback, which is what it resolves with once it accepts connections. */
  async serve(
    command: string,
    argsOf: (port: number) => readonly string[],
  ): Promise<number> {
    const port = await freePort();
    const server = this.start(command, argsOf(port));
    while (!await accepts(port)) {
      server.assertRuns();
      await sleep(10);
    }
    return port;
  }

  /**
   * Time and CPU time from the line `begin` of one program to the line `end` of another, or of the same. Rejects as
   * soon as any program of the rig fails: then the others may wait for ever.
   */
  async measure(begins: Program, ends: Program = begins): Promise<Measured> {
    const failure = Promise.race(this.#programs.map((program) => program.failure()));
    await Promise.race([begins.printed(/^begin$/), failure]);
    const startedAt = performance.now();
    const cpuBeforeMs = cpuMsOfDescendants();
    await Promise.race([ends.printed(/^end$/), failure]);
    const elapsedMs = performance.now() - startedAt;
    return { elapsedMs, cpuMs: cpuMsOfDescendants() - cpuBeforeMs };
  }

  /** Ends everything; who calls it again waits for the same. */
  end(): Promise<void> {
    return this.#ending ??= this.#endAll();
  }

  async #endAll(): Promise<void> {
    for (const program of this.#programs.splice(0).reverse()) await program.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => (socket.destroy(), resolve(true)));
    socket.on("error", () => resolve(false));
  });
}
