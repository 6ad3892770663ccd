import { dirname } from "node:path";
import { inspect } from "node:util";
import { errorMessageCharsMax } from "../lib/limits.ts";
import type { Log, LogLevel } from "../lib/log.ts";
import type { PluginLog } from "./types.ts";

/** Most lines of one error's stack. */
const errorStackLinesMax = 50;

/** Most lines of a stack that are read; the rest is ignored. */
const stackLinesReadMax = 1_000;
/** Lines of a stack are cut at this many characters: minified code has lines of megabytes. */
const stackLineCharsMax = 500;

const here = (import.meta.dirname ?? "").replaceAll("\\", "/");
/** The folder of this program's sources. Empty in a bundle, whose folder may also hold code of others. */
const ownSources: readonly string[] = here.endsWith("/src/plugin") ? [`${dirname(here)}/`] : [];
/** Where this program's own code is: in the file system of a compiled binary, or in its sources. */
const ownPaths: readonly string[] = ["/$bunfs/", "/~BUN/", ...ownSources];

/** A thrown value as text: at most 1,000 characters of message, 50 lines of stack. */
type ErrorText = Readonly<{
  message: string;
  /**
   * Starts with the error's name and message, as V8 prints it; empty if there is none. Only the
   * plugin's frames are kept: how this program called the plugin does not help its author.
   */
  stack: string;
}>;

/**
 * Says what was thrown, whatever it was: an Error, a string, a Proxy whose traps throw, an object with a
 * megabyte of message. Never throws.
 */
export function describeError(error: unknown): ErrorText {
  const message = cutMessage(attempt(() => messageOf(error)) ?? "something that cannot be shown was thrown");
  const stack = attempt(() => stackOf(error)) ?? "";
  return { message, stack: cutStack(stack) };
}

function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function messageOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return nonErrorText(error);
  const { name, message, errors } = error as { name?: unknown; message?: unknown; errors?: unknown };
  if (typeof message !== "string") return nonErrorText(error);
  // A connection that failed at several addresses is an AggregateError without a message.
  if (message === "" && Array.isArray(errors) && errors.length > 0) return messageOf(errors[0]);
  const label = typeof name === "string" && name !== "" ? name : "Error";
  if (message === "") return label;
  return label === "Error" ? message : `${label}: ${message}`;
}

/** `throw "text"` is its own message; other values are shown as they are. */
function nonErrorText(value: unknown): string {
  if (typeof value === "string") return value === "" ? "an empty string was thrown" : value;
  return `${
    inspect(value, { depth: 2, maxArrayLength: 10, maxStringLength: 200, breakLength: Infinity })
  } was thrown`;
}

function stackOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  const { stack, message, cause } = error as { stack?: unknown; message?: unknown; cause?: unknown };
  const text = typeof stack === "string" ? withoutOwnFrames(shortened(stack, message)) : "";
  if (cause === undefined) return text;
  const why = attempt(() => messageOf(cause)) ?? "something that cannot be shown";
  return `${text}\nCaused by: ${why.slice(0, stackLineCharsMax)}`;
}

/** Keeps only the first line of the message in a stack, which leaves room for the frames after it. */
function shortened(stack: string, message: unknown): string {
  if (typeof message !== "string" || !message.includes("\n")) return stack;
  return stack.replace(message, () => message.slice(0, message.indexOf("\n")));
}

/** `setup failed: no such host`, and the stack below it, without its first line if that repeats the message. */
export function describeThrown(what: string, error: unknown): string {
  const { message, stack } = describeError(error);
  const head = message.split("\n", 1)[0]!.replace(/…$/, "");
  const isHeaded = stack.split("\n", 1)[0]!.endsWith(head);
  const below = isHeaded ? stack.split("\n").slice(1) : stack === "" ? [] : [stack];
  return [`${what}: ${message}`, ...below].join("\n");
}

/** Whether a line of a stack is a call in this program's own code. */
export function isOwnFrame(line: string): boolean {
  if (!isFrame(line)) return false;
  const path = line.replaceAll("\\", "/");
  return ownPaths.some((own) => path.includes(own));
}

function isFrame(line: string): boolean {
  return /^\s*at /.test(line);
}

/** Whether a line of a stack is a call in the runtime's code. */
function isRuntimeFrame(line: string): boolean {
  return /^\s*at .*(?:\b(?:node|ext|bun|internal):|\(?native\b|\(unknown\)|<anonymous>\)?$)/.test(line);
}

/** Whether a stack has a frame of the plugin's code. */
export function hasPluginFrames(stack: string): boolean {
  return stack.split("\n", stackLinesReadMax).some(isPluginFrame);
}

function isPluginFrame(line: string): boolean {
  return isFrame(line) && !isOwnFrame(line) && !isRuntimeFrame(line);
}

/**
 * A stack, or a text with one in it, without the frames of this program, and of the runtime where it called that. An
 * error that this program made, and that has no frame of the plugin, keeps all: it is a fault of ours.
 */
export function withoutOwnFrames(stack: string): string {
  if (!stack.includes("\n")) return stack;
  const all = stack.split("\n", stackLinesReadMax);
  const kept: string[] = [];
  let isKeptFrom = 0;
  const dropRuntime = () => {
    while (kept.length > isKeptFrom && isRuntimeFrame(kept.at(-1)!)) kept.pop();
    isKeptFrom = kept.length;
  };
  for (const line of all) {
    if (isOwnFrame(line)) dropRuntime();
    else kept.push(line);
  }
  // Drops the runtime's frames that led to the plugin.
  if (kept.length < all.length || kept.some(isPluginFrame)) dropRuntime();
  const first = all.find(isFrame);
  const isOurs = !kept.some(isFrame) && first !== undefined && isOwnFrame(first);
  return isOurs || kept.length === all.length ? stack : kept.join("\n");
}

function cutMessage(message: string): string {
  if (message.length <= errorMessageCharsMax) return wellFormed(message);
  return wellFormed(`${message.slice(0, errorMessageCharsMax - 1)}…`);
}

function cutStack(stack: string): string {
  const lines: string[] = [];
  for (let from = 0; from < stack.length && lines.length < errorStackLinesMax;) {
    const end = stack.indexOf("\n", from);
    const to = end < 0 ? stack.length : end;
    lines.push(stack.slice(from, Math.min(to, from + stackLineCharsMax)));
    from = to + 1;
  }
  return wellFormed(lines.join("\n"));
}

/** Replaces lone surrogates, which UTF-8 cannot encode. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

/**
 * The `ctx.log` of a plugin: one function for each level, writing to the program's log. Stacks show only the plugin's
 * frames.
 */
export function pluginLog(log: Log): PluginLog {
  const at = (level: LogLevel): PluginLog["info"] => (message: unknown, fields) =>
    log(level, textOf(message), fields && withoutOwn(fields));
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** The text of a logged value; an error is shown with its stack. */
function textOf(message: unknown): string {
  if (!(message instanceof Error)) return withoutOwnFrames(String(message));
  const { message: text, stack } = describeError(message);
  return stack === "" ? text : stack;
}

/** Removes this program's frames from fields whose values are stacks. */
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
