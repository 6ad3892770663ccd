/** The trace of a run: a hash of all events, and optionally lines for people. */
export class Trace {
  readonly lines: string[] = [];
  readonly #clock: { readonly nowMs: number };
  readonly #keepsLines: boolean;
  #hash = 0x811c9dc5;

  constructor(clock: { readonly nowMs: number }, keepsLines: boolean) {
    this.#clock = clock;
    this.#keepsLines = keepsLines;
  }

  note(what: string, ...numbers: number[]): void {
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i));
    this.#mix(this.#clock.nowMs);
    for (const number of numbers) this.#mix(number);
    if (this.#keepsLines) this.lines.push(`${this.#clock.nowMs} ${what} ${numbers.join(" ")}`);
  }

  /** FNV-1a over 32-bit words. */
  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, "0");
  }

  #mix(word: number): void {
    this.#hash = Math.imul(this.#hash ^ word, 0x01000193);
  }
}
