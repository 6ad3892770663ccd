import { basename, delimiter, dirname, join, relative } from "node:path";
import { selfCommand } from "../slave/self.ts";

/** The path of the compiled binary that runs; undefined when a runtime runs the source. */
export function compiledBinary(): string | undefined {
  // A runtime needs to be told what to run.
  const { command, args } = selfCommand([]);
  return args.length === 0 ? command : undefined;
}

/** The words a person types to start this program again, as it was started: for commands to copy. */
export function programWords(env: Readonly<Record<string, string | undefined>>): string[] {
  const binary = compiledBinary();
  if (binary !== undefined) return [isOnPath(binary, env) ? basename(binary) : fromHere(binary)];
  const runtime = basename(process.execPath).replace(/\.exe$/, "");
  const entry = fromHere(process.argv[1] ?? "mod.ts");
  return runtime === "deno" ? [runtime, "run", "-A", entry] : [runtime, entry];
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
