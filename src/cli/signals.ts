import { setTimeout } from "../lib/clock.ts";
import { TaskmasterError } from "../lib/errors.ts";
import { endProcess, keepListener, programEnded, renewListener } from "../lib/exit_guard.ts";
import type { MasterResult } from "../master/types.ts";

/** What to do about a fault; what it returns is what the process exits with, undefined if it goes on. */
type FaultHandler = (error: unknown) => number | undefined;

/**
 * Faults in what nobody waits for, ours or the plugin's. They end the program at once, unless somebody who has
 * something to save took over.
 */
export class Faults {
  #handle: FaultHandler;

  /** Listens to the end of the process. */
  constructor(handle: FaultHandler) {
    this.#handle = handle;
    const happened = (error: unknown) => {
      const exitCode = this.#handle(error);
      if (exitCode !== undefined) endProcess(exitCode);
    };
    keepListener("uncaughtException", happened);
    keepListener("unhandledRejection", happened);
  }

  handleBy(handle: FaultHandler): void {
    this.#handle = handle;
  }
}

/** Ends the process once stdout and stderr have taken what was written, whatever else is still open. */
export async function exit(code: number): Promise<never> {
  programEnded(code);
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  return endProcess(code);
}

/** A reader that went away is no reason to stay. Nor is a plugin that put another `write` over the stream's own. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  const { write } = Object.getPrototypeOf(stream) as NodeJS.WriteStream;
  return new Promise((resolve) => write.call(stream, "", "utf8", () => resolve()));
}

/** Signals that stop a program, each with the code a master exits with when it was stopped so. */
export const stopSignals = { SIGINT: 130, SIGTERM: 143, SIGHUP: 143 } as const;
export type StopSignal = keyof typeof stopSignals;

/** The exit code of a master; `signal` is the first that came. */
export function exitCodeOf(result: MasterResult, signal: StopSignal | undefined): number {
  if (result.error !== undefined) return result.error instanceof TaskmasterError ? result.error.exitCode : 1;
  if (!result.savedFinally) return 6;
  if (result.finishFault?.kind === "cut off" && signal !== undefined) return stopSignals[signal];
  switch (result.outcome.kind) {
    case "complete":
      if (result.finishFault !== null) return 1;
      return result.status.dead > 0 || result.late.count > 0 ? 3 : 0;
    case "stopped":
      return signal === undefined ? 1 : stopSignals[signal];
    case "source failed":
      return 1;
    case "outage":
    case "no room":
      return 7;
  }
}

/** What signals do to a program. */
type SignalActions = Readonly<{
  /** Each time one comes: the first stops gently, the second at once. `count` is from 1. */
  stop: (signal: StopSignal, count: number) => void;
  /** SIGUSR1: show how it stands. */
  show: () => void;
}>;

/** How long what was printed last may take to be read once somebody is impatient. */
const lastWordsMs = 1_000;

/**
 * Listens for signals, to the end of the process. Call what it returns when the program has ended: its exit code stands
 * then, and a further signal changes it no more, nor cuts off the last words.
 */
export function onSignals({ stop, show }: SignalActions): (exitCode: number) => void {
  let count = 0;
  let ended: number | undefined;
  for (const signal of Object.keys(stopSignals) as StopSignal[]) {
    const heard = () => {
      renewListener(signal, heard);
      if (ended === undefined) return stop(signal, ++count);
      setTimeout(() => endProcess(ended!), lastWordsMs);
    };
    keepListener(signal, heard);
  }
  // Windows has no SIGUSR1.
  if (process.platform !== "win32") keepListener("SIGUSR1", () => ended === undefined && show());
  return (exitCode) => ended = exitCode;
}

/**
 * While a plugin is loaded, a signal ends the process as it ends any: at once, and even if that loads for ever in one
 * go. Only where the plugin listens to a signal itself, which would keep it from that, the signal does so by this.
 * Call what it returns once the plugin is loaded.
 */
export function endWhileLoading(say: (line: string) => void): () => void {
  let isLoading = true;
  const heard = new Set<unknown>();
  const listened = (event: unknown) => {
    const code = stopSignals[event as StopSignal];
    if (code === undefined || heard.has(event)) return;
    heard.add(event);
    keepListener(event as StopSignal, () => {
      if (!isLoading) return;
      say("Stopped while the plugin was loaded: no job was handed out by this start.");
      endProcess(code);
    });
  };
  process.on("newListener", listened);
  return () => {
    isLoading = false;
    process.off("newListener", listened);
  };
}
