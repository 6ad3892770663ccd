import pino from "pino";
import { prettyFactory } from "pino-pretty";
import { isoTime } from "../base/clock.ts";
import type { Log, LogLevel } from "../base/log.ts";
import { printable } from "../base/printable.ts";
import { printableFields } from "./log_fields.ts";

export type LoggerOptions = Readonly<{
  level: LogLevel;
  format: "text" | "json";
  colours: boolean;
  /** Takes a finished line, without its line break. */
  write: (line: string) => void;
}>;

/** Longest message: our own sentences may be longer than foreign text, which is cut where it comes in. */
const messageCharsMax = 1_000;

/** Leveled lines for a person, or JSON lines for a collector. In process: pino's transports need files of their own. */
export function makeLog({ level, format, colours, write }: LoggerOptions): Log {
  const pretty = prettyFactory({
    colorize: colours,
    singleLine: true,
    translateTime: "SYS:HH:MM:ss",
    ignore: "pid,hostname",
    customColors: "info:blue",
    // an error is text like any other by now
    errorLikeObjectKeys: [],
  });
  const logger = pino(
    {
      level,
      base: null,
      timestamp: () => `,"time":"${isoTime()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (json: string) => write((format === "json" ? json : pretty(json)).trimEnd()) },
  );
  return (at, message, fields) =>
    logger[at](fields === undefined ? {} : printableFields(fields), printable(message, messageCharsMax));
}
