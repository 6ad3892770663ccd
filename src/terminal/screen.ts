import { execFile, spawnSync } from "node:child_process";
import { fstatSync, readFileSync } from "node:fs";
import { monotonicMs } from "../lib/clock.ts";
import type { StatusLine } from "./status_line.ts";

/** The part of a stream, such as stderr, that a screen needs. */
export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean; readonly columns?: number };

type ScreenOptions = Readonly<{
  output: Output;
  /** `TERM`: a terminal that calls itself dumb knows no escapes. */
  term: string | undefined;
  /** Whether the terminal is this process's own at this moment. */
  isForeground: () => boolean;
}>;

/** Back to the beginning of the line, and erase it. */
const eraseLine = "\r\x1b[K";
/** Columns assumed for a terminal that reports no width, or 0. */
const columnsDefault = 80;

/**
 * Lines that stay and, on a terminal, one line below them that is redrawn in place. Off a terminal, and while a shell
 * has the terminal because this process runs in the background, a status is a line like any other, and nothing is ever
 * written but its text.
 *
 * The cursor waits at the end of the status, and never moves up: other processes, a slave's workers above all, write to
 * the same terminal, and what they write must not be erased with a status that was meant.
 */
export class Screen {
  readonly #output: Output;
  readonly #isForeground: () => boolean;
  /** Whether it is a terminal on which a line can be erased. */
  readonly isTerminal: boolean;
  /** The status on the terminal; null if there is none. */
  #status: StatusLine | null = null;
  #isClosed = false;

  constructor({ output, term, isForeground }: ScreenOptions) {
    this.#output = output;
    this.#isForeground = isForeground;
    this.isTerminal = output.isTTY === true && term !== "dumb";
  }

  /**
   * Whether a status is redrawn in place now. It changes when the user sends the process to the background, or fetches
   * it back.
   */
  get isLive(): boolean {
    const isLive = this.isTerminal && this.#isForeground();
    // The shell has written its prompt since: that line is not ours to erase.
    if (!isLive) this.#status = null;
    return isLive;
  }

  /** Writes a line that stays; on a terminal, above the status. */
  line(text: string): void {
    if (!this.isLive || this.#status === null) this.#output.write(`${text}\n`);
    else this.#output.write(`${eraseLine}${text}\n${this.#fit(this.#status)}`);
  }

  /** Shows a status: in place of the one before on a terminal, as a line elsewhere. */
  status(status: StatusLine): void {
    if (this.#isClosed) return;
    if (!this.isLive) return this.line(status(Infinity));
    this.#status = status;
    this.#output.write(`${eraseLine}${this.#fit(status)}`);
  }

  /** Leaves the last status standing; lines may still follow. */
  close(): void {
    if (this.#isClosed) return;
    if (this.isLive && this.#status !== null) this.#output.write("\n");
    this.#isClosed = true;
    this.#status = null;
  }

  /**
   * One line of the terminal: a wrapped one could not be erased. The last column stays free, for some wrap once it is
   * full.
   */
  #fit(status: StatusLine): string {
    return status((this.#output.columns || columnsDefault) - 1);
  }
}

/**
 * A line from a process that shares its terminal with another one's status: the status is erased, and comes again.
 *
 * @param isForeground Whether that other process has the terminal: else a shell's prompt would be erased.
 */
export function lineOverStatus(output: Output, text: string, isForeground: () => boolean): void {
  const mayErase = output.isTTY === true && process.env["TERM"] !== "dumb" && isForeground();
  output.write(`${mayErase ? eraseLine : ""}${text}\n`);
}

/** How long an answer of `/proc` holds, for lines come in thousands; and one of `ps`, which is a program to start. */
const procAnswerMs = 200;
const psAnswerMs = 2_000;
/** Longest that `ps` is waited for. */
const psMs = 1_000;

/** What tells the foreground: `/proc` on Linux, `ps` on other systems that have job control. */
type ForegroundSource = "proc" | "ps" | "none";

/**
 * Whether a process is in the foreground group of stderr's terminal, as a shell's job control sets it. True where this
 * cannot be known: without `/proc` or `ps`, and on a terminal that is not the one that controls the process.
 */
export class Foreground {
  readonly #pid: number;
  readonly #source: ForegroundSource;
  #answer = true;
  #askAtMs = -Infinity;

  constructor(pid = process.pid, source: ForegroundSource = sourceOfSystem()) {
    this.#pid = pid;
    this.#source = source;
  }

  readonly isForeground = (): boolean => {
    const nowMs = monotonicMs();
    if (this.#source === "none" || nowMs < this.#askAtMs) return this.#answer;
    const isFirst = this.#askAtMs === -Infinity;
    this.#askAtMs = nowMs + (this.#source === "proc" ? procAnswerMs : psAnswerMs);
    if (this.#source === "proc") this.#answer = answerOfProc(this.#pid);
    else this.#askPs(isFirst);
    return this.#answer;
  };

  /** Only the first answer is waited for: a later one counts from the next question on. */
  #askPs(isFirst: boolean): void {
    const args = ["-o", "tpgid=,pgid=", "-p", String(this.#pid)];
    const options = { encoding: "utf8", timeout: psMs } as const;
    if (isFirst) this.#answer = answerOfPs(spawnSync("ps", args, options).stdout);
    else {execFile("ps", args, options, (error, text) => this.#answer = error !== null || answerOfPs(text))
        .unref();}
  }
}

function sourceOfSystem(): ForegroundSource {
  return process.platform === "linux" ? "proc" : process.platform === "win32" ? "none" : "ps";
}

/** Fields of `/proc/PID/stat` behind the name, which may hold anything: state, ppid, pgrp, session, tty_nr, tpgid. */
function answerOfProc(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").map(Number);
    const isControlling = [terminal, devTty].includes(fstatSync(2).rdev);
    return !isControlling || foreground! <= 0 || foreground === group;
  } catch {
    return true;
  }
}

/** `/dev/tty`, which is the controlling terminal under another name. */
const devTty = 0x500;

function answerOfPs(text: string | null): boolean {
  const [foreground, group] = (text ?? "").trim().split(/\s+/).map(Number);
  return !(foreground! > 0 && group! > 0) || foreground === group;
}
