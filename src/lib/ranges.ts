/**
 * A set of whole numbers (job seqs) as half-open intervals in a flat list: `[from, to, from, to, ...]`, ascending,
 * neither empty nor touching. `[]` is the empty set; `[3, 5, 9, 10]` is 3, 4 and 9.
 */
export type Ranges = readonly number[];

/** A mutable set of whole numbers, kept as ranges. Adding at the end, the usual case, takes constant time. */
export class RangeSet {
  #flat: number[];

  constructor(ranges: Ranges = []) {
    this.#flat = [...ranges];
  }

  /** The current set; later changes do not affect the returned value. */
  get ranges(): Ranges {
    return this.#flat.slice();
  }

  get count(): number {
    return countOf(this.#flat);
  }

  get isEmpty(): boolean {
    return this.#flat.length === 0;
  }

  /** Adds the numbers with `from <= n < to`. */
  add(from: number, to: number): void {
    if (from >= to) return;
    const flat = this.#flat;
    const last = flat.length - 1;
    if (last < 0 || from > flat[last]!) flat.push(from, to);
    else if (from === flat[last]) flat[last] = to;
    else this.#flat = unite(flat, [from, to]);
  }

  addAll(ranges: Ranges): void {
    for (let i = 0; i < ranges.length; i += 2) this.add(ranges[i]!, ranges[i + 1]!);
  }

  removeAll(ranges: Ranges): void {
    if (ranges.length > 0) this.#flat = subtract(this.#flat, ranges);
  }

  retainAll(ranges: Ranges): void {
    this.#flat = [...intersect(this.#flat, ranges)];
  }

  has(value: number): boolean {
    return includes(this.#flat, value);
  }

  /** Removes and returns the lowest range, at most `max` numbers of it. The set must not be empty. */
  takeFirst(max: number): readonly [from: number, to: number] {
    const from = this.#flat[0]!;
    const end = this.#flat[1]!;
    const to = Math.min(end, from + max);
    if (to === end) this.#flat.splice(0, 2);
    else this.#flat[0] = to;
    return [from, to];
  }

  clear(): void {
    this.#flat = [];
  }
}

/** How many numbers are in the set. */
export function countOf(ranges: Ranges): number {
  let count = 0;
  for (let i = 0; i < ranges.length; i += 2) count += ranges[i + 1]! - ranges[i]!;
  return count;
}

/** Whether `value` is in the set. */
export function includes(ranges: Ranges, value: number): boolean {
  let low = 0;
  let high = ranges.length >> 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle * 2 + 1]! <= value) low = middle + 1;
    else high = middle;
  }
  return low * 2 < ranges.length && ranges[low * 2]! <= value;
}

/** Numbers that are in both. */
export function intersect(a: Ranges, b: Ranges): Ranges {
  const both: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const from = Math.max(a[i]!, b[j]!);
    const to = Math.min(a[i + 1]!, b[j + 1]!);
    if (from < to) both.push(from, to);
    if (a[i + 1]! < b[j + 1]!) i += 2;
    else j += 2;
  }
  return both;
}

/** Numbers of `a` that are not in `b`. */
export function subtract(a: Ranges, b: Ranges): number[] {
  const rest: number[] = [];
  let j = 0;
  for (let i = 0; i < a.length; i += 2) {
    let from = a[i]!;
    const to = a[i + 1]!;
    while (j < b.length && b[j + 1]! <= from) j += 2;
    for (let k = j; k < b.length && b[k]! < to; k += 2) {
      if (b[k]! > from) rest.push(from, b[k]!);
      from = Math.max(from, b[k + 1]!);
    }
    if (from < to) rest.push(from, to);
  }
  return rest;
}

/** Numbers that are in either. */
export function unite(a: Ranges, b: Ranges): number[] {
  const all: number[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    const takesA = j >= b.length || (i < a.length && a[i]! <= b[j]!);
    const from = takesA ? a[i]! : b[j]!;
    const to = takesA ? a[i + 1]! : b[j + 1]!;
    if (takesA) i += 2;
    else j += 2;
    const last = all.length - 1;
    if (last >= 0 && from <= all[last]!) all[last] = Math.max(all[last]!, to);
    else all.push(from, to);
  }
  return all;
}

/** The set of these numbers, which may come in any order. */
export function rangesOf(values: Iterable<number>): Ranges {
  const ranges: number[] = [];
  for (const value of [...values].sort((a, b) => a - b)) {
    const last = ranges.length - 1;
    if (last < 0 || value > ranges[last]!) ranges.push(value, value + 1);
    else if (value === ranges[last]) ranges[last] = value + 1;
  }
  return ranges;
}

/** Numbers with `from <= n < to`. */
export type Span = Readonly<{ from: number; to: number }>;

/** The set of the numbers of these spans, which may come in any order. */
export function rangesOfSpans(spans: Iterable<Span>): Ranges {
  const ranges: number[] = [];
  for (const { from, to } of [...spans].sort((a, b) => a.from - b.from)) {
    const last = ranges.length - 1;
    if (last < 0 || from > ranges[last]!) ranges.push(from, to);
    else if (to > ranges[last]!) ranges[last] = to;
  }
  return ranges;
}

/** Each of the numbers in these ranges. */
export function* numbersOf(ranges: Ranges): Generator<number> {
  for (let at = 0; at < ranges.length; at += 2) {
    for (let number = ranges[at]!; number < ranges[at + 1]!; number++) yield number;
  }
}
