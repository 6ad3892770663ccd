import { createInterface } from "node:readline/promises";
import { printable } from "../base/printable.ts";

/** Asks on the terminal; anything but y or yes is a no, and so is the end of input. */
export async function isConfirmed(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new Promise<string>((resolve) => lines.once("close", () => resolve("")));
  try {
    return /^y(?:es)?$/i.test(
      (await Promise.race([lines.question(`${printable(question, Infinity)} [y/N] `), ended])).trim(),
    );
  } finally {
    lines.close();
    // A paused stdin must not keep the program alive.
    process.stdin.unref?.();
  }
}

/** Whether there is a person to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}
