import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../kit/runtimes.ts";
import { type Ended, type RunOptions, runProgram } from "./run_program.ts";
import type { Patch } from "./mutant.ts";

/** All that a check may need. */
const parts = [
  "src",
  "test",
  "compile",
  "plugins",
  "vendor",
  "docs",
  "mod.ts",
  "deno.json",
  "package.json",
  "tsconfig.json",
];
const compileMsMax = 60_000;

/** The source with patches, in a folder of its own: the working tree is never touched. */
export class PatchedCopy {
  readonly folder = mkdtempSync(join(tmpdir(), "taskmaster-mutant-"));
  /** Of the programs that run there. What they leave is found by their `TMPDIR`, or by a `HOME` in it. */
  readonly env: NodeJS.ProcessEnv;

  readonly #onExit = () => this.end();
  #compiled: Promise<void> | null = null;

  constructor(patches: readonly Patch[]) {
    process.on("exit", this.#onExit);
    const bin = join(root, "node_modules", ".bin");
    const tmp = join(this.folder, "tmp");
    this.env = { PATH: `${bin}:${process.env.PATH}`, HOME: tmp, TMPDIR: tmp };
    try {
      mkdirSync(tmp);
      for (const part of parts) cpSync(join(root, part), join(this.folder, part), { recursive: true });
      symlinkSync(join(root, "node_modules"), join(this.folder, "node_modules"));
      for (const patch of patches) {
        const path = join(this.folder, patch.file);
        writeFileSync(path, patched(readFileSync(path, "utf8"), patch));
      }
    } catch (error) {
      this.end();
      throw error;
    }
  }

  /** Makes `dist/taskmaster` of the copy, once. */
  compile(): Promise<void> {
    return this.#compiled ??= this.#compile();
  }

  async #compile(): Promise<void> {
    const { code, output } = await this.run(["bun", "compile/compile.ts"], compileMsMax);
    if (code !== 0) throw new Error(`Cannot compile the patched copy:\n${output}`);
  }

  /** Runs a program in the copy. @throws {Error} if it does not end in time. */
  async run(
    command: readonly [string, ...string[]],
    limitMs: number,
    { env, isDone }: Partial<Pick<RunOptions, "env" | "isDone">> = {},
  ): Promise<Ended> {
    const ended = await runProgram(command, {
      cwd: this.folder,
      env: { ...this.env, ...env },
      limitMs,
      isDone,
    });
    if (!ended.isLate) return ended;
    throw new Error(`${command.join(" ")} did not end in time:\n${ended.output.slice(-4_000)}`);
  }

  /** Removes it, and ends whatever a broken version left running. */
  end(): void {
    process.off("exit", this.#onExit);
    for (const pid of this.#processes()) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // it ended meanwhile
      }
    }
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  }

  #processes(): number[] {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "latin1").includes(`=${this.folder}/tmp`);
      } catch {
        return false;
      }
    });
  }
}

/** @throws {Error} unless `find` stands there exactly once. */
export function patched(text: string, { file, find, replace }: Patch): string {
  const around = text.split(find);
  if (around.length === 2) return around.join(replace);
  throw new Error(`Cannot patch ${file}: ${around.length - 1} places read ${JSON.stringify(find)}`);
}
