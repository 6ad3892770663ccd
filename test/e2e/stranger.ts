import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { bun } from "../kit/runtimes.ts";

// Another user of this machine, without any rights: what it can do to who runs the program here.

const uid = 65_534;
const asStranger = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];

/** Why a test cannot act as another user; false if it can. */
export function noStranger(): string | false {
  if (process.getuid?.() !== 0) return "only root can act as another user";
  const { error, status } = spawnSync("setpriv", [...asStranger, bun, "-e", ""], {
    stdio: "ignore",
    timeout: 10_000,
  });
  if (error !== undefined) return `setpriv is missing: ${error.message}`;
  return status === 0 ? false : `uid ${uid} cannot run ${bun}`;
}

/** A process of another user. */
export class Stranger {
  readonly process: ChildProcess;
  stdout = "";
  #waiting: (() => void)[] = [];

  /** @param code What it runs; `process.argv.slice(1)` are the words. It is ended with the test. */
  constructor(t: { teardown(done: () => void): unknown }, code: string, words: readonly string[]) {
    // Not with `timeout` before it: that would be root's, and what it starts could not be told apart.
    this.process = spawn("setpriv", [...asStranger, bun, "-e", code, ...words], {
      cwd: "/",
      env: { PATH: process.env.PATH, TMPDIR: "/tmp" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const limit = setTimeout(() => this.end(), 60_000);
    this.process.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
      for (const wake of this.#waiting.splice(0)) wake();
    });
    this.process.on("close", () => {
      clearTimeout(limit);
      for (const wake of this.#waiting.splice(0)) wake();
    });
    t.teardown(() => this.end());
  }

  /** Waits until it has said this. */
  async said(pattern: RegExp): Promise<RegExpMatchArray> {
    for (;;) {
      const found = this.stdout.match(pattern);
      if (found !== null) return found;
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        throw new Error(`The stranger ended, and never said ${pattern}: ${this.stdout}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  end(): void {
    this.process.kill("SIGKILL");
  }
}
