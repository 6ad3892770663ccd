import { endProcess, keepListener } from "../base/exit_guard.ts";

/** What to do about a fault; what it returns is what the process exits with, undefined if it goes on. */
export type FaultHandler = (error: unknown) => number | undefined;

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
