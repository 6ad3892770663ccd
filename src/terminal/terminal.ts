import { clearInterval, setInterval } from "../lib/clock.ts";
import { writeNow } from "../lib/exit_guard.ts";
import type { Log, LogSettings } from "../lib/log.ts";
import { printable } from "../lib/text.ts";
import { makeLog } from "./logger.ts";
import { Foreground, type Output, Screen } from "./screen.ts";
import type { StatusLine } from "./status_line.ts";

export type TerminalOptions =
  & LogSettings
  & Readonly<{
    /** Stderr: stdout is for data. */
    output: Output;
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
      ...options,
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

  /** Shows a finished line of another process of this program, or of the plugin, unchanged. */
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
      isQuiet: false,
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

type ProgressOptions = Readonly<{
  terminal: Pick<Terminal, "isTerminal" | "isLive" | "hasStatus" | "status" | "say">;
  /** How often a plain line comes where it is not redrawn in place. */
  intervalMs: number;
  /** At every look, once a second at least. */
  onLook?: () => void;
  line: () => StatusLine;
  /** Every `intervalMs`, whether a line is shown or not. */
  onInterval?: () => void;
  nowMs: () => number;
}>;

/** How often a terminal is redrawn, and how often it is looked elsewhere. */
const redrawMs = 250;
const lookMs = 1_000;

/** Shows the status: ever again on a terminal, at intervals elsewhere, and when asked. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #timer: NodeJS.Timeout;
  #nextIntervalMs: number;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#nextIntervalMs = options.nowMs() + options.intervalMs;
    options.onLook?.();
    this.#timer = setInterval(
      () => this.#tick(),
      Math.min(options.terminal.isTerminal ? redrawMs : lookMs, options.intervalMs),
    );
    this.#timer.unref();
  }

  /** Shows a line now, whatever the options say. */
  show(): void {
    this.#options.onLook?.();
    if (this.#options.terminal.isLive && this.#options.terminal.hasStatus) this.#redraw();
    else this.#options.terminal.status(this.#options.line());
  }

  /** Shows the last status and ends. */
  stop(): void {
    clearInterval(this.#timer);
    this.#options.onLook?.();
    if (this.#options.terminal.hasStatus) this.#redraw();
    this.#options.onInterval?.();
  }

  #tick(): void {
    this.#options.onLook?.();
    const { terminal, nowMs, intervalMs } = this.#options;
    const isDue = nowMs() >= this.#nextIntervalMs;
    if (terminal.hasStatus && (terminal.isLive || isDue)) this.#redraw();
    if (!isDue) return;
    this.#nextIntervalMs = nowMs() + intervalMs;
    this.#options.onInterval?.();
  }

  #redraw(): void {
    this.#options.terminal.status(this.#options.line());
  }
}
