import { printable } from "../base/printable.ts";

/** Names that the logger itself writes. */
const reserved: readonly string[] = ["level", "time", "msg"];
/** Most lines of a stack, and the longest of them, in characters. */
const linesMax = 60;
const lineCharsMax = 500;

/** Fields of a log line, each safe to show: foreign text escaped and cut, nothing deep, nothing long. */
export function printableFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [fieldName(name), printableValue(value)]),
  );
}

/**
 * A text as the lines it is shown in: one, with line breaks escaped, unless it has a stack in it. Only a stack is worth
 * lines of its own; a line break in a name or a job is somebody's attempt at a line of the log.
 */
export function printableLines(text: string, charsMax?: number): readonly [string, ...string[]] {
  if (!hasStack(text)) return [printable(text, charsMax)];
  const [first = "", ...more] = text.trimEnd().split("\n", linesMax);
  return [printable(first, charsMax), ...more.map((line) => printable(line, lineCharsMax))];
}

/** Whether there are frames in it, as V8 and JavaScriptCore write them. */
function hasStack(text: string): boolean {
  return /\n\s+at \S/.test(text);
}

function fieldName(name: string): string {
  return reserved.includes(name) ? `${name}_` : printable(name, 60);
}

function printableValue(value: unknown): unknown {
  switch (typeof value) {
    case "number":
    case "boolean":
    case "undefined":
      return value;
    case "object":
      return value === null ? null : printable(describe(value));
    default:
      return printableLines(String(value)).join("\n");
  }
}

function describe(value: object): string {
  try {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (value instanceof Uint8Array) return `${value.length} bytes`;
    return JSON.stringify(value, (_, part) => typeof part === "bigint" ? String(part) : part) ?? "";
  } catch {
    // A cycle, or a getter that throws.
    return Object.prototype.toString.call(value);
  }
}
