import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { ConnectError } from "./errors.ts";
import { printable } from "./printable.ts";

/** What this program needs to be allowed under Deno, children included. */
export const denoPermissions: readonly string[] = ["env", "net", "read", "run", "sys", "write"];
/** As flags, for sentences. */
export const denoFlagsNeeded: string = denoPermissions.map((name) => `--allow-${name}`).join(" ");

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
const notForChildren = /^(?:--inspect|--watch|--coverage|--cpu-prof|--reload|-r(?:=|$))/;

/**
 * The flags of `deno run` for a child: those this process was started with, so that it has the same import map and
 * permissions, and no more. Where they are not known, those for what is allowed as a whole.
 */
export function denoFlags(
  words: readonly string[] | null = startWords(),
  isAllowed: (permission: string) => boolean = allowed,
): readonly string[] {
  const flags = words === null ? null : flagsIn(words);
  if (flags !== null) return flags.filter((flag) => !notForChildren.test(flag));
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
