/** A seeded generator (sfc32) that uses whole numbers only, so that every runtime draws the same. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = 0x9e3779b9 | 0;
    this.#c = 0x243f6a88 | 0;
    for (let i = 0; i < 12; i++) this.#next();
  }

  /** A whole number with `least <= n <= most`. */
  int(least: number, most: number): number {
    return least + this.#next() % (most - least + 1);
  }

  /** True with a probability of `times` in a thousand. */
  perMille(times: number): boolean {
    return this.#next() % 1000 < times;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.#next() % items.length]!;
  }

  /** A number in [0, 1), exact in every runtime: a whole number divided by a power of two. */
  fraction(): number {
    return this.#next() / 4294967296;
  }

  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}
