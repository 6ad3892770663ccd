import type { LogLevel } from "../base/log.ts";

/** `ctx.log` of a handler as plain lines on stderr, where no other logger was given. */
export function stderrLog(
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
): void {
  if (level === "debug") return;
  const tail = fields === undefined || Object.keys(fields).length === 0 ? "" : ` ${safeJson(fields)}`;
  process.stderr.write(`${level} ${message}${tail}\n`);
}

function safeJson(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields);
  } catch {
    return "(fields that cannot be shown)";
  }
}
