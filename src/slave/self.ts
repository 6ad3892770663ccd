import { basename } from "node:path";
import { fileURLToPath } from "node:url";

/** How to start a process: a program and its arguments. */
export type Command = Readonly<{ command: string; args: readonly string[] }>;

/** Which kind of child a process was started as; kept from its own children. */
const generationVariable = "TASKMASTER_GENERATION";
/** The process that a child must not outlive. */
const parentVariable = "TASKMASTER_PARENT";
const tokenVariable = "TASKMASTER_TOKEN";
/** Is there where `MIMALLOC_PURGE_DELAY` is ours, and not the user's. */
const purgeVariable = "TASKMASTER_PURGE";
/**
 * Bun gives freed memory back after 10 ms, and pays for it anew at every batch: a fifth of the throughput of small jobs. A
 * supervisor's memory is bounded, and its own for good; a worker's goes back a minute after its handlers let go of it.
 */
const purgeDelays = { slave: "-1", worker: "60000" } as const;

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
  return keepingMemory(environment, generation);
}

/** Bun reads it as a process begins; the others do not. */
function keepingMemory(environment: NodeJS.ProcessEnv, generation: "slave" | "worker"): NodeJS.ProcessEnv {
  if (environment.MIMALLOC_PURGE_DELAY !== undefined) return environment;
  return { ...environment, MIMALLOC_PURGE_DELAY: purgeDelays[generation], [purgeVariable]: "ours" };
}

/**
 * Begins this process anew as one that keeps freed memory, which takes some 40 ms, once: for a slave that was started by
 * hand. Only the compiled binary does, where the user did not say what becomes of memory; else it returns.
 *
 * @param argv The words of this process behind the program's name; if they are others, another program calls this one.
 * @param tokenText What was taken out of the environment.
 */
export function beginKeepingMemory(argv: readonly string[], tokenText: string | undefined): void {
  const { execve, argv0, execPath, env } = process;
  const isOwn = isCompiled(process.argv[1] ?? "", execPath) &&
    argv.join("\0") === process.argv.slice(2).join("\0");
  if (!isOwn || execve === undefined || process.versions.bun === undefined || process.platform === "win32") {
    return;
  }
  const environment = keepingMemory(
    tokenText === undefined ? env : { ...env, [tokenVariable]: tokenText },
    "slave",
  );
  if (environment[purgeVariable] === undefined) return;
  execve.call(process, execPath, [argv0, ...argv], environment);
}

/**
 * What this process was started as, by which process, and whether as one that keeps freed memory. Takes all of it out of
 * the environment, so that a plugin may start this program anew; ask once, at the start.
 */
export function takeGeneration(): Readonly<
  { generation: Generation; parentPid: number; keepsMemory: boolean }
> {
  const generation = process.env[generationVariable];
  const parentPid = Number(process.env[parentVariable] ?? process.ppid);
  delete process.env[generationVariable];
  delete process.env[parentVariable];
  const keepsMemory = process.env[purgeVariable] !== undefined;
  delete process.env[purgeVariable];
  if (keepsMemory) delete process.env["MIMALLOC_PURGE_DELAY"];
  const isChild = generation === "slave" || generation === "worker";
  return { generation: isChild ? generation : "first", parentPid, keepsMemory };
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
