import { clearTimeout, setTimeout } from "../base/clock.ts";
/** A timer that is set often and rarely goes off: it is only moved if it would go off too late. */
export class Alarm {
  readonly #ring: () => void;
  #handle: ReturnType<typeof setTimeout> | null = null;
  #atMs = Infinity;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Goes off no more, unless it is set again. */
  cancel(): void {
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#handle = null;
    this.#atMs = Infinity;
  }

  /** Goes off at `atMs` or before; Infinity asks for nothing. */
  setBy(atMs: number, nowMs: number): void {
    if (atMs >= this.#atMs) return;
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#atMs = atMs;
    this.#handle = setTimeout(() => {
      this.#handle = null;
      this.#atMs = Infinity;
      this.#ring();
    }, Math.max(0, Math.ceil(atMs - nowMs)));
  }
}
