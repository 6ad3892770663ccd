import { headline } from "../core/piece.ts";
import { printable } from "../lib/text.ts";
import { formatDuration } from "../lib/units.ts";
import { describeError } from "../plugin/describe_error.ts";
import type { AnyPlugin, ArgValues, Context } from "../plugin/types.ts";

/** From one question to the next. */
const askMs = 1_000;
/** A question that is not answered for so long holds the run. */
const answerMs = 15_000;
/** The longest pause that an answer may ask for. */
const pauseMsMax = 86_400_000;

type ThrottleOptions = Readonly<{
  throttle: NonNullable<AnyPlugin["throttle"]>;
  context: Omit<Context<ArgValues>, "signal">;
  /** What holds the run from now on, for people; null if nothing does. */
  tell: (reason: string | null) => void;
  /** Wakes `tick` then. */
  wakeBy: (atMs: number) => void;
  nowMs: () => number;
}>;

/** What an answer says: whether the run is held, why, and for how long the next question waits. */
type Answer = Readonly<{ reason: string | null; pauseMs: number }>;

/**
 * Asks the plugin's `throttle` about once a second whether the fleet may go on. It fails closed: until the first answer,
 * and where the function throws, answers what it may not, or does not answer for 15 s, nothing is handed out.
 *
 *            ask                     answered, threw
 *     RESTING ------> ASKING ---------------------------> RESTING
 *                        '--- 15 s without an answer: the run is held; the answer still counts
 */
export class Throttle {
  readonly #options: ThrottleOptions;
  readonly #abort = new AbortController();
  /** When the question that is open was asked; null if none is. */
  #askedAtMs: number | null = null;
  #nextAtMs = -Infinity;
  #reason: string | null = null;
  #isClosed = false;

  constructor(options: ThrottleOptions) {
    this.#options = options;
    this.#hold("throttle() has not answered yet");
  }

  /** Asks if it is time. Returns when to be called next. */
  tick(nowMs: number): number {
    if (this.#isClosed) return Infinity;
    if (this.#askedAtMs === null) {
      if (nowMs < this.#nextAtMs) return this.#nextAtMs;
      this.#askedAtMs = nowMs;
      void this.#ask();
    }
    const lateAtMs = this.#askedAtMs + answerMs;
    if (nowMs < lateAtMs) return lateAtMs;
    this.#hold(`throttle() has not answered for ${answerMs / 1_000} s`);
    return Infinity;
  }

  /** Asks no more; the signal of a question that is open is aborted. */
  close(): void {
    this.#isClosed = true;
    this.#abort.abort();
  }

  async #ask(): Promise<void> {
    const { throttle, context, nowMs, wakeBy } = this.#options;
    const { reason, pauseMs } = await Promise.resolve()
      .then(() => throttle({ ...context, signal: this.#abort.signal }))
      .then(
        readAnswer,
        (error) => held(`throttle() threw: ${printable(headline(describeError(error).message))}`),
      );
    this.#askedAtMs = null;
    if (this.#isClosed) return;
    this.#hold(reason);
    this.#nextAtMs = nowMs() + Math.max(askMs, pauseMs);
    wakeBy(this.#nextAtMs);
  }

  #hold(reason: string | null): void {
    if (reason === this.#reason) return;
    this.#reason = reason;
    this.#options.tell(reason);
  }
}

function held(reason: string, pauseMs = 0): Answer {
  return { reason, pauseMs };
}

/** Reads what `throttle` answered; anything but what it may answer holds the run. */
function readAnswer(answer: unknown): Answer {
  if (answer === undefined || answer === false) return { reason: null, pauseMs: 0 };
  if (answer === true) return held("throttle() says so");
  if (typeof answer !== "object" || answer === null) return held(wrongAnswer);
  const { pauseMs, reason } = answer as { pauseMs?: unknown; reason?: unknown };
  const isPause = typeof pauseMs === "number" && pauseMs >= 0 && pauseMs <= pauseMsMax;
  if (!isPause || (reason !== undefined && typeof reason !== "string")) return held(wrongAnswer);
  return held(
    reason === undefined ? `throttle() asks for ${formatDuration(pauseMs)}` : printable(reason),
    pauseMs,
  );
}

const wrongAnswer =
  "throttle() answered neither a boolean, nothing, nor { pauseMs, reason } with at most a day of milliseconds";
