import { writeNow } from "../base/exit_guard.ts";
import { printable } from "../base/printable.ts";
import type { Log, LogLevel } from "../base/log.ts";
import { makeLog } from "./logger.ts";
import { Foreground, type Output, Screen } from "./screen.ts";
import type { StatusLine } from "./status_line.ts";

export type TerminalOptions = Readonly<{
  /** Stderr: stdout is for data. */
  output: Output;
  level: LogLevel;
  format: "text" | "json";
  /** Warnings and errors only. */
  isQuiet: boolean;
  /** Whether a status line is shown at all. */
  hasStatus: boolean;
  env: Readonly<Record<string, string | undefined>>;
  /** @default as the system's job control has it */
  isForeground?: () => boolean;
}>;

/** What a person sees of a running master or slave: log lines, plain sentences, and the status. */
export class Terminal {
  readonly log: Log;
  readonly #screen: Screen;
  readonly #options: TerminalOptions;

  constructor(options: TerminalOptions) {
    this.#options = options;
    this.#screen = new Screen({
      output: options.output,
      term: options.env["TERM"],
      isForeground: options.isForeground ?? new Foreground().isForeground,
    });
    // A reader that went away must not end a run.
    options.output.on("error", () => {});
    this.log = makeLog({
      level: options.isQuiet && options.level !== "error" ? "warn" : options.level,
      format: options.format,
      colours: hasColours(options.output, options.env),
      write: (line) => this.#screen.line(line),
    });
  }

  /** Whether a status may be redrawn in place, unless this process runs in the background. */
  get isTerminal(): boolean {
    return this.#screen.isTerminal && this.#options.format === "text";
  }

  /** Whether it is redrawn in place now. */
  get isLive(): boolean {
    return this.#options.format === "text" && this.#screen.isLive;
  }

  get hasStatus(): boolean {
    return this.#options.hasStatus && !this.#options.isQuiet;
  }

  /** A sentence for the person who started this: the address, the summary. One line, whatever is in it. */
  say(line: string): void {
    if (this.#options.isQuiet) return;
    if (this.#options.format === "json") this.log("info", line);
    else this.#screen.line(printable(line, Infinity));
  }

  /** A finished line of another process of ours, or of the plugin's: as it is. */
  relay(line: string): void {
    this.#screen.line(line);
  }

  status(line: StatusLine): void {
    if (this.#options.format === "json") this.log("info", line(Infinity));
    else this.#screen.status(line);
  }

  close(): void {
    this.#screen.close();
  }

  /** Errors that have left when this returns: the process ends. */
  lastWords(lines: readonly string[]): void {
    const { output, format, env } = this.#options;
    this.#screen.close();
    const log = makeLog({
      level: "error",
      format,
      colours: hasColours(output, env),
      write: (line) => writeNow(2, `${line}\n`),
    });
    for (const line of lines) log("error", line);
  }
}

/** NO_COLOR counts when it is there and not empty, whatever it says (no-color.org). */
function hasColours(output: Output, env: TerminalOptions["env"]): boolean {
  if ((env["NO_COLOR"] ?? "") !== "") return false;
  const { hasColors } = output as { hasColors?: () => boolean };
  return output.isTTY === true && (hasColors === undefined ? false : hasColors.call(output));
}
