import { basename } from "node:path";
import { fileURLToPath } from "node:url";

/** How to start a process: a program and its arguments. */
export type Command = Readonly<{ command: string; args: readonly string[] }>;

/** Which kind of child a process was started as; kept from its own children. */
const generationVariable = "TASKMASTER_GENERATION";
/** The process that a child must not outlive. */
const parentVariable = "TASKMASTER_PARENT";
const tokenVariable = "TASKMASTER_TOKEN";
/** What becomes of memory that was freed, as Bun reads it when a process begins. */
const purgeVariable = "MIMALLOC_PURGE_DELAY";

/** What this process is: "slave" and "worker" were started by a process of this program. */
export type Generation = "first" | "slave" | "worker";

/**
 * This program again, with other arguments: the compiled binary itself, or the runtime with `mod.ts`. Not with
 * `process.argv[1]`: that may be a script that imports this program.
 *
 * Whether it is compiled is decided by `process.argv[1]`: with `--bytecode`, `import.meta.url` in a compiled binary is
 * the path of the source, and a program that goes by it would start itself for ever.
 */
export function selfCommand(args: readonly string[]): Command {
  const command = process.execPath;
  if (isCompiled(process.argv[1] ?? "", command)) return { command, args };
  const entry = new URL("../../mod.ts", import.meta.url);
  const script = entry.protocol === "file:" ? fileURLToPath(entry) : entry.href;
  if (process.versions.deno !== undefined) return { command, args: ["run", "-A", script, ...args] };
  const flags = process.execArgv.filter((flag) => !flag.startsWith("--inspect"));
  return { command, args: [...flags, script, ...args] };
}

/** The hidden subcommand that runs handlers. */
export function workerCommand(): Command {
  return selfCommand(["worker"]);
}

/** The slave of the command `run`. */
export function slaveCommand(args: readonly string[]): Command {
  return selfCommand(["slave", ...args]);
}

/** The environment of such a child. Only a slave is given the token. */
export function childEnvironment(generation: "slave" | "worker"): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env };
  if (generation === "worker") delete environment[tokenVariable];
  environment[generationVariable] = generation;
  environment[parentVariable] = String(process.pid);
  return keepingMemory(environment);
}

/**
 * An environment in which memory that was freed is kept, unless the user said what becomes of it: Bun gives it back
 * after 10 ms, and pays for it anew at every batch: a fifth of the throughput of small jobs.
 */
function keepingMemory(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { [purgeVariable]: "-1", ...environment };
}

/**
 * Begins this process anew as one that keeps freed memory, which takes some 40 ms, once: for a slave that was started by
 * hand. Only the compiled binary does; where the user said what becomes of memory, or it cannot, it returns.
 *
 * @param argv The words of this process behind the program's name; if they are others, another program calls this one.
 * @param tokenText What was taken out of the environment.
 */
export function beginKeepingMemory(argv: readonly string[], tokenText: string | undefined): void {
  const { execve, argv0, execPath, env, platform, versions } = process;
  const isOwn = isCompiled(process.argv[1] ?? "", execPath) &&
    argv.join("\0") === process.argv.slice(2).join("\0");
  if (!isOwn || env[purgeVariable] !== undefined || versions.bun === undefined || platform === "win32") {
    return;
  }
  const token = tokenText === undefined ? {} : { [tokenVariable]: tokenText };
  try {
    execve?.call(process, execPath, [argv0, ...argv], keepingMemory({ ...env, ...token }));
  } catch {
    // It goes on as it is, and slower.
  }
}

/**
 * What this process was started as, and by which process. Takes both out of the environment, so that a plugin may
 * start this program anew; ask once, at the start.
 */
export function takeGeneration(): Readonly<{ generation: Generation; parentPid: number }> {
  const generation = process.env[generationVariable];
  const parentPid = Number(process.env[parentVariable] ?? process.ppid);
  delete process.env[generationVariable];
  delete process.env[parentVariable];
  const isChild = generation === "slave" || generation === "worker";
  return { generation: isChild ? generation : "first", parentPid };
}

/** A worker whose entry script came out as another program would start slaves, and so itself, for ever. */
export function refuseWithinWorker(): void {
  if (process.env[generationVariable] !== "worker") return;
  throw new Error(
    "Cannot start a slave: this process was started as a worker of one. " +
      "Start slaves where a worker does not come by, or by the command `taskmaster slave`.",
  );
}

/** Bun's and Deno's compiled binaries hold the entry script in a file system of their own. */
function isCompiled(script: string, command: string): boolean {
  if (script.startsWith("/$bunfs/") || /^[A-Z]:[\\/]~BUN[\\/]/i.test(script)) return true;
  return process.versions.deno !== undefined && !/^deno(\.exe)?$/i.test(basename(command));
}
