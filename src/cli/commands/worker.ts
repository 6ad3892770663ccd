import type { Log, LogSettings } from "../../lib/log.ts";
import { Foreground, lineOverStatus } from "../../terminal/screen.ts";
import { runWorker } from "../../worker/main.ts";
import { redirectConsole } from "../plugin_console.ts";

/** The hidden `worker`: runs handlers for the slave that started it, and never returns. */
export async function workerProgram(parentPid: number): Promise<never> {
  // On a terminal, the slave's status stands where the next line goes, if the slave is not in the background.
  const { isForeground } = new Foreground(parentPid);
  const writeLine = (line: string) => lineOverStatus(process.stderr, line, isForeground);
  if (process.stderr.isTTY) redirectConsole(writeLine);
  runWorker({ parentPid, log: (how) => lateLog(how ?? plain, writeLine) });
  return await new Promise<never>(() => {});
}

/** Where a slave that is no program of ours says nothing of it. */
const plain: LogSettings = { level: "info", format: "text", isQuiet: false };

/**
 * The logger, loaded while the worker connects: it would cost a third of the start. What is logged before is kept.
 */
function lateLog(how: LogSettings, writeLine: (line: string) => void): Log {
  const kept: Parameters<Log>[] = [];
  let log: Log = (...line) => kept.push(line);
  void import("../../terminal/logger.ts").then(({ makeLog }) => {
    log = makeLog({ ...how, colours: false, write: writeLine });
    for (const line of kept) log(...line);
  });
  return (...line) => log(...line);
}
