import type { JobSpan } from "../base/job_span.ts";
import type { Ranges } from "../base/ranges.ts";
import type { History, LeaseName } from "./types.ts";

/**
 * The lease that jobs were last in, if it was lost: its slave may still hold them, or have finished them, and gets
 * them back if it names them before they are leased again. `before` is their history as it was before the loss.
 */
export type Holder = Readonly<{ name: LeaseName; slaveId: string; before: History }>;

/** Consecutive jobs of one block that share all that is known of them. */
export type Piece = Readonly<{
  span: JobSpan;
  history: History;
  holder: Holder | null;
  /** Where it failed last, whether that was charged or not: another slave is awaited until then. Null: it has not failed. */
  avoid: Readonly<{ slaveId: string; untilMs: number }> | null;
}>;

/** The jobs `from` up to, not including, `to`. */
export function cutPiece(piece: Piece, from: number, to: number): Piece {
  const { span } = piece;
  return from === span.seq && to === span.end ? piece : { ...piece, span: span.cut(from, to) };
}

/** Parts pieces (ascending, apart) by whether `jobs` names them. Cost: the pieces and ranges, not the jobs. */
export function divide(pieces: readonly Piece[], jobs: Ranges): { named: Piece[]; rest: Piece[] } {
  const named: Piece[] = [];
  const rest: Piece[] = [];
  let i = 0;
  for (const piece of pieces) {
    let from = piece.span.seq;
    const { end } = piece.span;
    while (i < jobs.length && jobs[i + 1]! <= from) i += 2;
    for (let k = i; k < jobs.length && jobs[k]! < end; k += 2) {
      if (jobs[k]! > from) rest.push(cutPiece(piece, from, jobs[k]!));
      const start = Math.max(from, jobs[k]!);
      from = Math.min(end, jobs[k + 1]!);
      named.push(cutPiece(piece, start, from));
    }
    if (from < end) rest.push(cutPiece(piece, from, end));
  }
  return { named, rest };
}

export function countJobs(pieces: Iterable<Piece>): number {
  let count = 0;
  for (const { span } of pieces) count += span.count;
  return count;
}

export function bySeq(a: Piece, b: Piece): number {
  return a.span.seq - b.span.seq;
}

/** The seqs of pieces (ascending, apart). */
export function seqsOf(pieces: Iterable<Piece>): Ranges {
  const ranges: number[] = [];
  for (const { span } of pieces) {
    if (ranges.length > 0 && ranges.at(-1) === span.seq) ranges[ranges.length - 1] = span.end;
    else ranges.push(span.seq, span.end);
  }
  return ranges;
}
