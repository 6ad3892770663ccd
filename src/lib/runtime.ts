import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { ConnectError } from "./errors.ts";
import { printable } from "./text.ts";

/** What `--version` prints, and each side tells the other. Kept equal to package.json by a test. */
export const version = "0.1.0";

/** What this program needs to be allowed under Deno, children included. */
const denoPermissions: readonly string[] = ["env", "net", "read", "run", "sys", "write"];
/** As flags, for sentences. */
const denoFlagsNeeded: string = denoPermissions.map((name) => `--allow-${name}`).join(" ");

/** Deno's permissions, as far as they can be asked for: of a part that is allowed it says nothing. */
type Deno = Readonly<{
  permissions: { querySync(permission: { name: string; command?: string }): { state: string } };
}>;

const deno = (globalThis as { Deno?: Deno }).Deno;

/** Carries the program's name, as it was typed, over the shell that starts it anew; with the process that it is for. */
const typedVariable = "TASKMASTER_TYPED";
let typedName: string | null = null;

/** The environment for this very process to begin anew with, by way of a shell, which drops the name it was typed by. */
export function withTypedName(environment: NodeJS.ProcessEnv, name: string): NodeJS.ProcessEnv {
  return { ...environment, [typedVariable]: `${process.pid}:${name}` };
}

/** Takes that out of the environment again. */
export function takeTypedName(): void {
  const value = process.env[typedVariable];
  delete process.env[typedVariable];
  const own = `${process.pid}:`;
  if (value?.startsWith(own)) typedName = value.slice(own.length);
}

/** Reading it takes a process of its own where Deno does not let this one. */
let commandLine: readonly string[] | null | undefined;

/**
 * The words that started this process, up to the program's own: `deno run -A mod.ts`, `./dist/taskmaster`. Null where
 * the system does not tell: it takes `/proc`.
 */
export function startWords(args: readonly string[] = process.argv.slice(2)): readonly string[] | null {
  commandLine ??= readCommandLine();
  if (commandLine === null) return null;
  return wordsBefore(args, typedName === null ? commandLine : commandLine.with(0, typedName));
}

/** What stands before `args`; null if they are not its end: somebody changed what the system shows. */
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

/** Deno reads files of `/proc` only where all is allowed; a child of its own may be. */
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

/** Flags that would make something else of a child, or fetch its modules anew at each start. */
const flagsNotForChildren = /^(?:--inspect|--watch|--coverage|--cpu-prof|--reload|-r(?:=|$))/;

/**
 * The flags of `deno run` for a child: those this process was started with, so that it has the same import map and
 * permissions, and no more. Where they are not known, those for what is allowed as a whole.
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

/** Between `deno run` and the script; null of another command, such as `deno test`. */
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
 * Refuses to start what could never start a child.
 *
 * @throws {ConnectError} if Deno does not allow it, and nobody is there to be asked.
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

/** What to do where Deno did not allow something; undefined of any other error. */
export function describeDenied(error: unknown): string | undefined {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  if (name !== "NotCapable") return undefined;
  const what = printable(String(message).replace(/, run again with the --allow-[\w-]+ flag$/, ""));
  return `Deno does not allow what this program needs: ${what}. Give it ${denoFlagsNeeded}, or -A.`;
}

/** Whether this process is the compiled binary; else a runtime runs the source. */
export function isBinary(): boolean {
  return isCompiled(process.argv[1] ?? "", process.execPath);
}

/** Bun's and Deno's compiled binaries hold the entry script in a file system of their own. */
function isCompiled(script: string, command: string): boolean {
  if (script.startsWith("/$bunfs/") || /^[A-Z]:[\\/]~BUN[\\/]/i.test(script)) return true;
  return process.versions.deno !== undefined && !/^deno(\.exe)?$/i.test(basename(command));
}

/** What a process is told of itself by its environment; `process` is enough of it. */
type Surroundings = Readonly<{
  env: Readonly<Record<string, string | undefined>>;
  versions: Readonly<Record<string, string | undefined>>;
  getBuiltinModule?: (name: string) => unknown;
}>;

/**
 * Variables by which Node and Bun make another program of this one, or hand a process things of its parent's. None is
 * for a child of ours, which would be another program, or wait for a debugger, or for a channel that is not there.
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

/** The environment for a child of ours: without what would make another program of it. */
export function forChild(environment: Readonly<NodeJS.ProcessEnv>): NodeJS.ProcessEnv {
  const kept = { ...environment };
  for (const name of notForChildren) delete kept[name];
  const { NODE_OPTIONS: options } = kept;
  // With --inspect-brk a child would wait for a debugger, for ever.
  if (options !== undefined) kept["NODE_OPTIONS"] = options.replace(/(^|\s)--inspect\S*/g, "$1").trim();
  return kept;
}

/**
 * Why this process cannot be the program that it is meant to be: a sentence, or null.
 *
 * @param isCompiled Whether it is a compiled binary, whose words Bun is not to read.
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

/** Node takes the variable away before any program could see it. */
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
 * Bun's last compiler (FTL) is asked ten times later than by default, after 1,000,000 counts, of which a call has 15
 * and a turn of a loop 1. It takes 10 to 70 ms for a function of ours. What runs once a job gets there within a second
 * where jobs are so small that it matters; what runs once a batch, in each of three processes, would take a fifth of two
 * cores for eight seconds. Thirty times later, a master with 10,000 messages a second was slow for 20 s.
 */
const compileLater: Variables = { BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "1000000" };

/** Freed memory goes back to the system after so many ms, 10 by default, and is paid for anew at every batch. */
const purgeAfter = (ms: number): Variables => ({ MIMALLOC_PURGE_DELAY: String(ms) });

/**
 * What Bun reads in the environment as a process begins. Slaves and workers keep the memory they freed; a master, whose
 * memory is promised to be small, keeps it for a second.
 */
const settings: Readonly<Record<ProcessRole, Variables>> = {
  master: { ...purgeAfter(1_000), ...compileLater },
  slave: { ...purgeAfter(-1), ...compileLater },
  worker: { ...purgeAfter(-1), ...compileLater },
};

/** A role, and the names of its settings that are not the user's: `slave:NAME,NAME`. */
const tunedVariable = "TASKMASTER_TUNED";

/** What a process of this role begins with, where the user has set none of it: names and values. */
export function settingsOf(role: ProcessRole): Variables {
  return settings[role];
}

/** The environment with the settings of a role, but for those that the user has set. */
export function tuned(environment: Readonly<NodeJS.ProcessEnv>, role: ProcessRole): NodeJS.ProcessEnv {
  const users = { ...environment };
  for (const name of namesOf(environment)) delete users[name];
  const own = Object.entries(settings[role]).filter(([name]) => users[name] === undefined);
  const marker = `${role}:${own.map(([name]) => name).join()}`;
  return { ...users, ...Object.fromEntries(own), [tunedVariable]: marker };
}

/** Whether a process with this environment began with the settings of this role. */
export function isTuned(environment: Readonly<NodeJS.ProcessEnv>, role: ProcessRole): boolean {
  return environment[tunedVariable]?.startsWith(`${role}:`) === true;
}

/**
 * Takes these settings out of `process.env`, where they have done their work, so that programs of a plugin do not find
 * them; but for those that are started by `Bun.spawn` without `env`, which have the environment this process began with.
 */
export function forgetTuning(): void {
  for (const name of namesOf(process.env)) delete process.env[name];
}

/** What `tuned` put there. The marker may have come from anywhere: it names nothing but settings. */
function namesOf(environment: Readonly<NodeJS.ProcessEnv>): readonly string[] {
  const marker = environment[tunedVariable];
  if (marker === undefined) return [];
  const named = marker.slice(marker.indexOf(":") + 1).split(",");
  return [tunedVariable, ...Object.keys(settings.worker).filter((name) => named.includes(name))];
}

/** The runtime is asked after so many bytes, not at each block: an answer costs it some 12 microseconds. */
const askBytes = 1 << 20;
/** Buffers may always grow by so much before a collection, which takes 4 to 14 ms, the more where all cores are busy. */
const growthBytesMin = 6 << 20;

/** What is needed of the runtime. */
interface Collector {
  /** Bytes of all buffers that are not collected yet, dead or alive; `heapUsed` is those and all other objects. */
  memoryUsage(): Readonly<{ arrayBuffers: number; heapUsed: number }>;
  /** Collects all that is dead before it returns. Takes time for each object that lives. */
  collect(): void;
}

/**
 * Has dead buffers collected before there are many. Bun's collector first looks at what is young only, and jobs
 * that waited in a buffer are not young any more: left to itself it lets the dead become twice what lives.
 */
export class DeadBuffers {
  readonly #collector: Collector | null;
  /** Since the runtime was asked. */
  #madeBytes = 0;
  /** Of the buffers, when they were fewest since the last collection: what lives. */
  #leftBytes = 0;

  constructor(collector: Collector | null = bunCollector()) {
    this.#collector = collector;
  }

  /** Buffers of so many bytes were made; they die sooner or later. */
  made(bytes: number): void {
    this.#madeBytes += bytes;
    if (this.#madeBytes < askBytes || this.#collector === null) return;
    this.#madeBytes = 0;
    const { arrayBuffers, heapUsed } = this.#collector.memoryUsage();
    this.#leftBytes = Math.min(this.#leftBytes, arrayBuffers);
    // A collection looks at all that lives: where that is much, the dead must be worth it.
    const living = Math.max(this.#leftBytes, heapUsed - arrayBuffers);
    if (arrayBuffers - this.#leftBytes < Math.max(growthBytesMin, living / 2)) return;
    this.#collector.collect();
    this.#leftBytes = this.#collector.memoryUsage().arrayBuffers;
  }
}

/** Bun's; null under Deno and Node, whose V8 goes by the bytes of buffers and needs no help. */
function bunCollector(): Collector | null {
  const jsc = process.getBuiltinModule("bun:jsc") as { fullGC(): void } | undefined;
  if (jsc === undefined) return null;
  // Not `Bun.gc(true)`: that throws compiled code away too, and takes three times as long.
  return { memoryUsage: () => process.memoryUsage(), collect: () => jsc.fullGC() };
}
