import { setTimeout as sleep } from "node:timers/promises";
import { Attack, silent } from "./attackers.ts";
import { Field, type Figures } from "./field.ts";

export type OutOfFiles = Readonly<{
  before: Figures;
  during: Figures;
  /** From the end of the attack until a new slave was in. */
  joinedMs: number;
  /** What the master said of it. */
  lines: readonly string[];
  exitCode: number | string;
}>;

/** A master that may open so few files that strangers take all of them. */
export async function outOfFiles(
  command: readonly string[],
  filesMax: number,
  seconds: number,
): Promise<OutOfFiles> {
  const limited = ["bash", "-c", `ulimit -n ${filesMax}; exec "$@"`, "bash", ...command];
  const field = await Field.open([], limited);
  try {
    const before = await field.watch(seconds);
    const attack = new Attack(field.port, filesMax * 2, silent);
    const during = await field.watch(seconds * 2);
    attack.stop();
    const startMs = Date.now();
    field.join();
    while (field.master.events("joined").length < 2) {
      if (Date.now() > startMs + 30_000) {
        throw new Error(`No slave joined any more:\n${field.master.stderr.slice(-2_000)}`);
      }
      await sleep(50);
    }
    const joinedMs = Date.now() - startMs;
    const lines = field.master.stderr.split("\n").filter((line) => /Cannot accept/.test(line));
    return { before, during, joinedMs, lines, exitCode: await field.stop() };
  } finally {
    await field.end();
  }
}
