import { clearInterval, setInterval } from "../base/clock.ts";
import { RateMeter } from "./rate_meter.ts";
import type { StatusLine } from "./status_line.ts";
import type { Terminal } from "./terminal.ts";

export type ProgressOptions = Readonly<{
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
