import pino from "pino";
import { prettyFactory } from "pino-pretty";
import { isoTime, timeOfDay } from "../lib/clock.ts";
import type { Log, LogSettings } from "../lib/log.ts";
import { printable, printableLines } from "../lib/text.ts";

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

export type LoggerOptions =
  & LogSettings
  & Readonly<{
    colours: boolean;
    /** Takes a finished entry, without its last line break: one line, and those of a stack below it. */
    write: (text: string) => void;
  }>;

/** Longest message: our own sentences may be longer than foreign text, which is cut where it comes in. */
const messageCharsMax = 1_000;
/** Before the lines of a stack, so that none can pass for a line of the log. */
const indent = "    ";

/** Leveled lines for a person, or JSON lines for a collector. In process: pino's transports need files of their own. */
export function makeLog({ level, format, isQuiet, colours, write }: LoggerOptions): Log {
  const pretty = prettyFactory({
    colorize: colours,
    singleLine: true,
    // its own clock is the plugin's
    customPrettifiers: { time: () => `[${timeOfDay()}]` },
    customColors: "info:blue",
    // an error is text like any other by now
    errorLikeObjectKeys: [],
  });
  /** Lines below the entry that is being written. */
  let below = "";
  const logger = pino(
    {
      level: isQuiet && level !== "error" ? "warn" : level,
      base: null,
      timestamp: () => `,"time":"${isoTime()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    {
      write: (json: string) =>
        write(format === "json" ? json.trimEnd() : `${pretty(json).trimEnd()}${below}`),
    },
  );
  return (at, message, given) => {
    if (!logger.isLevelEnabled(at)) return;
    const lines = printableLines(message, messageCharsMax);
    const fields = given === undefined ? {} : printableFields(given);
    if (format === "json") return logger[at](fields, lines.join("\n"));
    const entry = forPeople(lines, fields);
    below = entry.below;
    logger[at](entry.line);
  };
}

/**
 * Fields stand behind the message, as pino-pretty does not print those that it knows (`pid`, `name`); stacks stand
 * below.
 */
function forPeople(
  [first, ...stack]: readonly string[],
  fields: Readonly<Record<string, unknown>>,
): { line: string; below: string } {
  const isStack = (value: unknown): value is string => typeof value === "string" && value.includes("\n");
  const short = Object.fromEntries(Object.entries(fields).filter(([, value]) => !isStack(value)));
  const long = Object.entries(fields).flatMap(([name, value]) =>
    isStack(value) ? `${name}: ${value}`.split("\n") : []
  );
  const line = Object.keys(short).length === 0 ? first! : `${first} ${JSON.stringify(short)}`;
  return { line, below: [...stack, ...long].map((text) => `\n${indent}${text}`).join("") };
}
