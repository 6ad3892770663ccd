/** The part of a stream, such as stderr, that a screen needs. */
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

/** Back to the beginning of the line, and erase it. */
const eraseLine = "\r\x1b[K";

/**
 * Lines that stay and, on a terminal, one line below them that is redrawn in place. Off a terminal a status is a line
 * like any other, and nothing is ever written but its text.
 *
 * The cursor waits at the end of the status, and never moves up: other processes, a slave's workers above all, write to
 * the same terminal, and what they write must not be erased with a status that was meant.
 */
export class Screen {
  readonly #output: Output;
  readonly isLive: boolean;
  /** The status on the terminal; empty if there is none. */
  #status = "";
  #isClosed = false;

  constructor(output: Output) {
    this.#output = output;
    this.isLive = output.isTTY === true;
  }

  /** Writes a line that stays; on a terminal, above the status. */
  line(text: string): void {
    if (this.#status === "") this.#output.write(`${text}\n`);
    else this.#output.write(`${eraseLine}${text}\n${this.#fit(this.#status)}`);
  }

  /** Shows a status: in place of the one before on a terminal, as a line elsewhere. */
  status(text: string): void {
    if (this.#isClosed) return;
    if (!this.isLive) return this.line(text);
    this.#status = text;
    this.#output.write(`${eraseLine}${this.#fit(text)}`);
  }

  /** Leaves the last status standing; lines may still follow. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#status !== "") this.#output.write("\n");
    this.#status = "";
  }

  /** One line of the terminal: a wrapped one could not be erased. */
  #fit(text: string): string {
    const columns = Math.max(20, this.#output.columns ?? 80);
    let width = 0;
    let end = 0;
    for (const char of text) {
      width += columnsOf(char);
      if (width >= columns - 1) return `${text.slice(0, end)}…`;
      end += char.length;
    }
    return text;
  }
}

/** Columns of a character, or more: from Hangul on, most are two wide. */
function columnsOf(char: string): number {
  return char.codePointAt(0)! < 0x1100 ? 1 : 2;
}

/** A line from a process that shares its terminal with another one's status: the status is erased, and comes again. */
export function lineOverStatus(output: Output, text: string): void {
  output.write(`${output.isTTY ? eraseLine : ""}${text}\n`);
}
