import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Program } from "../kit/program.ts";
import { root, runtimes } from "../kit/runtimes.ts";
import { portOf, Scenario } from "../kit/scenario.ts";

const plugin = join(root, "test", "flood", "plugin.ts");

export type Figures = Readonly<{ ratePerSecond: number; peakMiB: number }>;

/** A master with a real slave of two workers, whose rate is watched while somebody attacks. */
export class Field {
  readonly #scenario = new Scenario();
  readonly #words: readonly string[];
  readonly #command: readonly string[];
  master: Program;
  /** The first real slave. */
  slave: Program;
  port = 0;

  private constructor(words: readonly string[], command: readonly string[]) {
    this.#words = words;
    this.#command = command;
    this.slave = this.master = this.#start();
  }

  /** @param slave What starts the real slave. */
  static async open(
    words: readonly string[] = [],
    command: readonly string[] = runtimes.binary,
    slave: readonly string[] = runtimes.binary,
  ): Promise<Field> {
    const field = new Field(words, command);
    field.port = await portOf(field.master);
    field.slave = field.join(slave);
    await field.settles();
    return field;
  }

  /** Where the master keeps its state. */
  get folder(): string {
    return this.#scenario.folder;
  }

  /** One more real slave. */
  join(command: readonly string[] = runtimes.binary): Program {
    return this.#scenario.start(command, [
      "slave",
      plugin,
      "--host",
      `127.0.0.1:${this.port}`,
      "--procs",
      "2",
    ]);
  }

  /** Kills the master and starts it again, in its place. */
  async restart(): Promise<void> {
    this.master.signal("SIGKILL");
    await this.master.ended;
    this.master = this.#start();
    await portOf(this.master);
  }

  /** Waits until some more jobs are settled. */
  async settles(count = 200): Promise<void> {
    const from = this.settled;
    const deadlineMs = Date.now() + 30_000;
    while (this.settled < from + count) {
      if (this.master.hasEnded || Date.now() > deadlineMs) {
        throw new Error(`Nothing is settled:\n${this.master.stderr}`);
      }
      await sleep(50);
    }
  }

  get settled(): number {
    return this.#last?.settled ?? 0;
  }

  /** Jobs settled a second, and the most memory the master had meanwhile. */
  async watch(seconds: number): Promise<Figures> {
    const from = this.#last!;
    let peakMiB = 0;
    for (const endMs = Date.now() + seconds * 1000; Date.now() < endMs;) {
      await sleep(100);
      if (this.master.hasEnded) throw new Error(`The master ended:\n${this.master.stderr}`);
      peakMiB = Math.max(peakMiB, residentMiB(this.master.process.pid!));
    }
    const to = this.#last!;
    return { ratePerSecond: (to.settled - from.settled) / (to.atMs - from.atMs) * 1000, peakMiB };
  }

  /** Stops the master as Ctrl-C does; resolves with its exit code. */
  async stop(): Promise<number | string> {
    this.master.signal("SIGINT");
    return await this.master.ended;
  }

  end(): Promise<void> {
    return this.#scenario.end();
  }

  #start(): Program {
    const place = ["--state-dir", this.#scenario.folder, "--host", `127.0.0.1:${this.port}`];
    const watch = ["--json", "--status-interval", "100ms", "--heartbeat", "1s", "--size", "2000"];
    return this.#scenario.start(this.#command, ["master", plugin, ...place, ...watch, ...this.#words]);
  }

  get #last(): { settled: number; atMs: number } | undefined {
    const { stdout } = this.master;
    const at = stdout.lastIndexOf('{"event":"status"', stdout.lastIndexOf("\n"));
    if (at < 0) return undefined;
    const { settled, at: time } = JSON.parse(stdout.slice(at, stdout.indexOf("\n", at)));
    return { settled, atMs: Date.parse(time) };
  }
}

/** Memory of a process that is resident, as the system counts it; 0 where it does not tell. */
export function residentMiB(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
  } catch {
    return 0;
  }
}
