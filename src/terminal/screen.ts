import { createLogUpdate } from "log-update";

/** The part of a stream, such as stderr, that a screen needs. */
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/**
 * Lines that stay and, on a terminal, one line below them that is redrawn in place. Off a terminal a status is a line
 * like any other, and nothing is ever written but its text.
 */
export class Screen {
  readonly #output: Output;
  readonly #update: ReturnType<typeof createLogUpdate> | null;
  /** The status on the terminal; empty if there is none. */
  #status = "";
  #isClosed = false;

  constructor(output: Output) {
    this.#output = output;
    // The cursor stays shown: nothing has to be put back after a crash.
    this.#update = output.isTTY ? createLogUpdate(output, { showCursor: true }) : null;
  }

  get isLive(): boolean {
    return this.#update !== null;
  }

  /** Writes a line that stays; on a terminal, above the status. */
  line(text: string): void {
    if (this.#status !== "") this.#update?.clear();
    this.#output.write(`${text}\n`);
    if (this.#status !== "" && !this.#isClosed) this.#update?.(this.#fit(this.#status));
  }

  /** Shows a status: in place of the one before on a terminal, as a line elsewhere. */
  status(text: string): void {
    if (this.#isClosed) return;
    if (this.#update === null) return this.line(text);
    this.#status = text;
    this.#update(this.#fit(text));
  }

  /** Leaves the last status standing; lines may still follow. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#status !== "") this.#update?.done();
    this.#status = "";
  }

  /** One line of the terminal: a wrapped one could not be redrawn after the window changed. */
  #fit(text: string): string {
    const width = Math.max(20, this.#output.columns ?? 80);
    return text.length < width ? text : `${text.slice(0, width - 2)}…`;
  }
}
