import { type StopSignal, stopSignals } from "./exit_code.ts";

/** What signals do to a program. */
export type SignalActions = Readonly<{
  /** Each time one comes: the first stops gently, the second at once. `count` is from 1. */
  stop: (signal: StopSignal, count: number) => void;
  /** SIGUSR1: show how it stands. */
  show: () => void;
}>;

/** Listens for signals until the function it returns is called. */
export function onSignals({ stop, show }: SignalActions): () => void {
  let count = 0;
  const listeners = (Object.keys(stopSignals) as StopSignal[]).map((signal) =>
    [signal, () => stop(signal, ++count)] as const
  );
  for (const [signal, listener] of listeners) process.on(signal, listener);
  // Windows has no SIGUSR1.
  if (process.platform !== "win32") process.on("SIGUSR1", show);
  return () => {
    for (const [signal, listener] of listeners) process.off(signal, listener);
    if (process.platform !== "win32") process.off("SIGUSR1", show);
  };
}
