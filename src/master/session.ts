import { countOf, rangesOf, unite } from "../base/range_set.ts";
import { Chatter } from "../base/chatter.ts";
import { monotonicMs } from "../base/clock.ts";
import type { Ranges } from "../base/ranges.ts";
import { slaveWords, slaveWordsPerSecond } from "../base/wire_limits.ts";
import type { Effect, RunEvent, SessionEnd, SessionId } from "../core/types.ts";
import type { Introduction, MasterMessage, SlaveMessage } from "../protocol/messages.ts";

type AnswerMessage = Extract<SlaveMessage, { kind: "answer" }>;
export type LeaseEffect = Extract<Effect, { kind: "lease" }>;

/** What a session needs of its link. */
export interface Wire {
  send(message: MasterMessage, jobs?: readonly Uint8Array[]): void;
  close(reason: string, told?: string): Promise<void>;
  readonly isCongested: boolean;
  readonly peer: string;
}

/**
 * One slave's connection, from WELCOME to close: translates between its messages and the core's events.
 *
 *                 ready                leaving
 *     WELCOMED ----------> READY ----------------> LEAVING
 *         '------------------'------- close --------'-----> CLOSED
 *
 * WELCOMED: the core does not know it yet. READY: it holds leases. LEAVING: it takes nothing new.
 * CLOSED: nothing it sends is looked at any more.
 *
 * While the link is congested the core is told a credit of 0, and leases that it had made before it knew are handed
 * back to it untried: nothing waits here, other slaves get the jobs.
 */
export class Session {
  readonly id: SessionId;
  readonly intro: Introduction;
  readonly welcomedAtMs: number;
  readonly #wire: Wire;
  readonly #tell: (event: RunEvent) => void;
  #at: "welcomed" | "ready" | "leaving" | "closed" = "welcomed";
  /** It broke a rule, and was closed for that. */
  hasOffended = false;
  /** What the slave waits for, in its words; empty if for nothing. */
  notice = "";
  /** When that was a warning last. */
  noticeSaidAtMs = -Infinity;
  /** What the slave said last, and what the core was told of it. */
  #credit = 0;
  #creditTold = 0;
  /** The number of the latest answer. */
  #answers = 0;
  /** What it says beside answers. */
  readonly #chatter: Chatter;

  constructor(
    id: SessionId,
    intro: Introduction,
    wire: Wire,
    tell: (event: RunEvent) => void,
    nowMs: number,
  ) {
    this.id = id;
    this.intro = intro;
    this.welcomedAtMs = nowMs;
    this.#chatter = new Chatter(slaveWords, slaveWordsPerSecond, nowMs);
    this.#wire = wire;
    this.#tell = tell;
  }

  get at(): "welcomed" | "ready" | "leaving" | "closed" {
    return this.#at;
  }

  /** Whether the core knows this session. */
  get hasJoined(): boolean {
    return this.#at === "ready" || this.#at === "leaving";
  }

  /** One message of the slave. A message out of place costs the session, and nothing else. */
  receive(message: SlaveMessage, at: string): void {
    if (this.#at === "closed") return;
    const isAnytime = message.kind === "beat" || message.kind === "bye";
    if ((message.kind === "ready") === this.hasJoined && !isAnytime) {
      return this.#offend(`said "${message.kind}" ${this.hasJoined ? "twice" : 'before "ready"'}`);
    }
    if (message.kind !== "answer" && this.#chatter.isTooMuch(monotonicMs(), wordsOf(message))) {
      return this.#offend("said more beside answers than there can be to say");
    }
    switch (message.kind) {
      case "ready":
        return this.#join(message);
      case "credit":
        return this.#takeCredit(message.credit);
      case "answer":
        return this.#answer(message, at);
      case "leaving":
        return this.#leave();
      case "notice":
        this.notice = message.text;
        return;
      case "excused":
        return this.#tell({ kind: "excused", session: this.id, jobs: message.jobs });
      case "again":
        return this.#tell({ kind: "again", session: this.id, count: message.count });
      case "late":
        if (message.count < message.errors.length) this.#offend("counted fewer late errors than it named");
        return;
      case "bye":
      case "beat":
        return;
      default:
        return message satisfies never;
    }
  }

  /** Bytes came. */
  hear(): void {
    if (this.hasJoined) this.#tell({ kind: "heard", session: this.id });
  }

  send(message: MasterMessage, jobs?: readonly Uint8Array[]): void {
    if (this.#at === "closed") return;
    this.#wire.send(message, jobs);
    this.#tellCredit();
  }

  lease(effect: LeaseEffect): void {
    if (this.#at === "closed") return;
    if (!this.#wire.isCongested) {
      return this.send(
        toLeaseMessage(effect),
        effect.parts.map(({ bytes }) => bytes),
      );
    }
    // First, or the core would lease the same jobs to this session again.
    this.#tellCredit();
    this.#handBack(effect);
  }

  /** The link takes bytes again. */
  drained(): void {
    this.#tellCredit();
  }

  /** The connection is gone; the core hears of it, unless it was the core that ended it. `at` is the wall clock. */
  lost(at: string): void {
    if (this.hasJoined) this.#tell({ kind: "left", session: this.id, how: this.#howItEnds(), at });
    this.#close();
  }

  /** Ends the connection, without a word to the core. Resolves when it is gone. */
  async end(reason: string, told = reason): Promise<void> {
    if (this.#at === "closed") return;
    this.#close();
    await this.#wire.close(reason, told);
  }

  /** The slave broke a rule: `what` it did, as our log and its own are to say it. */
  #offend(what: string): void {
    this.hasOffended = true;
    void this.#wire.close(`it ${what}`, `this slave ${what}`);
  }

  #join(message: Extract<SlaveMessage, { kind: "ready" }>): void {
    this.#at = "ready";
    this.#credit = this.#creditTold = message.credit;
    const { slaveId, name } = this.intro;
    const { credit, held, untouched = [] } = message;
    this.#tell({ kind: "joined", session: this.id, slaveId, slaveName: name, credit, held, untouched });
  }

  #answer(message: AnswerMessage, at: string): void {
    // a number that was there before: the answer is given again, and is stale
    if (message.number < 1 || message.number > this.#answers + 1) {
      return this.#offend(`numbered its answer ${message.number}, behind ${this.#answers}`);
    }
    if (namesTwice(message)) return this.#offend(`named a job twice in answer ${message.number}`);
    this.#answers = Math.max(this.#answers, message.number);
    this.#tell({ kind: "answered", session: this.id, number: message.number, answer: message, at });
    this.#takeCredit(message.credit);
  }

  /** As if the slave had handed the whole lease back, in an answer of no number: it never heard of it. */
  #handBack({ lease, parts }: LeaseEffect): void {
    const released = [parts[0]!.seq, parts.at(-1)!.end];
    const answer = { lease, done: [], skipped: [], failed: [], crash: null, released };
    this.#tell({ kind: "answered", session: this.id, number: 0, answer, at: "" });
  }

  #leave(): void {
    this.#at = "leaving";
    this.#tell({ kind: "leaving", session: this.id });
  }

  #takeCredit(credit: number): void {
    this.#credit = credit;
    this.#tellCredit();
  }

  #tellCredit(): void {
    if (!this.hasJoined) return;
    const credit = this.#wire.isCongested ? 0 : this.#credit;
    if (credit === this.#creditTold) return;
    this.#creditTold = credit;
    this.#tell({ kind: "credit", session: this.id, credit });
  }

  #howItEnds(): SessionEnd {
    return this.#at === "leaving" ? "drained" : "closed";
  }

  #close(): void {
    this.#at = "closed";
  }
}

/** As how many words a message counts: one that names much costs as much. */
function wordsOf(message: SlaveMessage): number {
  if (message.kind === "late") return 1 + message.errors.length / lateErrorsPerWord;
  return message.kind === "excused" ? 1 + message.jobs.length / excusedPerWord : 1;
}

/** What is late comes in a few messages a second, of a hundred errors each; what is excused is said seldom, and may be much. */
const lateErrorsPerWord = 10, excusedPerWord = 200;

/** Whether a job stands in two fields of an answer, or fails twice: then the slave contradicts itself. */
export function namesTwice(
  { done, skipped, failed, crash, released }: Omit<AnswerMessage, "kind" | "number" | "credit">,
): boolean {
  const sets = [done, skipped, crash?.suspects ?? none, released].filter((set) => set.length > 0);
  if (sets.length + failed.length < 2) return false;
  const failures = failed.map(({ seq }) => seq).sort((a, b) => a - b);
  if (failures.some((seq, index) => seq === failures[index + 1])) return true;
  if (failures.length > 0) sets.push(rangesOf(failures));
  const all = sets.reduce<Ranges>((one, other) => unite(one, other), none);
  return countOf(all) < sets.reduce((sum, set) => sum + countOf(set), 0);
}

const none: Ranges = [];

/** In place of the jobs, which are sent as the parts they are. */
const inParts = new Uint8Array(0);

function toLeaseMessage({ lease, parts, attempt, alone, probe }: LeaseEffect): MasterMessage {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  return {
    kind: "lease",
    number: lease.number,
    seq: parts[0]!.seq,
    count,
    attempt,
    alone,
    probe,
    jobs: inParts,
  };
}
