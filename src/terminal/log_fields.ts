import { printable, printableLines } from "../base/printable.ts";

/** Names that the logger itself writes. */
const reserved: readonly string[] = ["level", "time", "msg"];

/** Fields of a log line, each safe to show: foreign text escaped and cut, nothing deep, nothing long. */
export function printableFields(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [fieldName(name), printableValue(value)]),
  );
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
