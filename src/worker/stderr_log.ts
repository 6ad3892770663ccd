import type { LogLevel } from "../base/log.ts";
import { printableLines } from "../base/printable.ts";

/** Longest message with its fields. */
const lineCharsMax = 10_000;

/** `ctx.log` of a handler as plain lines on stderr, where no other logger was given. */
export function stderrLog(
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
): void {
  if (level === "debug") return;
  const tail = fields === undefined || Object.keys(fields).length === 0 ? "" : ` ${fieldsJson(fields)}`;
  process.stderr.write(`${level} ${printableLines(`${message}${tail}`, lineCharsMax).join("\n    ")}\n`);
}

function fieldsJson(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields);
  } catch {
    return "(fields that cannot be shown)";
  }
}
