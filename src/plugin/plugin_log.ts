import type { Log, LogLevel } from "../base/log.ts";
import { describeError, withoutOwnFrames } from "./describe_error.ts";
import type { PluginLog } from "./types.ts";

/** The `ctx.log` of a plugin: one function a level, over the program's log. Of a stack only the plugin's own frames are shown. */
export function pluginLog(log: Log): PluginLog {
  const at = (level: LogLevel): PluginLog["info"] => (message: unknown, fields) =>
    log(level, textOf(message), fields && withoutOwn(fields));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** An error is shown with its stack. */
function textOf(message: unknown): string {
  if (!(message instanceof Error)) return withoutOwnFrames(String(message));
  const { message: text, stack } = describeError(message);
  return stack === "" ? text : stack;
}

/** Stacks stand in fields, too. */
function withoutOwn(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!Object.values(fields).some((value) => typeof value === "string" && value.includes("\n"))) {
    return fields;
  }
  return Object.fromEntries(
    Object.entries(fields).map((
      [name, value],
    ) => [name, typeof value === "string" ? withoutOwnFrames(value) : value]),
  );
}
