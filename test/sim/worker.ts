import type { Alone } from "../../src/core/types.ts";
import { includes, type Ranges, rangesOf } from "../../src/lib/ranges.ts";
import type { Slice } from "../../src/slave/ledger.ts";
import type { SimSlave } from "./slave.ts";
import { endsOf, idOfJob } from "./wire.ts";

type Job = { seq: number; id: number; slice: number; isAborted: boolean };

const nothing = { done: [], skipped: [], failed: [], released: [] };

/** A worker process: begins jobs in order, up to its concurrency, and reports how each ended. */
export class SimWorker {
  readonly number: number;
  readonly #slave: SimSlave;
  #queue: Job[] = [];
  #running = new Set<Job>();
  #isAlone = false;
  #isAlive = true;

  constructor(number: number, slave: SimSlave) {
    this.number = number;
    this.#slave = slave;
  }

  get sliceMax(): number {
    return this.#slave.around.world.random.int(1, 5);
  }

  /** Whether it can take a slice with this isolation. A job that runs alone needs an idle worker. */
  hasRoom(alone: Alone | null): boolean {
    const count = this.#queue.length + this.#running.size;
    if (alone === null || (this.#isAlone && count > 0)) return false;
    return alone === "no" ? count < this.#slave.around.plan.concurrency : count === 0;
  }

  take(slice: Slice): void {
    this.#isAlone = slice.alone !== "no";
    const ends = endsOf(slice.jobs, slice.count);
    for (let i = 0; i < slice.count; i++) {
      const job = slice.jobs.subarray(i === 0 ? 0 : ends[i - 1]!, ends[i]!);
      this.#queue.push({ seq: slice.seq + i, id: idOfJob(job), slice: slice.number, isAborted: false });
    }
    this.#beginNext();
  }

  isRunning(id: number): boolean {
    return [...this.#running].some((job) => job.id === id);
  }

  /** Dies; returns the running jobs. */
  die(): Ranges {
    this.#isAlive = false;
    const { checks } = this.#slave.around;
    const others = this.#running.size - 1;
    for (const { id } of this.#running) checks.record(id).deaths++;
    checks.allowRepeats(others + 1);
    return rangesOf([...this.#running].map(({ seq }) => seq));
  }

  /**
   * Fires the abort signal of these jobs: those that have not begun never will, and running ones may end soon or go on.
   */
  abort(slice: number, jobs: Ranges): void {
    const isHit = (job: Job) => job.slice === slice && includes(jobs, job.seq);
    const queued = this.#queue.filter(isHit);
    this.#queue = this.#queue.filter((job) => !isHit(job));
    for (const job of queued) this.#answer(job, { released: [job.seq, job.seq + 1] });
    for (const job of this.#running) {
      if (isHit(job)) job.isAborted = this.#slave.around.world.random.perMille(500);
    }
  }

  /** Hands back the jobs that have not begun. */
  withdraw(): void {
    const queued = this.#queue;
    this.#queue = [];
    for (const job of queued) this.#answer(job, { released: [job.seq, job.seq + 1] });
  }

  #beginNext(): void {
    while (
      this.#isAlive && this.#running.size < this.#slave.around.plan.concurrency && this.#queue.length > 0
    ) {
      this.#begin(this.#queue.shift()!);
    }
  }

  #begin(job: Job): void {
    const { around } = this.#slave;
    const { world, plan, checks } = around;
    checks.runsOnce(job.id, this.#slave.isRunning(job.id));
    this.#running.add(job);
    checks.record(job.id).begun++;
    world.trace.note("begin", this.#slave.number, this.number, job.seq);
    const slow = around.behaviourOf(job.id) === "slow" ? 10 : 1;
    const tookMs = slow * world.random.int(1, plan.jobMs);
    const isAtOnce = around.isSick(this.#slave.number);
    this.#slave.process.after(isAtOnce ? 1 : tookMs, () => this.#isAlive && this.#end(job));
  }

  #end(job: Job): void {
    const { around } = this.#slave;
    const behaviour = around.behaviourOf(job.id);
    if (behaviour === "killer") return this.#slave.die(false);
    if (behaviour === "poison") return this.#slave.crashed(this, "the handler exited");
    this.#running.delete(job);
    around.world.trace.note("end", this.#slave.number, job.seq);
    if (job.isAborted) this.#answer(job, { released: [job.seq, job.seq + 1] });
    else if (around.refuses(this.#slave.number) || around.fails(job.id)) {
      this.#fail(job, behaviour === "fatal" ? "fatal" : "threw");
    } else this.#handled(job, behaviour === "skips" ? "skipped" : "done");
    this.#beginNext();
    this.#slave.work();
  }

  #handled(job: Job, how: "done" | "skipped"): void {
    this.#slave.around.checks.record(job.id).isHandled = true;
    this.#answer(job, { [how]: [job.seq, job.seq + 1] });
  }

  #fail({ seq, id, slice }: Job, how: "threw" | "fatal"): void {
    const { checks } = this.#slave.around;
    const record = checks.record(id);
    record.threw++;
    record.isFatal ||= how === "fatal";
    checks.allowRepeats(1);
    const failure = { seq, how, message: how, stack: "", durationMs: 1 };
    this.#slave.ledger.finish(this.number, { slice, ...nothing, failed: [failure] });
  }

  #answer(job: Job, answer: Partial<typeof nothing> | Readonly<Record<string, Ranges>>): void {
    this.#slave.ledger.finish(this.number, { slice: job.slice, ...nothing, ...answer });
  }
}
