import type { Unsendable } from "../lib/bytes.ts";
import type { Ranges } from "../lib/ranges.ts";
import type { Jobs } from "./jobs.ts";
import type { DeadLetter, Effect, RunStatus } from "./types.ts";

/** Different messages counted apart in the summary of dead letters; the rest is counted together. */
const failureGroupsMax = 1_000;

/** Dead letters on their way to the disk; and those of this start that are there, counted by message. */
export class DeadLetterQueue {
  readonly #jobs: Jobs;
  readonly #emit: (effect: Effect) => void;
  /** Those of the event at hand: they leave as one effect. */
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

  /** These are durable: their jobs are settled. */
  buried(seqs: Ranges): void {
    for (let i = 0; i < seqs.length; i += 2) {
      for (let seq = seqs[i]!; seq < seqs[i + 1]!; seq++) {
        const history = this.#jobs.buried(seq);
        if (history !== null) this.#count(history.attempts.at(-1)?.message ?? "");
        else this.#countRow(this.#jobs.sunk(seq));
      }
    }
  }

  /** The most frequent first. */
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
