import { clearImmediate, clearTimeout, setImmediate, setTimeout } from "../lib/clock.ts";
import { creditMax, lateErrorsMax, messageJobs } from "../lib/limits.ts";
import type { Answer, LateError, SlaveMessage } from "../protocol/messages.ts";
import type { LeaseLedger } from "./ledger.ts";

/** Longest a job that ended waits for others to be answered with. */
const answerMs = 80;
/** The same while a worker has nothing to do, so that it is not fed crumbs. */
const hungryMs = 1;
/**
 * Once this part of what the slave holds has ended, answers go out. Were each slice answered by itself, the leases cut
 * from the credit would be as small, and the slices cut from those smaller yet.
 */
const answerPart = 1 / 2;
/** The same where messages are large anyway. */
const largeAnswerPart = 1 / 4;
/** Text of failures at which answers go out whatever the time: what is coalesced must fit a frame. */
const failureCharsMax = 1 << 20;
/** Most text of failures in one answer; beyond it stacks are left out. */
const answerCharsMax = 2 << 20;

type ResultReporterOptions = Readonly<{
  ledger: LeaseLedger;
  /** Whether the master takes messages now. */
  canSend: () => boolean;
  /** Whether the master named the feature `again`. */
  knowsAgain: () => boolean;
  credit: () => number;
  /** Whether a worker has nothing to do. */
  isHungry: () => boolean;
  nowMs: () => number;
  send: (message: SlaveMessage) => void;
}>;

/** Tells the master how jobs ended: coalesced per lease, at the latest 80 ms after the worker said so. */
export class ResultReporter {
  readonly #options: ResultReporterOptions;
  /** Jobs that ended since the answers before. */
  #ended = 0;
  #sentAtMs = -Infinity;
  #timerAtMs = 0;
  #immediate: ReturnType<typeof setImmediate> | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #failureChars = 0;
  #saidCredit = -1;
  /** Taken from the ledger, and not sent: the connection takes no more for now. */
  #unsent: ReturnType<LeaseLedger["takeAnswers"]> = [];
  /** Errors that came after the end of their jobs, not said yet; some of them named. */
  #late: { errors: LateError[]; count: number } = { errors: [], count: 0 };
  #lateSaidAtMs = -Infinity;
  /** Jobs that run again here, not said yet. */
  #again = 0;
  /** The most credit said in this session. */
  mostCredit = 0;

  constructor(options: ResultReporterOptions) {
    this.#options = options;
  }

  /** Jobs ended or came back, `jobs` of them; `failureChars` is the text of the failures among them. */
  arrived(jobs: number, failureChars: number): void {
    this.#ended += jobs;
    this.#failureChars += failureChars;
    if (this.#failureChars > failureCharsMax) return this.flush();
    const waitMs = this.#waitMs();
    if (waitMs <= 0) this.#immediate ??= setImmediate(() => this.flush());
    else this.#sendBy(waitMs);
  }

  /** Errors came after the end of their jobs. They wait for a master, not for a durable state: of those it counts. */
  late(errors: readonly LateError[], count: number): void {
    this.#late.errors.push(...errors.slice(0, lateErrorsMax - this.#late.errors.length));
    this.#late.count += count;
    if (this.#options.nowMs() >= this.#lateSaidAtMs + answerMs) this.sayLate();
    else this.#sendBy(answerMs);
  }

  /** So many jobs that had ended here run again here. It waits for a master, like what is late. */
  again(count: number): void {
    this.#again += count;
    this.#sayAgain();
  }

  #sayAgain(): void {
    const { canSend, knowsAgain, send } = this.#options;
    if (this.#again === 0 || !canSend()) return;
    if (knowsAgain()) send({ kind: "again", count: Math.min(this.#again, creditMax) });
    this.#again = 0;
  }

  /** Says what is late, if the master takes it. */
  sayLate(): void {
    const { canSend, send, nowMs } = this.#options;
    if (this.#late.count === 0 || !canSend()) return;
    this.#lateSaidAtMs = nowMs();
    send({ kind: "late", ...this.#late });
    this.#late = { errors: [], count: 0 };
  }

  /** How long the answers may wait for more. */
  #waitMs(): number {
    const { ledger, isHungry, nowMs } = this.#options;
    const part = this.#ended >= messageJobs ? largeAnswerPart : answerPart;
    if (this.#ended >= ledger.jobs * part) return 0;
    return isHungry() ? this.#sentAtMs + hungryMs - nowMs() : answerMs;
  }

  #sendBy(waitMs: number): void {
    const atMs = this.#options.nowMs() + waitMs;
    if (this.#timer !== null && this.#timerAtMs <= atMs) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timerAtMs = atMs;
    this.#timer = setTimeout(() => this.flush(), Math.ceil(waitMs));
  }

  /** Whether all that the ledger gave was sent. */
  get isAllSent(): boolean {
    return this.#unsent.length === 0;
  }

  /** Says all there is to say, as far as the master takes it; the rest once the connection has drained. */
  flush(): void {
    const { ledger, canSend, send } = this.#options;
    this.stop();
    if (!canSend()) return;
    this.sayLate();
    this.#sayAgain();
    this.#ended = 0;
    this.#failureChars = 0;
    this.#unsent = this.#unsent.concat(ledger.takeAnswers());
    if (this.#unsent.length === 0) return;
    this.#sentAtMs = this.#options.nowMs();
    this.#saidCredit = this.#promise();
    let sent = 0;
    while (sent < this.#unsent.length && canSend()) {
      const { number, answer } = this.#unsent[sent++]!;
      // Only with the last one may the master lease again: one batch in place of all that ended, not one in place of each.
      const isLast = sent === this.#unsent.length;
      send({ kind: "answer", number, credit: isLast ? this.#saidCredit : 0, ...fitting(answer) });
    }
    this.#unsent = this.#unsent.slice(sent);
  }

  /** The credit as `ready` says it, the first word of a session: what was not sent in the one before is pending again. */
  readyCredit(): number {
    this.#unsent = [];
    this.mostCredit = 0;
    return this.#saidCredit = this.#promise();
  }

  /** Says the credit if it cannot wait for an answer to say it: a worker has nothing to do, or it became another altogether. */
  sayCredit(): void {
    const { isHungry, canSend } = this.#options;
    const credit = this.#options.credit(), said = this.#saidCredit;
    const isNews = credit === 0 || said <= 0 || credit >= 2 * said || 2 * credit <= said ||
      (credit > said && isHungry());
    if (credit === said || !isNews || !canSend()) return;
    this.#saidCredit = this.#promise();
    this.#options.send({ kind: "credit", credit });
  }

  #promise(): number {
    const credit = this.#options.credit();
    this.mostCredit = Math.max(this.mostCredit, credit);
    return credit;
  }

  /** Nothing goes out by itself any more. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#immediate !== null) clearImmediate(this.#immediate);
    this.#timer = null;
    this.#immediate = null;
  }
}

/** How much text these failures are. */
export function charsOf(failed: Answer["failed"]): number {
  return failed.reduce((sum, { message, stack }) => sum + message.length + stack.length, 0);
}

/** Thousands of failures with their stacks, saved up over an outage, would not fit a frame. */
function fitting(answer: Answer): Answer {
  if (charsOf(answer.failed) <= answerCharsMax) return answer;
  const messageChars = Math.floor(answerCharsMax / answer.failed.length);
  const failed = answer.failed.map((failure) => ({
    ...failure,
    message: failure.message.slice(0, messageChars),
    stack: "",
  }));
  return { ...answer, failed };
}
