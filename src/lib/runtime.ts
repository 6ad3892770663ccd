import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { ConnectError } from "./errors.ts";
import { printable } from "./text.ts";

/** The release: printed by `--version` and sent to the peer. A test keeps it equal to package.json. */
export const version = "0.1.0";

/** Permissions that this program and its children need under Deno. */
const denoPermissions: readonly string[] = ["env", "net", "read", "run", "sys", "write"];
/** The same as flags, for messages. */
const denoFlagsNeeded: string = denoPermissions.map((name) => `--allow-${name}`).join(" ");

/** Deno's permission query. For a permission granted only in part it does not report "granted". */
type Deno = Readonly<{
  permissions: { querySync(permission: { name: string; command?: string }): { state: string } };
}>;

const deno = (globalThis as { Deno?: Deno }).Deno;

/**
 * Passes the program's name as it was typed through the shell that restarts it, with the id of the process it is meant
 * for.
 */
const typedVariable = "TASKMASTER_TYPED";
let typedName: string | null = null;

/** The environment for restarting this process through a shell, which loses the name it was typed by. */
export function withTypedName(environment: NodeJS.ProcessEnv, name: string): NodeJS.ProcessEnv {
  return { ...environment, [typedVariable]: `${process.pid}:${name}` };
}

/** Reads that variable and removes it from the environment. */
export function takeTypedName(): void {
  const value = process.env[typedVariable];
  delete process.env[typedVariable];
  const own = `${process.pid}:`;
  if (value?.startsWith(own)) typedName = value.slice(own.length);
}

/** Cached, because Deno may need a child process to read it; undefined until read. */
let commandLine: readonly string[] | null | undefined;

/**
 * The words of the command line before the program's own arguments: `deno run -A mod.ts`, `./dist/taskmaster`. Null if
 * the system does not provide them: that takes `/proc`.
 */
export function startWords(args: readonly string[] = process.argv.slice(2)): readonly string[] | null {
  commandLine ??= readCommandLine();
  if (commandLine === null) return null;
  return wordsBefore(args, typedName === null ? commandLine : commandLine.with(0, typedName));
}

/**
 * The words before `args`; null if `line` does not end with `args`, because a process can change what the system shows.
 */
export function wordsBefore(args: readonly string[], line: readonly string[]): readonly string[] | null {
  const count = line.length - args.length;
  return count > 0 && args.every((word, at) => line[count + at] === word) ? line.slice(0, count) : null;
}

function readCommandLine(): readonly string[] | null {
  const path = `/proc/${process.pid}/cmdline`;
  try {
    return parseCommandLine(readFileSync(path, "utf8"));
  } catch {
    return deno === undefined || process.platform !== "linux" ? null : readBeside(path);
  }
}

/** Deno reads files of `/proc` only with all permissions, but a child process can be given them. */
function readBeside(path: string): readonly string[] | null {
  const code = `Deno.stdout.writeSync(Deno.readFileSync(${JSON.stringify(path)}))`;
  try {
    const { status, stdout } = spawnSync(process.execPath, ["eval", "--no-config", "--no-lock", code], {
      encoding: "utf8",
      timeout: 10_000,
    });
    return status === 0 ? parseCommandLine(stdout) : null;
  } catch {
    return null;
  }
}

function parseCommandLine(text: string): readonly string[] {
  return text.split("\0").slice(0, -1);
}

/** Flags that would change what a child does, or fetch its modules again at each start. */
const flagsNotForChildren = /^(?:--inspect|--watch|--coverage|--cpu-prof|--reload|-r(?:=|$))/;

/**
 * Flags of `deno run` for a child: those of this process, so that the child has the same import map and the same
 * permissions. If they are unknown, one flag for each permission granted as a whole.
 */
export function denoFlags(
  words: readonly string[] | null = startWords(),
  isAllowed: (permission: string) => boolean = allowed,
): readonly string[] {
  const flags = words === null ? null : flagsIn(words);
  if (flags !== null) return flags.filter((flag) => !flagsNotForChildren.test(flag));
  const all = [...denoPermissions, "ffi", "import"];
  const granted = all.filter(isAllowed);
  return granted.length === all.length ? ["-A"] : granted.map((name) => `--allow-${name}`);
}

/** The flags between `deno run` and the script; null for another command, such as `deno test`. */
function flagsIn(words: readonly string[]): readonly string[] | null {
  const between = words.slice(1, -1);
  const at = between.indexOf("run");
  if (at < 0) return between.every((word) => word.startsWith("-")) ? between : null;
  return between.slice(0, at).every((word) => word.startsWith("-")) ? between.toSpliced(at, 1) : null;
}

function allowed(name: string): boolean {
  return deno?.permissions.querySync({ name }).state === "granted";
}

/**
 * Fails early if this process can never start a child process.
 *
 * @throws {ConnectError} if Deno does not permit it and nobody can be asked.
 */
export function refuseWithoutChildren(): void {
  if (deno === undefined) return;
  const { state } = deno.permissions.querySync({ name: "run", command: process.execPath });
  if (state === "granted" || (state === "prompt" && process.stdin.isTTY)) return;
  throw new ConnectError(
    "Cannot start worker processes: Deno was started without --allow-run, or with one that does not name " +
      `${process.execPath}. Give it ${denoFlagsNeeded}, or -A; workers have the same, and no more.`,
  );
}

/** Advice if Deno denied a permission; undefined for any other error. */
export function describeDenied(error: unknown): string | undefined {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  if (name !== "NotCapable") return undefined;
  const what = printable(String(message).replace(/, run again with the --allow-[\w-]+ flag$/, ""));
  return `Deno does not allow what this program needs: ${what}. Give it ${denoFlagsNeeded}, or -A.`;
}

/** Whether this process is the compiled binary; otherwise a runtime runs the source. */
export function isBinary(): boolean {
  return isCompiled(process.argv[1] ?? "", process.execPath);
}

/** Compiled binaries of Bun and Deno hold the entry script in a virtual file system. */
function isCompiled(script: string, command: string): boolean {
  if (script.startsWith("/$bunfs/") || /^[A-Z]:[\\/]~BUN[\\/]/i.test(script)) return true;
  return process.versions.deno !== undefined && !/^deno(\.exe)?$/i.test(basename(command));
}

/** The part of `process` that describes its environment; `process` itself fits. */
type Surroundings = Readonly<{
  env: Readonly<Record<string, string | undefined>>;
  versions: Readonly<Record<string, string | undefined>>;
  getBuiltinModule?: (name: string) => unknown;
}>;

/**
 * Variables that make Node or Bun run as a different program, or pass on resources of the parent. A child with them
 * would be a different program, or wait for a debugger or a channel that does not exist.
 */
const notForChildren: readonly string[] = [
  "NODE_UNIQUE_ID",
  "NODE_CHANNEL_FD",
  "NODE_CHANNEL_SERIALIZATION_MODE",
  "BUN_INTERNAL_IPC_FD",
  "BUN_BE_BUN",
  "BUN_OPTIONS",
  "BUN_INSPECT",
  "BUN_INSPECT_CONNECT_TO",
  "BUN_INSPECT_NOTIFY",
  "BUN_INSPECT_PRELOAD",
];

/** The environment for a child, without the variables that would change what it is. */
export function forChild(environment: Readonly<NodeJS.ProcessEnv>): NodeJS.ProcessEnv {
  const kept = { ...environment };
  for (const name of notForChildren) delete kept[name];
  const { NODE_OPTIONS: options } = kept;
  // With --inspect-brk a child would wait for a debugger for ever.
  if (options !== undefined) kept["NODE_OPTIONS"] = options.replace(/(^|\s)--inspect\S*/g, "$1").trim();
  return kept;
}

/**
 * Why this process cannot be the program it is meant to be, as a sentence; null if it can.
 *
 * @param isCompiled Whether it is a compiled binary, whose arguments Bun must not interpret.
 */
export function changedBy(
  { env, versions, getBuiltinModule }: Surroundings,
  isCompiled: boolean,
): string | null {
  if (env["NODE_UNIQUE_ID"] !== undefined || isClusterWorker(versions, getBuiltinModule)) {
    return "NODE_UNIQUE_ID is set, which makes this process a worker of a Node cluster: it cannot listen by itself. " +
      unset("NODE_UNIQUE_ID");
  }
  if (isCompiled && (env["BUN_OPTIONS"] ?? "") !== "") {
    return `BUN_OPTIONS is set, which changes what this program is. ${unset("BUN_OPTIONS")}`;
  }
  return null;
}

/** Node removes the variable before any program can see it, so ask the cluster module. */
function isClusterWorker(
  { bun, deno }: Surroundings["versions"],
  load: Surroundings["getBuiltinModule"],
): boolean {
  if (bun !== undefined || deno !== undefined || load === undefined) return false;
  return (load("node:cluster") as { isWorker?: boolean } | undefined)?.isWorker === true;
}

function unset(name: string): string {
  return `Unset it, as by \`env -u ${name} taskmaster ...\`.`;
}

/** What a process of this program does: `run` is a master that starts a slave. */
export type ProcessRole = "master" | "slave" | "worker";

type Variables = Readonly<Record<string, string>>;

/**
 * Delays Bun's last compiler (FTL): its threshold is 1,000,000 instead of 100,000 counts, of which a call has 15 and a
 * loop iteration 1. Compiling one of our functions takes 10 to 70 ms. Code that runs once a job reaches the threshold
 * within a second if jobs are so small that it matters. Code that runs once a batch would, with the default, take a
 * fifth of two cores for eight seconds in each of three processes. With 3,000,000 a master with 10,000 messages a
 * second was slow for 20 s.
 */
const compileLater: Variables = { BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "1000000" };

/**
 * How long freed memory is kept before it is returned to the system. Bun's default is 10 ms, so that every batch would
 * pay for new memory.
 */
const purgeAfter = (ms: number): Variables => ({ MIMALLOC_PURGE_DELAY: String(ms) });

/**
 * Variables that Bun reads at start. Slaves and workers keep freed memory; a master keeps it for a second only, because
 * its memory is promised to be small.
 */
const settings: Readonly<Record<ProcessRole, Variables>> = {
  master: { ...purgeAfter(1_000), ...compileLater },
  slave: { ...purgeAfter(-1), ...compileLater },
  worker: { ...purgeAfter(-1), ...compileLater },
};

/** The role, and the names of the variables that the user did not set: `slave:NAME,NAME`. */
const tunedVariable = "TASKMASTER_TUNED";

/** The variables of a role, before the user's own are considered. */
export function settingsOf(role: ProcessRole): Variables {
  return settings[role];
}

/** The environment with the variables of a role, except those that the user has set. */
export function tuned(environment: Readonly<NodeJS.ProcessEnv>, role: ProcessRole): NodeJS.ProcessEnv {
  const users = { ...environment };
  for (const name of namesOf(environment)) delete users[name];
  const own = Object.entries(settings[role]).filter(([name]) => users[name] === undefined);
  const marker = `${role}:${own.map(([name]) => name).join()}`;
  return { ...users, ...Object.fromEntries(own), [tunedVariable]: marker };
}

/** Whether a process with this environment was started with the variables of this role. */
export function isTuned(environment: Readonly<NodeJS.ProcessEnv>, role: ProcessRole): boolean {
  return environment[tunedVariable]?.startsWith(`${role}:`) === true;
}

/**
 * Removes these variables from `process.env` once they have taken effect, so that programs started by a plugin do not
 * inherit them. Programs started by `Bun.spawn` without `env` still do: they get the environment of the start.
 */
export function forgetTuning(): void {
  for (const name of namesOf(process.env)) delete process.env[name];
}

/** The names that `tuned` added. The marker is not trusted: only names of known variables are returned. */
function namesOf(environment: Readonly<NodeJS.ProcessEnv>): readonly string[] {
  const marker = environment[tunedVariable];
  if (marker === undefined) return [];
  const named = marker.slice(marker.indexOf(":") + 1).split(",");
  return [tunedVariable, ...Object.keys(settings.worker).filter((name) => named.includes(name))];
}

/** Bytes of new buffers between two queries of the runtime: a query costs about 12 us. */
const askBytes = 1 << 20;
/** Growth of buffers that never triggers a collection. A collection takes 4 to 14 ms, more if all cores are busy. */
const growthBytesMin = 6 << 20;

/** What is needed of the runtime. */
interface Collector {
  /**
   * `arrayBuffers`: bytes of all buffers not collected yet, dead or alive. `heapUsed`: those and all other objects.
   */
  memoryUsage(): Readonly<{ arrayBuffers: number; heapUsed: number }>;
  /** Collects all garbage before it returns. Its duration grows with the number of live objects. */
  collect(): void;
}

/**
 * Triggers collections before many dead buffers pile up. Bun's collector looks at young objects first, and jobs that
 * waited in a buffer are no longer young: by itself it lets dead buffers grow to twice the size of live ones.
 */
export class DeadBuffers {
  readonly #collector: Collector | null;
  /** Bytes of new buffers since the last query. */
  #madeBytes = 0;
  /** Smallest size of all buffers since the last collection: an estimate of the live ones. */
  #leftBytes = 0;

  constructor(collector: Collector | null = bunCollector()) {
    this.#collector = collector;
  }

  /** Call when buffers of `bytes` were made, which will become garbage later. */
  made(bytes: number): void {
    this.#madeBytes += bytes;
    if (this.#madeBytes < askBytes || this.#collector === null) return;
    this.#madeBytes = 0;
    const { arrayBuffers, heapUsed } = this.#collector.memoryUsage();
    this.#leftBytes = Math.min(this.#leftBytes, arrayBuffers);
    // A collection visits all live objects: the more there are, the more garbage it must free to pay off.
    const living = Math.max(this.#leftBytes, heapUsed - arrayBuffers);
    if (arrayBuffers - this.#leftBytes < Math.max(growthBytesMin, living / 2)) return;
    this.#collector.collect();
    this.#leftBytes = this.#collector.memoryUsage().arrayBuffers;
  }
}

/** Bun's collector; null under Deno and Node, where V8 counts the bytes of buffers and needs no help. */
function bunCollector(): Collector | null {
  const jsc = process.getBuiltinModule("bun:jsc") as { fullGC(): void } | undefined;
  if (jsc === undefined) return null;
  // Not `Bun.gc(true)`: that also discards compiled code, and takes three times as long.
  return { memoryUsage: () => process.memoryUsage(), collect: () => jsc.fullGC() };
}
