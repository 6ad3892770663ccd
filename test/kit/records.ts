import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What the handlers wrote: how often each id was yielded, begun and ended. */
export class Records {
  readonly yielded = new Map<number, number>();
  readonly begun = new Map<number, number>();
  readonly ended = new Map<number, number>();
  /** When each id was begun, and with which `ctx.attempt`; in no order. */
  readonly begins = new Map<number, { atMs: number; attempt: number }[]>();
  /** When jobs were begun, on the wall clock. */
  readonly begunAtMs: number[] = [];

  constructor(folder: string) {
    const kinds: Record<string, Map<number, number>> = { Y: this.yielded, B: this.begun, E: this.ended };
    for (const name of readdirSync(folder).filter((name) => name.endsWith(".records"))) {
      for (const line of readFileSync(join(folder, name), "utf8").split("\n")) {
        const [kind = "", word, atMs, attempt] = line.split(" ");
        const id = Number(word);
        const counts = kinds[kind];
        counts?.set(id, (counts.get(id) ?? 0) + 1);
        if (kind !== "B") continue;
        this.begunAtMs.push(Number(atMs));
        const begins = this.begins.get(id) ?? [];
        begins.push({ atMs: Number(atMs), attempt: Number(attempt) });
        this.begins.set(id, begins);
      }
    }
  }

  /** Ids of 0 .. jobs-1 that never ended. */
  lost(jobs: number): number[] {
    return Array.from({ length: jobs }, (_, id) => id).filter((id) => !this.ended.has(id));
  }

  /** Begins beyond each id's first. */
  get repeated(): number {
    return [...this.begun.values()].reduce((sum, count) => sum + count - 1, 0);
  }

  /** Jobs begun between two moments. */
  begunBetween(fromMs: number, toMs: number): number {
    return this.begunAtMs.filter((atMs) => atMs >= fromMs && atMs <= toMs).length;
  }
}
