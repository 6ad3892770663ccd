import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import type { Outcome, Task } from "./drive.ts";

const bin = (name: string) => resolve("node_modules/.bin", name);

/** How each runtime that has node:sqlite starts a file. */
export const runtimes: Readonly<Record<string, readonly string[]>> = {
  bun: [bin("bun")],
  deno: [bin("deno"), "run", "-A", "--config", resolve("deno.json")],
};

/**
 * Runs a plugin in a process of another runtime, in the folder `cwd`.
 *
 * @throws {Error} if that takes more than 30 s.
 */
export async function driven(runtime: string, plugin: string, cwd: string, task: Task): Promise<Outcome> {
  const [command, ...words] = runtimes[runtime]!;
  const args = [...words, resolve("test/plugins/drive.ts"), resolve(plugin), JSON.stringify(task)];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: "1" };
  const options = { cwd, env, timeout: 30_000, maxBuffer: 1 << 28 };
  const { stdout } = await promisify(execFile)(command!, args, options);
  return JSON.parse(stdout) as Outcome;
}
