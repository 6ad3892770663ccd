import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { settingsOf } from "../src/lib/runtime.ts";
import { Program } from "../test/kit/program.ts";
import { cpuMsOfDescendants } from "./cpu_time.ts";

/**
 * What Bun is told as a slave of taskmaster begins: what that is held against is to have it too. Of the two settings
 * peers are given only the one that is sure to help them: they run too slowly for a later last compiler.
 */
export const tunedEnvironment = settingsOf("slave");
export const purgeLater = { MIMALLOC_PURGE_DELAY: tunedEnvironment["MIMALLOC_PURGE_DELAY"] };

/** How long a program has to end after SIGTERM. */
const endMsMax = 5_000;
/** No process of a measurement lives longer. */
const lifeMsMax = 240_000;

export type Measured = Readonly<{ elapsedMs: number; cpuMs: number }>;

/** What one measurement needs: a folder, processes, a clock. Nothing of it is left after `end()`. */
export class Rig {
  readonly folder = mkdtempSync(join(tmpdir(), "taskmaster-bench-"));
  readonly #programs: Program[] = [];
  #ending: Promise<void> | null = null;

  /** @throws {Error} after `end()`: what is under way when a measurement is stopped must not start more. */
  start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Program {
    if (this.#ending !== null) throw new Error(`Cannot start ${command}: the measurement has ended.`);
    const base = { PATH: process.env.PATH, HOME: this.folder, LANG: "C.UTF-8" };
    const options = { cwd: this.folder, env: { ...base, ...env }, lifeMsMax, isGroup: true };
    const program = new Program([command, ...args], options);
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
    await Promise.race([begins.printed(/^begin$/m), failure]);
    const startedAt = performance.now();
    const cpuBeforeMs = cpuMsOfDescendants();
    await Promise.race([ends.printed(/^end$/m), failure]);
    const elapsedMs = performance.now() - startedAt;
    return { elapsedMs, cpuMs: cpuMsOfDescendants() - cpuBeforeMs };
  }

  /** Ends everything; who calls it again waits for the same. */
  end(): Promise<void> {
    return this.#ending ??= this.#endAll();
  }

  async #endAll(): Promise<void> {
    for (const program of this.#programs.splice(0).reverse()) await endGroup(program);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Ends the program and all of its process group. */
async function endGroup(program: Program): Promise<void> {
  if (Number.isNaN(program.pid)) return;
  program.signal("SIGTERM");
  await Promise.race([program.ended, sleep(endMsMax, undefined, { ref: false })]);
  try {
    process.kill(-program.pid, "SIGKILL");
  } catch {
    // nothing is left of it
  }
  await program.ended;
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
