import type { RunState } from "../core/types.ts";
import { isSameBytes, type JobSpan } from "../lib/bytes.ts";
import { RangeSet } from "../lib/ranges.ts";

/**
 * Late letters: dead letters that became durable after the last state that an earlier master saved. That state has
 * their jobs as not settled, so the jobs run again. If such a job is done or skipped this time, its letter must be
 * taken back before the next state is saved.
 *
 * The source may have changed, so an equal seq is not enough: a letter belongs to a job only if the job's bytes are
 * equal too. The letter of a row that could not be sent has no bytes, so it always counts: the loaded state does not
 * have the row as dead, so the source yields it again after `last`; if the row still cannot be sent, it is buried
 * again.
 */
export class LateLetters {
  /** The jobs on record, by seq; null for a row without bytes. Empty almost always. */
  readonly #jobs: Map<number, Uint8Array | null>;

  constructor(jobs: ReadonlyMap<number, Uint8Array | null> = new Map()) {
    this.#jobs = new Map(jobs);
  }

  /** Drops the letters whose seq is in these spans but whose job differs: they belong to another job. */
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

  /** Seqs whose letters must be taken back before this state is saved: the state has these jobs as settled. */
  toTakeBack(state: RunState): number[] {
    if (this.#jobs.size === 0) return [];
    const isOpen = openIn(state);
    return [...this.#jobs.keys()].filter((seq) => !isOpen(seq));
  }
}

/** Finds the late letters of a state. `read` returns the jobs of the dead letters whose seq is wanted. */
export async function loadLateLetters(
  state: RunState | null,
  read: (isWanted: (seq: number) => boolean) => Promise<ReadonlyMap<number, Uint8Array | null>>,
): Promise<LateLetters> {
  if (state === null) return new LateLetters();
  const letters = new LateLetters(await read(openIn(state)));
  letters.compare(state.stranded.map(({ span }) => span));
  return letters;
}

/** Returns a test for whether a state has a job as not settled: stranded, or not handed out yet. */
function openIn({ handedOut, stranded }: RunState): (seq: number) => boolean {
  const seqs = new RangeSet();
  const spans = stranded.map(({ span }) => span).sort((a, b) => a.seq - b.seq);
  for (const { seq, end } of spans) seqs.add(seq, end);
  return (seq) => seq >= handedOut || seqs.has(seq);
}
