import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { closeSync, fstatSync, mkdirSync, openSync, truncateSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { runtimes } from "../kit/runtimes.ts";
import type { Scenario } from "../kit/scenario.ts";

const mount = 'mount -t tmpfs -o "size=$1k" tmpfs "$0"';

/** Why no file system can be mounted here, or false. */
export function mountMissing(): string | false {
  const words = ["-m", "sh", "-c", mount, "/tmp", "64"];
  const { error, status, stderr } = spawnSync("unshare", words, { encoding: "utf8", timeout: 10_000 });
  if (error !== undefined) return `unshare cannot be started: ${error.message}`;
  return status === 0 ? false : `a tmpfs cannot be mounted here: ${stderr.trim()}`;
}

/**
 * A small file system in memory, in a mount namespace of its own, so that it is gone with the process that holds it.
 * Programs enter it by `command`; the test itself sees it as `seen`.
 */
export class TinyDisk {
  /** Where it is for programs within. */
  readonly dir: string;
  readonly #holder: ChildProcess;

  private constructor(dir: string, holder: ChildProcess) {
    this.dir = dir;
    this.#holder = holder;
  }

  static async open(scenario: Scenario, kibibytes: number): Promise<TinyDisk> {
    const dir = join(scenario.folder, "disk");
    mkdirSync(dir);
    const words = ["-m", "sh", "-c", `${mount} && echo mounted && read _`, dir, String(kibibytes)];
    // it ends when its input does, at the latest with the test
    const holder = spawn("unshare", words, { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise<void>((resolve, reject) => {
      holder.stdout!.once("data", () => resolve());
      holder.once("close", () => reject(new Error("the file system could not be mounted")));
    });
    return new TinyDisk(dir, holder);
  }

  /** The binary, started within. */
  get command(): readonly string[] {
    return ["nsenter", `--mount=/proc/${this.#holder.pid}/ns/mnt`, ...runtimes.binary];
  }

  get seen(): string {
    return `/proc/${this.#holder.pid}/root${this.dir}`;
  }

  /** Takes all space but some pages. */
  fill(leaveBytes: number): void {
    const file = openSync(this.#filler, "a");
    let bytes = fstatSync(file).size;
    try {
      for (const page = new Uint8Array(4096);;) bytes += writeSync(file, page);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ENOSPC") throw error;
    } finally {
      closeSync(file);
    }
    truncateSync(this.#filler, Math.max(0, bytes - leaveBytes));
  }

  free(): void {
    unlinkSync(this.#filler);
  }

  close(): void {
    this.#holder.stdin!.end();
  }

  get #filler(): string {
    return join(this.seen, "filler");
  }
}
