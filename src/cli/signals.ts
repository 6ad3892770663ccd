import { setTimeout } from "../base/clock.ts";
import { endProcess, keepListener, renewListener } from "../base/exit_guard.ts";
import { type StopSignal, stopSignals } from "./exit_code.ts";

/** What signals do to a program. */
export type SignalActions = Readonly<{
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
