import type { Log, LogLevel } from "../base/log.ts";
import { Foreground, lineOverStatus } from "../terminal/screen.ts";
import { redirectConsole } from "./plugin_console.ts";
import { runWorker } from "../worker/main.ts";

/** The hidden `worker`: runs handlers for the slave that started it, and never returns. */
export async function workerProgram(parentPid: number): Promise<never> {
  // On a terminal, the slave's status stands where the next line goes, if the slave is not in the background.
  const { isForeground } = new Foreground(parentPid);
  const writeLine = (line: string) => lineOverStatus(process.stderr, line, isForeground);
  if (process.stderr.isTTY) redirectConsole(writeLine);
  runWorker({ parentPid, log: lateLog(writeLine) });
  return await new Promise<never>(() => {});
}

/**
 * The logger, loaded while the worker connects: it would cost a third of the start. What is logged before is kept.
 */
function lateLog(writeLine: (line: string) => void): Log {
  const { TASKMASTER_LOG_LEVEL: level, TASKMASTER_LOG_FORMAT: format } = process.env;
  const kept: Parameters<Log>[] = [];
  let log: Log = (...line) => kept.push(line);
  void import("../terminal/logger.ts").then(({ makeLog }) => {
    log = makeLog({
      level: (level ?? "info") as LogLevel,
      format: format === "json" ? "json" : "text",
      colours: false,
      write: writeLine,
    });
    for (const line of kept) log(...line);
  });
  return (...line) => log(...line);
}
