import type { JobSpan } from "../base/job_span.ts";
import { includes, RangeSet } from "../base/range_set.ts";
import type { Ranges } from "../base/ranges.ts";
import { isSameBytes } from "../base/same_bytes.ts";
import type { RunState } from "../core/types.ts";
import type { StateStore } from "../state/store.ts";

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

  /** Letters of these became durable once more. */
  buried(seqs: Ranges): void {
    for (const seq of this.#jobs.keys()) if (includes(seqs, seq)) this.#jobs.delete(seq);
  }

  /** Of which jobs the letter is to be taken back before this state is saved: it has them as done or skipped. */
  settledIn(state: RunState): number[] {
    if (this.#jobs.size === 0) return [];
    const isOpen = openIn(state);
    return [...this.#jobs.keys()].filter((seq) => !isOpen(seq));
  }

  /** These were. */
  takenBack(seqs: readonly number[]): void {
    for (const seq of seqs) this.#jobs.delete(seq);
  }
}

/** @throws {StateError} if the dead letters cannot be read. */
export async function loadLateLetters(
  store: Pick<StateStore, "loaded" | "lastLetters">,
): Promise<LateLetters> {
  const { loaded } = store;
  if (loaded === null) return new LateLetters();
  const letters = new LateLetters(await store.lastLetters(openIn(loaded)));
  letters.compare(loaded.stranded.map(({ span }) => span));
  return letters;
}

/** Whether a state has this job as not settled: stranded, or not handed out yet. */
function openIn({ handedOut, stranded }: RunState): (seq: number) => boolean {
  const seqs = new RangeSet();
  const spans = stranded.map(({ span }) => span).sort((a, b) => a.seq - b.seq);
  for (const { seq, end } of spans) seqs.add(seq, end);
  return (seq) => seq >= handedOut || seqs.has(seq);
}
