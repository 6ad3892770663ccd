import { basename, delimiter, dirname, join, relative } from "node:path";
import { denoFlags, isBinary, startWords } from "../lib/runtime.ts";
import { shellQuote } from "../terminal/text_width.ts";
import type { CommandLine, Invocation } from "./command.ts";
import { optionRows } from "./options.ts";

/** The path of the compiled binary that runs; undefined when a runtime runs the source. */
export function compiledBinary(): string | undefined {
  return isBinary() ? process.execPath : undefined;
}

/**
 * The words a person types to start this program again, for commands to copy: those that were typed, where the system
 * tells, or what comes close.
 */
export function programWords({ env, argv }: Pick<Invocation, "env" | "argv">): readonly string[] {
  const typed = startWords(argv);
  if (typed !== null) return typed;
  const binary = compiledBinary();
  if (binary !== undefined) return [isOnPath(binary, env) ? basename(binary) : fromHere(binary)];
  const runtime = basename(process.execPath).replace(/\.exe$/, "");
  const entry = fromHere(process.argv[1] ?? "mod.ts");
  return runtime === "deno" ? [runtime, "run", ...denoFlags(), entry] : [runtime, ...process.execArgv, entry];
}

function isOnPath(binary: string, env: Readonly<Record<string, string | undefined>>): boolean {
  return (env["PATH"] ?? "").split(delimiter).some((folder) =>
    folder !== "" && join(folder, basename(binary)) === binary
  );
}

/** The shorter of the path from the current folder and the whole path; a bare name gets its `./`. */
function fromHere(path: string): string {
  const short = relative(process.cwd(), path);
  if (short === "" || short.length >= path.length) return path;
  return dirname(short) === "." ? `./${short}` : short;
}

/** With them a resume would start over, or go on whatever the state is of. */
const onceFlags = optionRows.filter(([, { once }]) => once).map(([name]) => `--${name}`);

/** The command line that goes on with a run: the one that was typed, without the flags that are for one start only. */
export function resumeCommand(program: readonly string[], argv: readonly string[]): string {
  const end = argv.includes("--") ? argv.indexOf("--") : argv.length;
  const kept = argv.filter((word, at) => at >= end || !isDropped(word, argv[at - 1]));
  return shellQuote([...program, ...kept]);
}

/** `--reset`, `--reset=true`, and the `true` of `--reset true`. */
function isDropped(word: string, before = ""): boolean {
  return onceFlags.includes(word.replace(/=.*$/s, "")) ||
    (onceFlags.includes(before) && /^(?:true|false)$/.test(word));
}

/** The command line that shows the dead letters of a run that was started with this one. */
export function deadCommand(program: readonly string[], { words, flags }: CommandLine): string {
  const [plugin = ""] = words;
  const place = (["key", "state-dir"] as const).flatMap((name) =>
    flags[name] === undefined ? [] : [`--${name}=${flags[name]}`]
  );
  return shellQuote([...program, "dead", plugin.startsWith("-") ? `./${plugin}` : plugin, ...place]);
}
