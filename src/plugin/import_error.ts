import { describeError } from "./describe_error.ts";

/**
 * Why `import()` of a plugin failed, as one sentence, with file, line and column where the runtime says them,
 * and with what to do about a missing package.
 */
export function describeImportError(error: unknown): string {
  const { message, stack } = describeError(error);
  const place = placeOf(error) ?? placeInStack(stack);
  const where = place === undefined || message.includes(place) ? "" : ` at ${place}`;
  return `${message.trimEnd()}${where}.${adviceFor(message)}`;
}

/** Bun's BuildMessage and ResolveMessage carry their place as an object. */
function placeOf(error: unknown): string | undefined {
  const position = (error as { position?: unknown } | null)?.position as
    | { file?: unknown; line?: unknown; column?: unknown }
    | null
    | undefined;
  if (typeof position?.file !== "string" || position.file === "") return undefined;
  return `${position.file}:${position.line}:${position.column}`;
}

/** Node and V8 name the place of a syntax error in the stack's first line, all others in the first frame. */
function placeInStack(stack: string): string | undefined {
  const frames = stack.split("\n").map((line) =>
    /(?:file:\/\/)?(\/[^\s():]+|[A-Za-z]:[^\s():]+)(:\d+(?::\d+)?)/.exec(line)
  );
  const frame = frames.find((found) => found !== null);
  return frame ? `${frame[1]}${frame[2]}` : undefined;
}

function adviceFor(message: string): string {
  const isMissing = /cannot find (module|package)|not a dependency|module not found/i.test(message);
  if (!isMissing) return "";
  return " Packages that a plugin imports must be installed beside it (`npm install <name>` in its folder); " +
    "its relative imports must be copied with it.";
}
