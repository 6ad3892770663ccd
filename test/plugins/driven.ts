import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { interpreters } from "../kit/runtimes.ts";
import type { Outcome, Task } from "./drive.ts";

/** Runtimes that have node:sqlite. */
export const withSqlite = ["bun", "deno"] as const;
const config = ["--config", resolve("deno.json")];

/**
 * Runs a plugin in a process of another runtime, in the folder `cwd`.
 *
 * @throws {Error} if that takes more than 30 s.
 */
export async function driven(
  runtime: typeof withSqlite[number],
  plugin: string,
  cwd: string,
  task: Task,
): Promise<Outcome> {
  const [command, ...words] = interpreters[runtime];
  const args = [
    ...words,
    ...(runtime === "deno" ? config : []),
    resolve("test/plugins/drive.ts"),
    resolve(plugin),
    JSON.stringify(task),
  ];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: "1" };
  const options = { cwd, env, timeout: 30_000, maxBuffer: 1 << 28 };
  const { stdout } = await promisify(execFile)(command!, args, options);
  return JSON.parse(stdout) as Outcome;
}
