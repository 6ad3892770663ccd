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

/** Longest between two samples, with some time to spare. */
const stillMs = 2_000;

/** How fast jobs are settled, over the last seconds. Told the time; holds one sample a call, of a bounded window. */
export class RateMeter {
  readonly #windowMs: number;
  /** Oldest first. The first is at, or just before, the window's start. */
  readonly #samples: { atMs: number; count: number }[] = [];

  constructor(windowMs = 5_000) {
    this.#windowMs = windowMs;
  }

  /**
   * Notes the count of this moment; `count` never falls, and leaves out what an earlier start did. To be called every
   * second at least: where more has passed, this process stood still, and that time counts for two seconds.
   */
  sample(count: number, nowMs: number): void {
    const last = this.#samples.at(-1);
    const lateMs = last === undefined ? 0 : nowMs - last.atMs - stillMs;
    if (lateMs > 0) { for (const sample of this.#samples) sample.atMs += lateMs; }
    this.#samples.push({ atMs: nowMs, count });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs <= nowMs - this.#windowMs) {
      this.#samples.shift();
    }
  }

  /** Jobs a second over the samples; 0 while there are fewer than two. */
  get perSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return (last.count - first.count) * 1_000 / (last.atMs - first.atMs);
  }
}

type ProgressOptions = Readonly<{
  terminal: Pick<Terminal, "isTerminal" | "isLive" | "hasStatus" | "status" | "say">;
  /** How often a plain line comes where it is not redrawn in place. */
  intervalMs: number;
  /** Jobs settled by this process. */
  count: () => number;
  line: (ratePerSecond: number) => StatusLine;
  /** Every `intervalMs`, whether a line is shown or not. */
  onInterval?: (ratePerSecond: number) => void;
  nowMs: () => number;
}>;

/** How often a terminal is redrawn, and how often the count is sampled elsewhere. */
const redrawMs = 250;
const sampleMs = 1_000;

/** Samples the count, and shows the status: ever again on a terminal, at intervals elsewhere, and when asked. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #meter = new RateMeter();
  readonly #timer: NodeJS.Timeout;
  #nextIntervalMs: number;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#nextIntervalMs = options.nowMs() + options.intervalMs;
    this.#meter.sample(options.count(), options.nowMs());
    this.#timer = setInterval(
      () => this.#tick(),
      Math.min(options.terminal.isTerminal ? redrawMs : sampleMs, options.intervalMs),
    );
    this.#timer.unref();
  }

  /** Shows a line now, whatever the options say. */
  show(): void {
    this.#sample();
    if (this.#options.terminal.isLive && this.#options.terminal.hasStatus) this.#redraw();
    else this.#options.terminal.status(this.#line());
  }

  /** Shows the last status and ends. */
  stop(): void {
    clearInterval(this.#timer);
    this.#sample();
    if (this.#options.terminal.hasStatus) this.#redraw();
    this.#options.onInterval?.(this.#meter.perSecond);
  }

  #tick(): void {
    this.#sample();
    const { terminal, nowMs, intervalMs } = this.#options;
    const isDue = nowMs() >= this.#nextIntervalMs;
    if (terminal.hasStatus && (terminal.isLive || isDue)) this.#redraw();
    if (!isDue) return;
    this.#nextIntervalMs = nowMs() + intervalMs;
    this.#options.onInterval?.(this.#meter.perSecond);
  }

  #sample(): void {
    this.#meter.sample(this.#options.count(), this.#options.nowMs());
  }

  #redraw(): void {
    this.#options.terminal.status(this.#line());
  }

  #line(): StatusLine {
    return this.#options.line(this.#meter.perSecond);
  }
}
