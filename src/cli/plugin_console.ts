import { Console } from "node:console";
import { Writable } from "node:stream";

/** Longest line, in characters: a longer one, or output without a line break, is cut there. */
const lineCharsMax = 65_536;

/** Cuts what is written, text or UTF-8 however it is torn, into lines. */
export class LineStream extends Writable {
  readonly #writeLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #rest = "";

  constructor(writeLine: (line: string) => void) {
    super({ decodeStrings: false });
    this.#writeLine = writeLine;
  }

  override _write(chunk: string | Uint8Array, _: string, done: () => void): void {
    this.#take(typeof chunk === "string" ? chunk : this.#decoder.decode(chunk, { stream: true }));
    done();
  }

  override _final(done: () => void): void {
    this.#take(this.#decoder.decode());
    if (this.#rest !== "") this.#writeLine(this.#rest);
    this.#rest = "";
    done();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    const last = lines.pop()!;
    for (const line of lines) this.#writeLine(this.#cut(line));
    this.#rest = this.#cut(last);
  }

  /** Writes all of a long line but its end, which is returned. */
  #cut(line: string): string {
    let from = 0;
    for (; line.length - from > lineCharsMax; from += lineCharsMax) {
      this.#writeLine(line.slice(from, from + lineCharsMax));
    }
    return line.slice(from);
  }
}

/**
 * Sends what a plugin writes with `console` to `writeLine`, a line at a time: stdout is for data, and stderr has a
 * status. What only a debugger sees (`profile`, `timeStamp`) is left as it is.
 */
export function redirectConsole(writeLine: (line: string) => void): void {
  const stream = new LineStream(writeLine);
  const made = new Console({ stdout: stream, stderr: stream, colorMode: false });
  const own = globalThis.console as unknown as Record<string, unknown>;
  for (const name of Object.getOwnPropertyNames(own)) {
    const method = (made as unknown as Record<string, unknown>)[name];
    if (typeof method === "function") own[name] = method.bind(made);
  }
  // Bun's alone.
  if (typeof own["write"] === "function") own["write"] = (...texts: unknown[]) => writeAll(stream, texts);
}

function writeAll(stream: LineStream, texts: readonly unknown[]): number {
  const text = texts.map((part) => part instanceof Uint8Array ? new TextDecoder().decode(part) : String(part))
    .join("");
  stream.write(text);
  return text.length;
}
