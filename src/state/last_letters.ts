import { lastLettersBytes } from "../base/state_limits.ts";
import type { Disk } from "./disk.ts";
import { deadLetterLines } from "./read_dead_letters.ts";

/**
 * The jobs of the dead letters appended last, by seq: those whose seq is wanted, null for a row that has no bytes. Of a long file only the end is read.
 *
 * @throws {StateError} if it is a symbolic link, no file, or not readable.
 */
export async function lastLetters(
  path: string,
  disk: Disk,
  isWanted: (seq: number) => boolean,
): Promise<Map<number, Uint8Array | null>> {
  const jobs = new Map<number, Uint8Array | null>();
  for await (const { read } of deadLetterLines(path, disk, lastLettersBytes)) {
    for (const line of read) {
      if (!isWanted(line.seq)) continue;
      if ("handled" in line) jobs.delete(line.seq);
      else jobs.set(line.seq, line.cbor);
    }
  }
  return jobs;
}
