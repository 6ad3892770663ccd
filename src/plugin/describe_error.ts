import { dirname } from "node:path";
import { inspect } from "node:util";
import { errorMessageCharsMax, errorStackLinesMax } from "../base/limits.ts";

/** Longest line of a stack that is kept, in characters: minified code has lines of megabytes. */
const stackLineCharsMax = 500;

/** A thrown value as text: at most 1,000 characters of message, 50 lines of stack. */
export type ErrorText = Readonly<{
  message: string;
  /** Starts with the error's name and message, as V8 prints it; empty if there is none. */
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

/** Where this program's own code is: in the compiled binary, or in its sources. */
const ownCode = /\/\$bunfs\/|[/\\]~BUN[/\\]/;
const here = import.meta.dirname ?? "";
/** Not where a bundle happens to be. */
const ownFolder: string = /[/\\]src[/\\]plugin$/.test(here) ? dirname(here) : "";

/** A frame of the runtime, or of this program: it called the plugin. */
function isOwnFrame(line: string): boolean {
  if (!/^\s*at /.test(line)) return false;
  return ownCode.test(line) || /\b(node|ext|native):|\(native\b/.test(line) ||
    (ownFolder !== "" && line.includes(ownFolder));
}

/** A stack with the plugin's own frames only. */
export function withoutOwnFrames(stack: string): string {
  return stack.split("\n").filter((line) => !isOwnFrame(line)).join("\n");
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
  const text = typeof stack === "string" ? shortened(stack, message) : "";
  if (cause === undefined) return text;
  const why = attempt(() => messageOf(cause)) ?? "something that cannot be shown";
  return `${text}\nCaused by: ${why.slice(0, stackLineCharsMax)}`;
}

/** A message of many lines would leave no room for the frames behind it. */
function shortened(stack: string, message: unknown): string {
  if (typeof message !== "string" || !message.includes("\n")) return stack;
  return stack.replace(message, () => message.slice(0, message.indexOf("\n")));
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

/** With lone surrogates, which no encoding carries, replaced. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
