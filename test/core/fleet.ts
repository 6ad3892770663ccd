import { createHash } from "node:crypto";
import { Heap } from "../../src/lib/collections.ts";
import { countOf, unite } from "../../src/lib/ranges.ts";
import { Run } from "../../src/core/run.ts";
import type { Effect, Outcome, RunSettings } from "../../src/core/types.ts";
import type { Answer, Failure } from "../../src/protocol/messages.ts";
import { blockOf, numberOf, settings } from "./fixture.ts";
import { noticeInWords, reasonInWords } from "../../src/observe/phrases.ts";

/** One attempt: it takes `ms`, and then succeeds, fails, or crashes its worker. */
export type Attempt = Readonly<{ ms: number; ok: boolean; crashes?: boolean; message?: string }>;

/** A fleet with simulated time. `attempt` is called when an attempt begins. */
export type FleetPlan = Readonly<{
  jobs: number;
  /** The job after an unsendable row. @default none */
  rowBefore?: number;
  /** Concurrent attempts of each slave. */
  slots: readonly number[];
  /** Jobs that each slave holds besides its running ones. @default as many as its slots */
  ahead?: number;
  /** How long a slave collects results of one lease before it answers. @default 0 */
  answerMs?: number;
  /** When each slave joins, in ms. @default at once */
  joinMs?: readonly number[];
  attempt: (nowMs: number, slave: number, job: number) => Attempt;
  settings?: Partial<RunSettings>;
  seed?: number;
  /** The simulation stops after this time, in seconds. @default 3,000 */
  limitS?: number;
  /** Called with the status after each step. */
  look?: (status: Readonly<{ reason: string }>) => void;
}>;

/** The outcome of a simulated run. */
export type FleetResult = Readonly<{
  seconds: number;
  done: number;
  dead: readonly number[];
  calls: number;
  callsOfOne: number;
  outcome: Outcome | null;
  warnings: readonly string[];
  /** When jobs were done, in seconds, ascending. */
  doneAt: readonly number[];
  reason: string;
  /** How many turns of the event loop the master took. */
  turns: number;
}>;

type Lease = Extract<Effect, { kind: "lease" }>;
type Job = { lease: Lease; seq: number; id: number };
type Slave = {
  session: number;
  slots: number;
  running: number;
  queue: Job[];
  answers: number;
  /** Results not yet answered, by lease number. */
  toSay: Map<number, Mutable<Answer>>;
};
type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly Failure[] ? Failure[] : T[K] };
type Event = { atMs: number; number: number; run: () => void };

const row = { cursor: new Uint8Array([0]), path: "job", reason: "odd", dataFault: "odd" };
/** One-way latency of a message. */
const latencyMs = 0.2;

/**
 * Simulates a whole run of the real core against slaves. Deterministic: the same plan always gives the same result.
 */
export function play(plan: FleetPlan): FleetResult {
  return new Fleet(plan).play();
}

class Fleet {
  readonly #plan: FleetPlan;
  readonly #run: Run;
  readonly #slaves: Slave[];
  readonly #events = new Heap<Event>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number));
  #number = 0;
  #nowMs = 0;
  #wakeMs = 0;
  #yielded = 0;
  #done = 0;
  readonly #dead: number[] = [];
  readonly #calls: number[] = [];
  readonly #doneAt: number[] = [];
  readonly #warnings: string[] = [];
  #outcome: Outcome | null = null;
  #turnAtMs = -1;
  #turns = 0;

  constructor(plan: FleetPlan) {
    this.#plan = plan;
    const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
    const all = { ...settings, jobsMax: 10_000, digest, random: random(plan.seed ?? 1), ...plan.settings };
    this.#run = new Run(all, null, 0);
    this.#slaves = plan.slots.map((slots, index) => ({
      session: index + 1,
      slots,
      running: 0,
      queue: [],
      answers: 0,
      toSay: new Map(),
    }));
  }

  get #reason(): string {
    return reasonInWords(this.#run.status(this.#nowMs).reason);
  }

  play(): FleetResult {
    for (const [index, slave] of this.#slaves.entries()) {
      const joinMs = this.#plan.joinMs?.[index] ?? 0;
      if (joinMs === 0) this.#join(slave);
      else this.#at(joinMs, () => this.#join(slave));
    }
    this.#turn();
    const limitMs = (this.#plan.limitS ?? 3_000) * 1_000;
    while (this.#outcome === null && this.#nowMs < limitMs) {
      this.#step();
      this.#plan.look?.({ reason: this.#reason });
    }
    return {
      seconds: Math.round(this.#nowMs / 10) / 100,
      done: this.#done,
      dead: this.#dead.sort((a, b) => a - b),
      calls: this.#calls.reduce((sum, count) => sum + count, 0),
      callsOfOne: this.#calls.reduce((most, count) => Math.max(most, count), 0),
      outcome: this.#outcome,
      warnings: this.#warnings,
      doneAt: this.#doneAt,
      reason: this.#reason,
      turns: this.#turns,
    };
  }

  #join(slave: Slave): void {
    const { session, slots } = slave;
    const name = `web${session}`;
    const credit = slots + (this.#plan.ahead ?? slots);
    this.#apply({ kind: "joined", session, slaveId: name, slaveName: name, credit, held: [] });
    this.#beat(slave);
  }

  #step(): void {
    const event = this.#events.first;
    if (event === undefined || event.atMs >= this.#wakeMs) {
      this.#nowMs = Math.max(this.#nowMs, this.#wakeMs);
      return this.#turn();
    }
    this.#events.pop();
    this.#nowMs = event.atMs;
    event.run();
  }

  #at(atMs: number, run: () => void): void {
    this.#events.push({ atMs, number: this.#number++, run });
  }

  #beat(slave: Slave): void {
    this.#apply({ kind: "heard", session: slave.session });
    this.#at(this.#nowMs + 5_000, () => this.#beat(slave));
  }

  #apply(event: Parameters<Run["apply"]>[0]): void {
    if (this.#nowMs >= this.#wakeMs) this.#wakeMs = this.#run.tick(this.#nowMs);
    this.#run.apply(event, this.#nowMs);
    if (this.#turnAtMs === this.#nowMs) return;
    this.#turnAtMs = this.#nowMs;
    this.#at(this.#nowMs, () => this.#turn());
  }

  #turn(): void {
    this.#turnAtMs = -1;
    this.#turns++;
    for (;;) {
      this.#wakeMs = Math.max(this.#run.tick(this.#nowMs), this.#nowMs + 0.01);
      this.#pull();
      const effects = this.#run.takeEffects();
      if (effects.length === 0) return;
      for (const effect of effects) this.#carryOut(effect);
    }
  }

  #pull(): void {
    const { jobs, rowBefore = jobs } = this.#plan;
    const left = jobs - this.#yielded;
    const untilRow = this.#yielded < rowBefore ? rowBefore - this.#yielded : left;
    const count = Math.min(untilRow, this.#run.demand().jobs);
    if (count > 0) {
      if (this.#yielded === rowBefore) this.#run.apply({ kind: "unsendable", row }, this.#nowMs);
      const block = blockOf(this.#yielded, count);
      this.#yielded += count;
      this.#run.apply({ kind: "yielded", block, moreAtHand: left > count }, this.#nowMs);
    }
    if (this.#yielded === this.#plan.jobs) this.#run.apply({ kind: "source ended" }, this.#nowMs);
  }

  #carryOut(effect: Effect): void {
    switch (effect.kind) {
      case "lease":
        return this.#at(this.#nowMs + latencyMs, () => this.#receive(effect));
      case "bury": {
        const seqs = effect.letters.flatMap(({ seq }) => [seq, seq + 1]);
        this.#dead.push(...effect.letters.flatMap(({ job }) => job === null ? [] : [numberOf(job)]));
        return this.#at(this.#nowMs + 5, () => {
          for (let i = 0; i < seqs.length; i += 2) {
            this.#apply({ kind: "buried", seqs: [seqs[i]!, seqs[i + 1]!] });
          }
        });
      }
      case "notice":
        return void this.#warnings.push(noticeInWords(effect.notice));
      case "end":
        this.#outcome = effect.outcome;
    }
  }

  #receive(lease: Lease): void {
    const slave = this.#slaves[lease.session - 1]!;
    for (const span of lease.parts) {
      for (let seq = span.seq; seq < span.end; seq++) {
        slave.queue.push({ lease, seq, id: numberOf(span.job(seq)) });
      }
    }
    this.#begin(slave);
  }

  #begin(slave: Slave): void {
    while (slave.running < slave.slots && slave.queue.length > 0) {
      const job = slave.queue.shift()!;
      slave.running++;
      this.#calls[job.id] = (this.#calls[job.id] ?? 0) + 1;
      const attempt = this.#plan.attempt(this.#nowMs, slave.session - 1, job.id);
      this.#at(this.#nowMs + attempt.ms, () => {
        slave.running--;
        this.#begin(slave);
        this.#answer(slave, job, attempt);
      });
    }
  }

  /** Adds a result to the slave's next answer for this lease. */
  #answer(slave: Slave, { lease, seq }: Job, { ok, ms, crashes, ...says }: Attempt): void {
    let answer = slave.toSay.get(lease.lease.number);
    if (answer === undefined) {
      answer = { lease: lease.lease, done: [], skipped: [], failed: [], crash: null, released: [] };
      slave.toSay.set(lease.lease.number, answer);
      this.#at(
        this.#nowMs + (this.#plan.answerMs ?? 0) + latencyMs,
        () => this.#say(slave, lease.lease.number),
      );
    }
    const message = says.message ?? `no ${slave.session}`;
    if (crashes === true) answer.crash = { suspects: [seq, seq + 1], reason: "exited" };
    else if (ok) answer.done = [...unite(answer.done, [seq, seq + 1])];
    else answer.failed.push({ seq, how: "threw", message, stack: "", durationMs: ms });
    if (crashes === true) this.#say(slave, lease.lease.number);
  }

  #say(slave: Slave, lease: number): void {
    const answer = slave.toSay.get(lease);
    if (answer === undefined) return;
    slave.toSay.delete(lease);
    this.#done += countOf(answer.done);
    for (let i = countOf(answer.done); i > 0; i--) this.#doneAt.push(this.#nowMs / 1_000);
    this.#apply({ kind: "heard", session: slave.session });
    this.#apply({ kind: "answered", session: slave.session, number: ++slave.answers, answer, at: "" });
  }
}

/** Returns a generator of numbers in [0, 1) from a seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A service that admits `perSecond` calls a second and bursts of up to `burst`; it refuses all others after 2 ms. */
export function service(perSecond: number, burst: number, tookMs = 50): (nowMs: number) => Attempt {
  let tokens = burst;
  let atMs = 0;
  return (nowMs) => {
    tokens = Math.min(burst, tokens + (nowMs - atMs) / 1_000 * perSecond);
    atMs = nowMs;
    if (tokens < 1) return { ms: 2, ok: false };
    tokens--;
    return { ms: tookMs, ok: true };
  };
}
