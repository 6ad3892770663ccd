import { deadLetterLines, type DeadLetterRecord } from "../../src/state/dead_letters.ts";
import { type Disk, nodeDisk } from "../../src/state/disk.ts";

export type DeadLetters = Readonly<{
  /** Ordered by seq. The last line of each seq counts; letters that were taken back are left out. */
  letters: readonly DeadLetterRecord[];
  /** Lines that are no dead letters: cut off by a crash, or not ours. */
  damagedLines: number;
}>;

/** All dead letters of a file, read from its beginning: what the product's scan from the end must agree with. */
export async function readDeadLetters(path: string, disk: Disk = nodeDisk): Promise<DeadLetters> {
  const letters = new Map<number, DeadLetterRecord>();
  let damagedLines = 0;
  for await (const { read, damaged } of deadLetterLines(path, disk)) {
    damagedLines += damaged;
    for (const line of read) {
      if ("handled" in line) letters.delete(line.seq);
      else letters.set(line.seq, line);
    }
  }
  return { letters: [...letters.values()].sort((a, b) => a.seq - b.seq), damagedLines };
}
