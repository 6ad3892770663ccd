import process from "node:process";
import { type Measured, purgeLater, type Rig } from "../rig.ts";

/**
 * Measures a peer whose file is also the program of both sides: `FILE produce|consume WORDS...`. The consumer prints
 * `ready` and, after the last job, `end`; the producer prints `begin`.
 */
export async function produceAndConsume(
  rig: Rig,
  file: string,
  words: readonly (string | number)[],
): Promise<Measured> {
  const side = (name: string) => rig.start(process.execPath, [file, name, ...words.map(String)], purgeLater);
  const consumer = side("consume");
  await consumer.printed(/^ready$/m);
  return rig.measure(side("produce"), consumer);
}
