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

function attempt(read: () => string): string | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function messageOf(error: unknown): string {
  if (error === null || (typeof error !== "object" && typeof error !== "function")) {
    return nonErrorText(error);
  }
  const { name, message } = error as { name?: unknown; message?: unknown };
  if (typeof message !== "string") return nonErrorText(error);
  const label = typeof name === "string" ? name : "";
  if (label === "" || label === "Error") return message === "" ? "Error" : message;
  return message === "" ? label : `${label}: ${message}`;
}

/** `throw "text"` is its own message; other values are named with their type. */
function nonErrorText(value: unknown): string {
  if (typeof value === "string") return value === "" ? "an empty string was thrown" : value;
  if (typeof value === "function") return "a function was thrown";
  if (typeof value !== "object" || value === null) return `${String(value)} was thrown`;
  return `${JSON.stringify(value) ?? "an object"} was thrown`;
}

function stackOf(error: unknown): string {
  if (error === null || typeof error !== "object") return "";
  const { stack, cause } = error as { stack?: unknown; cause?: unknown };
  const text = typeof stack === "string" ? stack : "";
  if (cause === undefined) return text;
  const why = attempt(() => messageOf(cause)) ?? "something that cannot be shown";
  return `${text}\nCaused by: ${why.slice(0, stackLineCharsMax)}`;
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
