import { headline, placeOfFault } from "../core/piece.ts";
import type { DeadLetter, FailedAttempt } from "../core/types.ts";
import type { Unsendable } from "../lib/bytes.ts";
import type { Log, LogLevel } from "../lib/log.ts";
import { asClause, messageGroup, messageGroupsMax, printable } from "../lib/text.ts";
import { formatDuration } from "../lib/units.ts";
import type { MasterEvent } from "./events.ts";

/** Most lines a second of one message, and of all of them; the rest is counted. */
const linesOfMessageMax = 5;
const linesMax = 50;
/** Most messages of one second that are named with their count. */
const namedMax = 10;
const secondMs = 1_000;

/** Jobs with one message, within one second. */
type LineGroup = { shown: number; hidden: number; sample: string; seq: number };

/**
 * Writes what happens to the log. Jobs fail in thousands with one message or a few: a line a dead letter at info, a line
 * a failed attempt at debug, of which only the first of a second are shown for each message; then their number.
 */
export class LogLines {
  readonly #log: Log;
  readonly #dead: LimitedLines;
  readonly #attempts: LimitedLines;
  /** The first error that came late is a line at once: whoever looks on may want to mend the plugin now. */
  #hasToldLate = false;

  constructor(log: Log) {
    this.#log = log;
    this.#dead = new LimitedLines(log, "info", ["more job is a dead letter", "more jobs are dead letters"]);
    this.#attempts = new LimitedLines(log, "debug", ["more attempt failed", "more attempts failed"]);
  }

  happened(event: MasterEvent, nowMs: number): void {
    switch (event.kind) {
      case "joined":
        return this.#joined(event);
      case "left":
        return this.#left(event);
      case "warning":
      case "log":
        return this.#log(event.level, event.message, event.fields);
      case "late":
        return this.#late(event);
      case "attempt failed":
        return this.#attempt(event.failed, nowMs);
      case "dead letters":
        return event.letters.forEach((letter) => this.#buried(letter, nowMs));
      case "control":
        return this.#log("info", controlLine(event));
      case "started":
      case "saved":
      case "stopping":
      case "ended":
        return;
      default:
        return event satisfies never;
    }
  }

  /** Says how many were not shown, once a second is over. Returns when to call again. */
  tick(nowMs: number): number {
    return Math.min(this.#dead.tick(nowMs), this.#attempts.tick(nowMs));
  }

  /** Says so now. */
  close(): void {
    this.tick(Infinity);
  }

  #joined({ slave, plugin, procs, version }: Extract<MasterEvent, { kind: "joined" }>): void {
    const runs = plugin === null ? "without a plugin of its own" : `running '${plugin}'`;
    this.#log("info", `Slave '${slave}' joined, ${runs}.`, { procs, version });
  }

  #left({ slave, reason, isOffence }: Extract<MasterEvent, { kind: "left" }>): void {
    const why = asClause(reason);
    if (isOffence) this.#log("warn", `Slave '${slave}' broke the protocol, and was closed: ${why}.`);
    else this.#log("info", `Slave '${slave}' left: ${why}.`);
  }

  #late({ slave, errors }: Extract<MasterEvent, { kind: "late" }>): void {
    const first = errors[0];
    if (this.#hasToldLate || first === undefined) return;
    this.#hasToldLate = true;
    const whose = first.seq === null ? "after the end of jobs" : `of job ${first.seq}, which had ended`;
    this.#log("warn", `Slave '${slave}': an error ${whose}, as of a forgotten await: ${first.message}`);
  }

  #buried({ seq, history, row }: DeadLetter, nowMs: number): void {
    const message = row === undefined ? history.attempts.at(-1)?.message ?? "" : faultOf(row);
    const how = row === undefined
      ? `is a dead letter${howOf(history)}`
      : "cannot be sent, and is a dead letter";
    this.#dead.add(seq, message, nowMs, () => `Job ${seq} ${how}`);
  }

  #attempt(failed: FailedAttempt, nowMs: number): void {
    this.#attempts.add(failed.seq, failed.attempt.message, nowMs, () => attemptLine(failed));
  }
}

/** `pause, by anna@web1:4711`. */
function controlLine({ command, value, by }: Extract<MasterEvent, { kind: "control" }>): string {
  return `Told to ${command}${value === null ? "" : ` ${printable(value, 100)}`}, by ${printable(by, 100)}.`;
}

/** `Job 7 failed, 2 of 3, at web3, and is tried again in 1.5s`. */
function attemptLine(
  { seq, attempt, count, countMax, isCharged, isBuried, retryInMs }: FailedAttempt,
): string {
  const { how, slave } = attempt;
  const what = how === "threw" ? "failed" : how === "fatal" ? "failed for good" : how;
  const counted = isCharged && how !== "fatal" ? `, ${count} of ${countMax}` : isCharged ? "" : ", uncharged";
  const next = isBuried
    ? "becomes a dead letter"
    : retryInMs === null
    ? isCharged ? "has no attempts left" : "is tried again later"
    : `is tried again in ${formatDuration(retryInMs)}`;
  return `Job ${seq} ${what}${counted}, at ${printable(slave, 60)}${placeOfFault(attempt)}, and ${next}`;
}

function faultOf({ path, reason }: Unsendable): string {
  return `at ${path} there is ${reason}`;
}

/** ` after 3 failures and 1 crash, the last at web3`. */
function howOf({ failures, crashes, attempts }: DeadLetter["history"]): string {
  const last = attempts.at(-1);
  const counts = [
    ...(failures > 0 ? [`${failures} failure${failures === 1 ? "" : "s"}`] : []),
    ...(crashes > 0 ? [`${crashes} crash${crashes === 1 ? "" : "es"}`] : []),
  ];
  const after = last?.how === "fatal"
    ? ", by ctx.fatal"
    : counts.length === 0
    ? ""
    : ` after ${counts.join(" and ")}`;
  const at = last === undefined || last.slave === ""
    ? ""
    : `, the last at ${printable(last.slave, 60)}${placeOfFault(last)}`;
  return `${after}${last?.how === "fatal" ? at.replace("the last at", "at") : at}`;
}

/** Lines of the log that come in floods: a few a second of each message, then a count. */
class LimitedLines {
  readonly #log: Log;
  readonly #level: LogLevel;
  /** What there is more of: one, and many. */
  readonly #what: readonly [string, string];
  readonly #groups = new Map<string, LineGroup>();
  #shown = 0;
  #endsMs = Infinity;

  constructor(log: Log, level: LogLevel, what: readonly [string, string]) {
    this.#log = log;
    this.#level = level;
    this.#what = what;
  }

  add(seq: number, message: string, nowMs: number, line: () => string): void {
    this.tick(nowMs);
    if (this.#endsMs === Infinity) this.#endsMs = nowMs + secondMs;
    const sample = asClause(headline(message));
    const group = this.#groupOf(sample);
    if (group.shown < linesOfMessageMax && this.#shown < linesMax) {
      group.shown++;
      this.#shown++;
      return this.#log(this.#level, sample === "" ? line() : `${line()}: ${printable(sample)}`);
    }
    group.hidden++;
    group.sample = sample;
    group.seq = seq;
  }

  tick(nowMs: number): number {
    if (nowMs < this.#endsMs) return this.#endsMs;
    const hidden = [...this.#groups.values()].filter((group) => group.hidden > 0)
      .sort((a, b) => b.hidden - a.hidden);
    this.#groups.clear();
    this.#shown = 0;
    this.#endsMs = Infinity;
    for (const { hidden: count, sample, seq } of hidden.slice(0, namedMax)) {
      const which = count === 1 ? `job ${seq}` : `job ${seq} the last of them`;
      this.#log(this.#level, `${this.#more(count)}, ${which}: ${printable(sample)}`);
    }
    const rest = hidden.slice(namedMax).reduce((sum, group) => sum + group.hidden, 0);
    if (rest > 0) {
      const others = hidden.length - namedMax;
      this.#log(this.#level, `${this.#more(rest)}, with ${others} other message${others === 1 ? "" : "s"}`);
    }
    return Infinity;
  }

  #more(count: number): string {
    return `${count} ${this.#what[count === 1 ? 0 : 1]}`;
  }

  #groupOf(sample: string): LineGroup {
    const key = messageGroup(sample);
    const known = this.#groups.get(key) ??
      (this.#groups.size < messageGroupsMax ? undefined : this.#groups.get(""));
    if (known !== undefined) return known;
    const group = { shown: 0, hidden: 0, sample, seq: 0 };
    this.#groups.set(this.#groups.size < messageGroupsMax - 1 ? key : "", group);
    return group;
  }
}
