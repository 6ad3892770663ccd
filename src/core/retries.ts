import { retryDelayMsMax } from "../base/limits.ts";
import { Heap } from "../base/heap.ts";
import type { Piece } from "./piece.ts";

type Retry = Readonly<{ dueMs: number; number: number; piece: Piece }>;

/** Failed jobs that wait for their delay to end. */
export class Retries {
  readonly #heap = new Heap<Retry>((a, b) =>
    a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number)
  );
  #number = 0;

  get count(): number {
    return this.#heap.length;
  }

  /** When the next one is due; Infinity if there is none. */
  get nextMs(): number {
    return this.#heap.first?.dueMs ?? Infinity;
  }

  add(piece: Piece, dueMs: number): void {
    this.#heap.push({ dueMs, number: this.#number++, piece });
  }

  /** Takes out one that is due; undefined if none is. */
  takeDue(nowMs: number): Piece | undefined {
    return this.nextMs <= nowMs ? this.#heap.pop()!.piece : undefined;
  }

  /** Takes out those that `isMeant` is true of. */
  take(isMeant: (piece: Piece) => boolean): Piece[] {
    const all = [...this.#heap];
    const taken = all.filter(({ piece }) => isMeant(piece));
    if (taken.length === 0) return [];
    while (this.#heap.pop() !== undefined);
    for (const retry of all) if (!isMeant(retry.piece)) this.#heap.push(retry);
    return taken.map(({ piece }) => piece);
  }

  rewrite(change: (piece: Piece) => Piece): void {
    this.#heap.rewrite((retry) => ({ ...retry, piece: change(retry.piece) }));
  }

  *[Symbol.iterator](): IterableIterator<Piece> {
    for (const { piece } of this.#heap) yield piece;
  }
}

/** Full jitter: `random` (in [0, 1)) of a bound that doubles with each attempt, at most a minute. In whole milliseconds. */
export function retryDelayMs(backoffMs: number, attempts: number, random: number): number {
  return Math.floor(random * Math.min(retryDelayMsMax, backoffMs * 2 ** (attempts - 1)));
}
