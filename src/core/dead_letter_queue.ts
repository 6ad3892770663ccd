import type { Unsendable } from "../lib/bytes.ts";
import type { Ranges } from "../lib/ranges.ts";
import type { Jobs } from "./jobs.ts";
import type { DeadLetter, Effect, RunStatus } from "./types.ts";

/** Most distinct messages counted separately in the summary of dead letters. All others are counted together. */
const failureGroupsMax = 1_000;

/** Collects dead letters to be written, and counts those written by this start, grouped by message. */
export class DeadLetterQueue {
  readonly #jobs: Jobs;
  readonly #emit: (effect: Effect) => void;
  /** Letters of the current event: sent together in one effect. */
  #unsent: DeadLetter[] = [];
  #counts = new Map<string, number>();

  constructor(jobs: Jobs, emit: (effect: Effect) => void) {
    this.#jobs = jobs;
    this.#emit = emit;
  }

  add(letter: DeadLetter): void {
    this.#unsent.push(letter);
  }

  send(): void {
    if (this.#unsent.length === 0) return;
    this.#emit({ kind: "bury", letters: this.#unsent });
    this.#unsent = [];
  }

  /** The dead letters of these jobs are durable: settles the jobs. */
  buried(seqs: Ranges): void {
    for (let i = 0; i < seqs.length; i += 2) {
      for (let seq = seqs[i]!; seq < seqs[i + 1]!; seq++) {
        const history = this.#jobs.buried(seq);
        if (history !== null) this.#count(history.attempts.at(-1)?.message ?? "");
        else this.#countRow(this.#jobs.rowBuried(seq));
      }
    }
  }

  /** Counts per message, most frequent first. */
  get groups(): RunStatus["failures"] {
    return [...this.#counts].map(([message, count]) => ({ message, count })).sort((a, b) =>
      b.count - a.count
    );
  }

  #countRow(row: Unsendable | null): void {
    if (row !== null) this.#count(`cannot be sent: ${row.dataFault}`);
  }

  #count(message: string): void {
    const isKnown = this.#counts.has(message) || this.#counts.size < failureGroupsMax;
    const group = isKnown ? message : "other messages";
    this.#counts.set(group, (this.#counts.get(group) ?? 0) + 1);
  }
}
