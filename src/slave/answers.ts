import type { Holdings } from "../core/holdings.ts";
import type { Answer } from "../core/types.ts";
import type { SlaveMessage } from "../protocol/messages.ts";

/** Answers go out at least so far apart, while the slave has nothing waiting: then the master must know soon. */
const hungryMs = 2;
/** The same while jobs wait here. */
const fedMs = 20;
/** Text of failures at which answers go out whatever the time: what is coalesced must fit a frame. */
const failureCharsMax = 1 << 20;
/** Most text of failures in one answer; beyond it stacks are left out. */
const answerCharsMax = 4 << 20;

export type AnswersOptions = Readonly<{
  holdings: Holdings;
  /** Whether the master takes messages now. */
  canSend: () => boolean;
  credit: () => number;
  send: (message: SlaveMessage) => void;
  nowMs: () => number;
}>;

/** Tells the master how jobs ended: coalesced per lease, at the latest 20 ms after the worker said so. */
export class Answers {
  readonly #options: AnswersOptions;
  #sentAtMs = -Infinity;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #failureChars = 0;
  #saidCredit = -1;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** A worker said something; `failureChars` is the text of the failures in it. */
  arrived(failureChars: number): void {
    this.#failureChars += failureChars;
    if (this.#failureChars > failureCharsMax) return this.flush();
    if (this.#timer !== null) return;
    const { holdings, nowMs } = this.#options;
    const gapMs = holdings.next() === null ? hungryMs : fedMs;
    const waitMs = this.#sentAtMs + gapMs - nowMs();
    this.#timer = setTimeout(() => this.flush(), Math.max(0, waitMs));
  }

  /** Says all there is to say, if the master takes it. */
  flush(): void {
    const { holdings, canSend, credit, send, nowMs } = this.#options;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (!canSend()) return;
    this.#failureChars = 0;
    const answers = holdings.takeAnswers();
    if (answers.length === 0) return;
    this.#sentAtMs = nowMs();
    this.#saidCredit = credit();
    for (const { number, answer } of answers) {
      send({ kind: "answer", number, credit: this.#saidCredit, ...fitting(answer) });
    }
  }

  /** The credit as `ready` says it. */
  readyCredit(): number {
    return this.#saidCredit = this.#options.credit();
  }

  /** Says the credit if it changed by so much that it matters, and no answer did. */
  sayCredit(): void {
    const credit = this.#options.credit();
    const isNews = credit === 0 || this.#saidCredit <= 0 ||
      Math.abs(credit - this.#saidCredit) > this.#saidCredit / 5;
    if (credit === this.#saidCredit || !isNews || !this.#options.canSend()) return;
    this.#saidCredit = credit;
    this.#options.send({ kind: "credit", credit });
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** Thousands of failures with their stacks, saved up over an outage, would not fit a frame. */
function fitting(answer: Answer): Answer {
  const chars = answer.failed.reduce((sum, { message, stack }) => sum + message.length + stack.length, 0);
  if (chars <= answerCharsMax) return answer;
  const messageChars = Math.floor(answerCharsMax / answer.failed.length);
  const failed = answer.failed.map((failure) => ({
    ...failure,
    message: failure.message.slice(0, messageChars),
    stack: "",
  }));
  return { ...answer, failed };
}
