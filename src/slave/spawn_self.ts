import { existsSync } from "node:fs";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";
import {
  denoFlags,
  forChild,
  isBinary,
  isTuned,
  type ProcessRole,
  tuned,
  withTypedName,
} from "../lib/runtime.ts";

/** How to start a process: a program and its arguments. */
export type SpawnCommand = Readonly<{ command: string; args: readonly string[] }>;

/** Which kind of child a process was started as; kept from its own children. */
const generationVariable = "TASKMASTER_GENERATION";
/** The process that a child must not outlive. */
const parentVariable = "TASKMASTER_PARENT";
const tokenVariable = "TASKMASTER_TOKEN";

/** What this process is: "slave" and "worker" were started by a process of this program. */
export type Generation = "first" | "slave" | "worker";

/**
 * This program again, with other arguments: the compiled binary itself, or the runtime with `mod.ts`. Not with
 * `process.argv[1]`: that may be a script that imports this program.
 *
 * Whether it is compiled is decided by `process.argv[1]`: `import.meta.url` is what the bundler was told to write there,
 * and a program that goes by it could start itself for ever.
 */
function selfCommand(args: readonly string[]): SpawnCommand {
  const command = process.execPath;
  if (isBinary()) return { command, args };
  const entry = new URL("../../mod.ts", import.meta.url);
  const script = entry.protocol === "file:" ? fileURLToPath(entry) : entry.href;
  if (process.versions.deno !== undefined) return { command, args: ["run", ...denoFlags(), script, ...args] };
  const flags = process.execArgv.filter((flag) => !flag.startsWith("--inspect"));
  return { command, args: [...flags, script, ...args] };
}

/** The hidden subcommand that runs handlers. */
export function workerCommand(): SpawnCommand {
  return selfCommand(["worker"]);
}

/** The slave of the command `run`. */
export function slaveCommand(args: readonly string[]): SpawnCommand {
  return selfCommand(["slave", ...args]);
}

/** The environment of such a child, with what is `added` to that of this process. Only a slave is given the token. */
export function childEnvironment(
  generation: "slave" | "worker",
  added: Readonly<Record<string, string>> = {},
): NodeJS.ProcessEnv {
  const environment = forChild(process.env);
  if (generation === "worker") delete environment[tokenVariable];
  environment[generationVariable] = generation;
  environment[parentVariable] = String(process.pid);
  return tuned({ ...environment, ...added }, generation);
}

/** Roles of the commands that last; for others it would not be worth it. */
const roles: ReadonlyMap<string, ProcessRole> = new Map([
  ["run", "master"],
  ["master", "master"],
  ["slave", "slave"],
]);

/**
 * Begins this process anew with the settings of its role, which takes some 30 ms, once: for one that was started by
 * hand. Only the compiled binary does, and not on Windows; it returns where it cannot. To be called before all else.
 *
 * Bun closes all files but 0, 1 and 2 meanwhile, so where a word names an open one (`<(...)`) nothing is done.
 */
export function beginTuned(argv: readonly string[]): void {
  const { execve, argv0, execPath, env, platform, versions } = process;
  const role = roles.get(argv.find((word) => roles.has(word)) ?? "");
  if (role === undefined || isTuned(env, role) || versions.bun === undefined || platform === "win32") return;
  if (!isBinary() || namesOpenFile(argv, env)) return;
  try {
    const { command, args } = writingInBackground({ command: execPath, args: [argv0, ...argv] }, env);
    execve?.call(process, command, [...args], withTypedName(tuned(env, role), argv0));
  } catch {
    // It goes on as it is, and slower; Bun then warns that `execve` is experimental.
  }
}

/**
 * Under `stty tostop` a process is stopped that writes to its terminal from the background, and a run would stand still
 * for ever at its first line of log. SIGTTOU can only be ignored from outside of JavaScript, and stays ignored over
 * `execve`: so a shell does it on the way. `args` begins with argv[0].
 */
function writingInBackground({ command, args }: SpawnCommand, env: NodeJS.ProcessEnv): SpawnCommand {
  const shell = "/bin/sh";
  // A shell drops variables whose names it could not use itself: those of this user are worth more.
  const keepsAll = Object.keys(env).every((name) => /^[A-Za-z_]\w*$/.test(name));
  if (!isatty(2) || !existsSync(shell) || !keepsAll) return { command, args };
  return { command: shell, args: ["sh", "-c", 'trap "" TTOU; exec "$0" "$@"', command, ...args.slice(1)] };
}

/** Words and options of the environment may be paths such as `/dev/fd/63` and `/proc/self/fd/63`. */
function namesOpenFile(argv: readonly string[], env: NodeJS.ProcessEnv): boolean {
  const options = Object.keys(env).filter((name) => name.startsWith("TASKMASTER_")).map((name) => env[name]!);
  return [...argv, ...options].some((word) => /\/fd\/\d/.test(word));
}

/**
 * What this process was started as, and by which process. Takes both out of the environment, so that a plugin may
 * start this program anew; ask once, at the start.
 */
export function takeGeneration(
  argv: readonly string[] = process.argv,
): Readonly<{ generation: Generation; parentPid: number }> {
  const generation = generationOf(argv);
  const parentPid = Number(process.env[parentVariable] ?? process.ppid);
  delete process.env[generationVariable];
  delete process.env[parentVariable];
  return { generation, parentPid };
}

/**
 * By the environment, but that is not all: what a handler starts by `Bun.spawn` without `env` has the one that its worker
 * began with, whatever was taken out since. A worker is a child of its supervisor, and `worker` is the last word it is given.
 */
function generationOf(argv: readonly string[]): Generation {
  const { [generationVariable]: generation, [parentVariable]: parent } = process.env;
  if (generation === "worker") {
    return Number(parent) === process.ppid && argv.at(-1) === "worker" ? "worker" : "first";
  }
  return generation === "slave" ? "slave" : "first";
}

/** A worker whose entry script came out as another program would start slaves, and so itself, for ever. */
export function refuseWithinWorker(): void {
  if (generationOf(process.argv) !== "worker") return;
  throw new Error(
    "Cannot start a slave: this process was started as a worker of one. " +
      "Start slaves where a worker does not come by, or by the command `taskmaster slave`.",
  );
}
