import process from "node:process";

/** Aborts when the command is told to stop, so that it can end what it started. A second time ends the command itself. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => stop.abort(new Error(`Stopped by ${signal}.`)));
  }
  return stop.signal;
}
