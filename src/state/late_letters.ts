import type { RunState } from "../core/types.ts";
import { isSameBytes, type JobSpan } from "../lib/bytes.ts";
import { RangeSet } from "../lib/ranges.ts";

/**
 * Dead letters that became durable after the last state that an earlier master saved. That state knows nothing of
 * them, so their jobs run once more; one that is done this time is dead no more: its letter is to be taken back.
 *
 * A seq alone proves nothing, for the source may have changed: a letter counts for the very same job only. That of a
 * row that could not be sent always counts: no state has it as dead, so the row is yielded again behind `last`, and comes
 * to what it comes to, whatever has its seq by then.
 */
export class LateLetters {
  /** The jobs on record, by seq; null for a row without bytes. Empty almost always. */
  readonly #jobs: Map<number, Uint8Array | null>;

  constructor(jobs: ReadonlyMap<number, Uint8Array | null> = new Map()) {
    this.#jobs = new Map(jobs);
  }

  /** These jobs have these seqs: letters of others with the same seqs are not theirs. */
  compare(spans: readonly JobSpan[]): void {
    if (this.#jobs.size === 0) return;
    for (const span of spans) {
      for (let { seq } = span; seq < span.end; seq++) {
        const job = this.#jobs.get(seq) ?? null;
        if (job !== null && !isSameBytes(job, span.job(seq))) this.#jobs.delete(seq);
      }
    }
  }

  /** Forgets these jobs: their letters were taken back, or they were buried once more. */
  forget(seqs: readonly number[]): void {
    for (const seq of seqs) this.#jobs.delete(seq);
  }

  /** Whose letter is to be taken back before this state is saved: jobs that it has as done or skipped. */
  toTakeBack(state: RunState): number[] {
    if (this.#jobs.size === 0) return [];
    const isOpen = openIn(state);
    return [...this.#jobs.keys()].filter((seq) => !isOpen(seq));
  }
}

/** The late letters behind a state. `read` gives the jobs on record whose seq is wanted. */
export async function loadLateLetters(
  state: RunState | null,
  read: (isWanted: (seq: number) => boolean) => Promise<ReadonlyMap<number, Uint8Array | null>>,
): Promise<LateLetters> {
  if (state === null) return new LateLetters();
  const letters = new LateLetters(await read(openIn(state)));
  letters.compare(state.stranded.map(({ span }) => span));
  return letters;
}

/** Whether a state has this job as not settled: stranded, or not handed out yet. */
function openIn({ handedOut, stranded }: RunState): (seq: number) => boolean {
  const seqs = new RangeSet();
  const spans = stranded.map(({ span }) => span).sort((a, b) => a.seq - b.seq);
  for (const { seq, end } of spans) seqs.add(seq, end);
  return (seq) => seq >= handedOut || seqs.has(seq);
}
