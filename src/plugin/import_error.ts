import { describeError, isOwnFrame } from "./describe_error.ts";

/**
 * Why `import()` of a plugin failed, as one sentence, with file, line and column where the runtime says them,
 * and with what to do about a missing package.
 */
export function describeImportError(error: unknown): string {
  const errors = errorsOf(error);
  const { message, stack } = describeError(errors[0]);
  const text = named(message.trimEnd());
  const place = placeOf(errors[0]) ?? placeInStack(stack);
  const isPlaced = place === undefined || /:\d+:\d+/.test(text);
  const where = isPlaced ? "" : ` at ${place}`;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : "";
  return `${text.replace(/\.$/, "")}${where}${more}.${adviceFor(text)}`;
}

/** The calls in the plugin that led to what its code threw while it was loaded, a line each; none if the sentence says as much. */
export function importFrames(error: unknown): readonly string[] {
  const { message, stack } = describeError(errorsOf(error)[0]);
  if (adviceFor(message) !== "") return [];
  const frames = stack.split("\n").filter((line) => /^\s+at .*:\d+:\d+\)?$/.test(line) && !isOurs(line));
  return frames.length > 1 ? frames : [];
}

/** Bun throws several syntax errors of a file as one AggregateError. */
function errorsOf(error: unknown): readonly unknown[] {
  const errors = (error as { errors?: unknown } | null)?.errors;
  return Array.isArray(errors) && errors.length > 0 ? errors : [error];
}

/** Without the class names that only one runtime has: Bun's two, and Deno's TypeError around the real one. */
function named(message: string): string {
  return message
    .replace(/^BuildMessage: /, "SyntaxError: ")
    .replace(/^ResolveMessage: /, "")
    .replace(/^TypeError: (?=SyntaxError: |Import "|Module not found )/, "");
}

/** Bun's BuildMessage carries its place as an object; a ResolveMessage names the importer in its message. */
function placeOf(error: unknown): string | undefined {
  const { position } = (error ?? {}) as {
    position?: { file?: unknown; line?: unknown; column?: unknown } | null;
  };
  if (typeof position?.file !== "string" || position.file === "") return undefined;
  return `${position.file}:${position.line}:${position.column}`;
}

/** Node names the place of a syntax error in the stack's first line, all others in the first frame. */
function placeInStack(stack: string): string | undefined {
  for (const line of stack.split("\n")) {
    const place = /(?:file:\/\/)?((?<![\w:])\/[^\s():]+|\b[A-Za-z]:[\\/][^\s():]+)(:\d+(?::\d+)?)/.exec(line);
    if (place !== null && !isOurs(line)) return `${place[1]}${place[2]}`;
  }
  return undefined;
}

/** A frame of the runtime, or of this program: where the import began, not where it failed. */
function isOurs(frame: string): boolean {
  return isOwnFrame(frame) || /node:internal/.test(frame);
}

function adviceFor(message: string): string {
  if (!/cannot find (module|package)|not a dependency|module not found/i.test(message)) return "";
  return " Packages that a plugin imports must be installed beside it (`npm install <name>` in its folder); " +
    `its relative imports must be copied with it${
      process.versions.bun === undefined
        ? "; `paths` of a tsconfig.json are read by Bun and the compiled binary alone"
        : ""
    }.`;
}
