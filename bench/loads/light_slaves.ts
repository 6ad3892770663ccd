// Many slaves in one process: each has a connection of its own and speaks the protocol, and none runs anything.
//   bun bench/loads/light_slaves.ts PORT COUNT [--credit N] [--quiet N] [--hold N] [--trickle MS]
// It prints, as JSON, when all have joined, and at the end of its input how late the master's beats came.
import { parseArgs } from "node:util";
import { setTimeout as pause } from "node:timers/promises";
import type { SlaveLink } from "../../src/link/link.ts";
import type { MasterMessage } from "../../src/protocol/messages.ts";
import { dialAs } from "../../test/kit/fake_slave.ts";
import { tokenText } from "../../test/kit/scenario.ts";

type Lease = Extract<MasterMessage, { kind: "lease" }>;

/** As in src/slave/result_reporter.ts: what part of its credit makes a slave answer at once (half of what is left), and when it answers for less. */
const answerPart = 1 / 3;
const answerMs = 80;

const { positionals: [port, count], values } = parseArgs({
  allowPositionals: true,
  options: {
    /** Jobs that each may hold. */
    credit: { type: "string", default: "200" },
    /** So many of the slaves want no jobs, and hear nothing but beats. */
    quiet: { type: "string", default: "0" },
    /** Each holds this many jobs, and answers the oldest of what it has beyond. */
    hold: { type: "string", default: "0" },
    /** Answers one job in so many milliseconds, and no other; 0 answers at once. */
    trickle: { type: "string", default: "0" },
    /** Most that dial at the same time. */
    dials: { type: "string", default: "50" },
  },
});

/** One slave: answers every lease as done. */
class AnsweringSlave {
  readonly #link: SlaveLink;
  readonly #masterId: string;
  readonly #credit: number;
  readonly #held: Lease[] = [];
  #jobs = 0;
  #isFlushing = false;
  answers = 0;
  answered = 0;
  #heardMs = performance.now();
  #silenceMs = 0;

  constructor(link: SlaveLink, masterId: string, credit: number) {
    this.#link = link;
    this.#masterId = masterId;
    this.#credit = credit;
    link.onHeard = () => this.#hear();
    link.onMessage = (message) => message.kind === "lease" && this.#take(message);
    link.onClose = (reason) => console.log(JSON.stringify({ event: "lost", reason }));
    link.send({ kind: "ready", credit, held: [] });
    if (Number(values.trickle) > 0) setInterval(() => this.#end(1), Number(values.trickle));
  }

  tick(nowMs: number): void {
    this.#link.tick(nowMs);
  }

  #hear(): void {
    const nowMs = performance.now();
    this.#silenceMs = this.silenceMsAt(nowMs);
    this.#heardMs = nowMs;
  }

  /** Longest time without a byte of the master, the time since the last one too. */
  silenceMsAt(nowMs: number): number {
    return Math.max(this.#silenceMs, nowMs - this.#heardMs);
  }

  /** A part of what it may hold is answered at once; less waits for more, as in a real slave. */
  #take(lease: Lease): void {
    this.#held.push(lease);
    this.#jobs += lease.count;
    const room = this.#credit - Number(values.hold);
    if (this.#isFlushing || this.#jobs - Number(values.hold) < room * answerPart) return;
    this.#isFlushing = true;
    setImmediate(() => this.flush());
  }

  /** Answers all but what it is to hold; only the last answer lets the master lease again. */
  flush(): void {
    this.#isFlushing = false;
    if (Number(values.trickle) === 0) this.#end(this.#jobs - Number(values.hold));
  }

  /** Answers so many jobs, the oldest first. */
  #end(jobs: number): void {
    for (let left = jobs; left > 0;) {
      const first = this.#held[0];
      if (first === undefined) return;
      const { number, seq, count } = first;
      const ended = Math.min(count, left);
      if (ended === count) this.#held.shift();
      else this.#held[0] = { ...first, seq: seq + ended, count: count - ended };
      this.#jobs -= ended;
      left -= ended;
      this.#answer(number, seq, seq + ended, left > 0 ? 0 : this.#credit);
    }
  }

  #answer(number: number, from: number, to: number, credit: number): void {
    this.answered += to - from;
    const lease = { masterId: this.#masterId, number };
    const rest = { skipped: [], failed: [], crash: null, released: [] };
    this.#link.send({
      kind: "answer",
      number: ++this.answers,
      lease,
      credit,
      done: [from, to],
      ...rest,
    });
  }
}

/** Tries again as a slave does: a master greets only so many at once. */
async function join(index: number): Promise<AnsweringSlave> {
  for (;;) {
    try {
      const address = { host: "127.0.0.1", port: Number(port) };
      const { link, welcome } = await dialAs(address, {
        token: new TextEncoder().encode(tokenText),
        name: `light-${index}`,
      });
      return new AnsweringSlave(
        link,
        welcome.masterId,
        index < Number(values.quiet) ? 0 : Number(values.credit),
      );
    } catch {
      await pause(250 * (1 + Math.random()));
    }
  }
}

const slaves: AnsweringSlave[] = [];
const indexes = Array.from({ length: Number(count) }, (_, index) => index).values();
setInterval(() => slaves.forEach((slave) => slave.tick(performance.now())), 100);
setInterval(() => slaves.forEach((slave) => slave.flush()), answerMs);
await Promise.all(Array.from({ length: Number(values.dials) }, async () => {
  for (const index of indexes) slaves.push(await join(index));
}));
console.log(JSON.stringify({ event: "joined all" }));
process.stdin.on("end", () => {
  const nowMs = performance.now();
  const counts = {
    jobs: slaves.reduce((sum, { answered }) => sum + answered, 0),
    answers: slaves.reduce((sum, { answers }) => sum + answers, 0),
  };
  const silenceMs = Math.max(...slaves.map((slave) => slave.silenceMsAt(nowMs)));
  process.stdout.write(
    `${JSON.stringify({ event: "silence", silenceMs, ...counts })}\n`,
    () => process.exit(),
  );
});
process.stdin.resume();
