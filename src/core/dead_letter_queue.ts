import type { Unsendable } from "../lib/bytes.ts";
import type { Ranges } from "../lib/ranges.ts";
import { messageGroup, messageGroupsMax } from "../lib/text.ts";
import type { Jobs } from "./jobs.ts";
import { headline } from "./piece.ts";
import type { DeadLetter, Effect, RunStatus } from "./types.ts";

/** Collects dead letters to be written, and counts those written by this start, grouped by message. */
export class DeadLetterQueue {
  readonly #jobs: Jobs;
  readonly #emit: (effect: Effect) => void;
  /** Letters of the current event: sent together in one effect. */
  #unsent: DeadLetter[] = [];
  readonly #groups = new Map<string, RunStatus["failures"][number]>();

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

  /** Counts per group of messages, most frequent first. */
  get groups(): RunStatus["failures"] {
    return [...this.#groups.values()].sort((a, b) => b.count - a.count);
  }

  #countRow(row: Unsendable | null): void {
    if (row !== null) this.#count(`cannot be sent: ${row.reason}`);
  }

  #count(message: string): void {
    const group = messageGroup(headline(message));
    const known = this.#groups.get(group);
    if (known !== undefined) {
      const differ = known.differ || known.message !== message;
      this.#groups.set(group, { ...known, count: known.count + 1, differ });
    } else if (this.#groups.size < messageGroupsMax) {
      this.#groups.set(group, { message, count: 1, differ: false });
    } else {
      const rest = this.#groups.get(otherMessages)?.count ?? 0;
      this.#groups.set(otherMessages, { message: otherMessages, count: rest + 1, differ: false });
    }
  }
}

/** All that are not counted apart. */
const otherMessages = "other messages";
