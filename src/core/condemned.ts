import type { Piece } from "./piece.ts";
import type { History } from "./types.ts";

/** A job whose attempts are spent, if its last failure was its own. */
export type Sentence = Readonly<{
  /** One job; its history is without that last failure. */
  piece: Piece;
  /** The history with it: what the dead letter will say. */
  charged: History;
  /** Where and when it failed last. */
  slaveId: string;
  atMs: number;
  /** Where the counts of `Opening` stood then. */
  mark: Readonly<{ ok: number; bad: number }>;
}>;

/**
 * Jobs whose attempts are spent, but that are not buried yet: it is not clear that the last failure was not the
 * beginning of an outage, or of a slave that fails everything. A state does not show that failure, so that after a
 * restart the job has one more attempt.
 */
export class Condemned {
  /** By slave, in the order in which they failed there. */
  readonly #bySlave = new Map<string, Map<number, Sentence>>();
  count = 0;

  add(sentence: Sentence): void {
    const { slaveId, piece } = sentence;
    let sentences = this.#bySlave.get(slaveId);
    if (sentences === undefined) this.#bySlave.set(slaveId, sentences = new Map());
    sentences.set(piece.span.seq, sentence);
    this.count++;
  }

  /** The slaves at which they failed last. */
  get slaves(): string[] {
    return [...this.#bySlave.keys()];
  }

  /** Takes out those that failed at this slave, from the first one on as long as `isMeant` is true of them. */
  takeOf(slaveId: string, isMeant: (sentence: Sentence) => boolean = () => true): Sentence[] {
    const taken: Sentence[] = [];
    for (const sentence of this.#bySlave.get(slaveId)?.values() ?? []) {
      if (!isMeant(sentence)) break;
      taken.push(sentence);
    }
    for (const sentence of taken) this.#delete(sentence);
    return taken;
  }

  /** Takes out those that `isMeant` is true of. */
  take(isMeant: (sentence: Sentence) => boolean = () => true): Sentence[] {
    if (this.count === 0) return [];
    const taken = [...this.#sentences()].filter(isMeant);
    for (const sentence of taken) this.#delete(sentence);
    return taken;
  }

  rewrite(change: (piece: Piece) => Piece): void {
    for (const sentences of this.#bySlave.values()) {
      for (const [seq, sentence] of sentences) {
        sentences.set(seq, { ...sentence, piece: change(sentence.piece) });
      }
    }
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const { piece } of this.#sentences()) yield piece;
  }

  *#sentences(): IterableIterator<Sentence> {
    for (const sentences of this.#bySlave.values()) yield* sentences.values();
  }

  #delete({ slaveId, piece }: Sentence): void {
    const sentences = this.#bySlave.get(slaveId)!;
    sentences.delete(piece.span.seq);
    if (sentences.size === 0) this.#bySlave.delete(slaveId);
    this.count--;
  }
}
