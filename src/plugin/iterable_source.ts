import type { Block, Unsendable } from "../lib/bytes.ts";
import { clearImmediate, monotonicMs, queueMicrotask, setImmediate } from "../lib/clock.ts";
import { decode } from "../protocol/cbor.ts";
import { describeError, pluginLog } from "./describe_error.ts";
import { BadJob, BadRow, equalCursors, JobCollector, Neighbours } from "./job_collector.ts";
import {
  FatalCall,
  guardedLast,
  isAsyncIterable,
  isLast,
  isThenable,
  jobIn,
  type JobsIterator,
  leftOver,
  openJobs,
  returnOf,
  SourceFault,
  thrown,
} from "./jobs_iterator.ts";
import type { JobSource, Reading, SourceNeeds } from "./source.ts";
import type { ArgValues, Jobs, SourceContext } from "./types.ts";

/** Values in an order that `last` can go on in: `getJobs` and `cursor` of a plugin. */
export type JobValues = Readonly<{
  /** What messages call it, at the beginning of a sentence. */
  name: string;
  /** The values after `last`, which is undefined on a fresh start. */
  jobs(last: unknown, ctx: SourceContext<ArgValues>): Jobs<unknown> | Promise<Jobs<unknown>>;
  /** What `last` will be; pure, synchronous, never undefined. Without it each value is its own cursor. */
  cursor: ((job: unknown) => unknown) | undefined;
}>;

/** A source that iterates values, and encodes each before it asks for the next. */
export class IterableSource implements JobSource {
  readonly #values: JobValues;

  constructor(values: JobValues) {
    this.#values = values;
  }

  get name(): string {
    return this.#values.name;
  }

  /** Calls `jobs` in a later microtask. */
  read(last: Uint8Array | undefined, needs: SourceNeeds): Reading {
    return new IterableReading(this.#values, needs, last);
  }
}

/** Longest a source may hold the event loop in one go, in milliseconds: beats and answers wait meanwhile. */
const turnMs = 5;

/** Most jobs between two readings of the clock; one takes about a tenth of encoding a small job. */
const strideMax = 32;

/**
 * How long the source has held the event loop. Reads the clock after 1, 2, 4, at most 32 jobs, and after each job while
 * they are slow.
 */
class Turn {
  #beganAt = monotonicMs();
  #lookedAt = this.#beganAt;
  #stride = 1;
  #left = 1;

  /** The event loop has just run. */
  begin(): void {
    this.#beganAt = this.#lookedAt = monotonicMs();
  }

  /** Whether it is time to let the event loop run; asked once after each job. */
  isSpent(): boolean {
    if (--this.#left > 0) return false;
    const now = monotonicMs();
    const isSlow = now - this.#lookedAt > turnMs / 10;
    this.#stride = isSlow ? 1 : Math.min(this.#stride * 2, strideMax);
    this.#left = this.#stride;
    this.#lookedAt = now;
    return now - this.#beganAt > turnMs;
  }
}

/** Lets the event loop run once: timers, sockets, then the caller again. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Most jobs of one block: bounds its table, and what is handed over in one go. */
const blockJobsMax = 4_096;
/** If the run's first rows, this many, all cannot be sent, the program is at fault. */
const badRowsMax = 100;
/** Bytes at which a block is full; the job that crosses it is still in. */
const blockBytesMax = 64 << 10;

/**
 * One call of `jobs`, from the call to its end.
 *
 * A block is handed over when it is full, when the demand is used up, and when the source is waited for: the first job
 * of a block schedules a `setImmediate`, which runs only when no further value is ready.
 */
class IterableReading implements Reading {
  readonly #values: JobValues;
  readonly #needs: SourceNeeds;
  readonly #collector: JobCollector;
  readonly #abort = new AbortController();
  readonly #turn = new Turn();
  readonly #running: Promise<void>;
  /** Undefined once a pair of neighbours with equal cursors was warned about. */
  #neighbours: Neighbours | undefined = new Neighbours();
  /**
   * Rows that cannot be sent, as long as all rows of the run were such. Null after the first good one, and on a resume.
   */
  #badRows: Unsendable[] | null;
  /** Whether anything was handed over. */
  #isAny = false;
  /** What the block being collected may still take. */
  #jobsLeft = 0;
  #bytesLeft = 0;
  #jobs: JobsIterator | undefined = undefined;
  /** The iterator ended or threw: it needs no `return()`. */
  #isExhausted = false;
  /** The first call of `ctx.fatal`, which counts whatever the plugin does afterwards. */
  #verdict: SourceFault | undefined = undefined;
  /** What a sync iterator yielded, if it is to be awaited. */
  #promised: PromiseLike<unknown> | undefined = undefined;
  #hasPromised = false;
  /** Pending while a job waits for its block to be handed over. */
  #flushing: NodeJS.Immediate | undefined = undefined;
  /** Set while the demand is awaited. */
  #wake: (() => void) | undefined = undefined;
  /** The plugin's `return()`, once called. */
  #returned: Promise<void> | undefined = undefined;
  #isOver = false;
  /** Questions to the plugin so far, and whether the latest is unanswered. */
  #asked = 0;
  #isAsking = false;

  constructor(values: JobValues, needs: SourceNeeds, last: Uint8Array | undefined) {
    this.#values = values;
    this.#needs = needs;
    this.#collector = new JobCollector(values.cursor);
    this.#badRows = last === undefined ? [] : null;
    this.#running = this.#run(last);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get unanswered(): number | null {
    return this.#isAsking ? this.#asked : null;
  }

  /** All pulls of one turn of the event loop wake it once. */
  pull(): void {
    if (this.#wake === undefined) return;
    setImmediate(this.#wake);
    this.#wake = undefined;
  }

  /**
   * Aborts the signal of `jobs`, and calls `return()` of its iterator once. What either throws from now on is ignored.
   */
  async close(): Promise<void> {
    this.#isOver = true;
    clearImmediate(this.#flushing);
    this.#abort.abort(new DOMException("The run stops", "AbortError"));
    this.#wake?.();
    this.#return();
    await this.#running;
    await this.#returned;
  }

  /** Errors of the needs are not the plugin's: they are left to end the process. */
  async #run(last: Uint8Array | undefined): Promise<void> {
    await Promise.resolve(); // Out of `read`: nothing is told from inside it.
    try {
      await this.#open(last);
      if (this.#jobs !== undefined && !this.#isOver) await this.#read(this.#jobs);
      if (this.#verdict !== undefined) throw this.#verdict;
    } catch (error) {
      if (!(error instanceof SourceFault || error instanceof BadJob)) throw error;
      this.#fail(error);
      return;
    }
    this.#end();
  }

  /** A query may be an async iterable and a promise of all its rows at once: that is iterated, not awaited. */
  async #open(last: Uint8Array | undefined): Promise<void> {
    try {
      const from = last === undefined ? undefined : guardedLast(decode(last));
      const returned: unknown = this.#values.jobs(from, this.#context());
      this.#ask();
      const jobs = isAsyncIterable(returned) ? returned : await returned;
      this.#isAsking = false;
      if (!this.#isOver) this.#jobs = openJobs(jobs);
    } catch (error) {
      throw error instanceof SourceFault ? error : thrown(this.#values.name, error);
    }
  }

  #context(): SourceContext<ArgValues> {
    const { args, log } = this.#needs;
    const fatal = (reason: string) => this.#giveUp(reason);
    return { args, signal: this.#abort.signal, log: pluginLog(log), fatal };
  }

  /** `ctx.fatal`: ends the reading in the next microtask, even if the plugin catches what this throws. */
  #giveUp(reason: unknown): never {
    const message = reason === undefined ? "it gave no reason" : describeError(reason).message;
    if (this.#isOver && this.#verdict === undefined) {
      this.#needs.log(
        "warn",
        `ctx.fatal came when ${this.#values.name} had ended, and changes nothing: ${message}`,
      );
      throw new Error(`ctx.fatal: ${message}`);
    }
    const verdict = this.#verdict ??= new SourceFault(
      `${this.#values.name} called ctx.fatal: ${message}`,
      true,
    );
    queueMicrotask(() => this.#fail(verdict));
    throw new FatalCall(`ctx.fatal: ${message}`);
  }

  async #read(jobs: JobsIterator): Promise<void> {
    this.#askDemand();
    this.#turn.begin();
    const value = await (jobs.isAsync ? this.#readAsync(jobs) : this.#readSync(jobs));
    if (this.#isOver) return;
    const isAny = this.#isAny || this.#collector.count + (this.#badRows?.length ?? 0) > 0;
    const warning = leftOver(value, isAny);
    if (warning !== null) this.#needs.log("warn", warning);
  }

  /** Resolves to what the iterator says at its end besides. */
  async #readSync(jobs: JobsIterator): Promise<unknown> {
    while (!this.#isOver) {
      if (!this.#hasRoom()) await this.#makeRoom();
      else {
        const last = this.#pullSome(jobs);
        if (last !== undefined) return await this.#valueOf(last);
        if (this.#promised !== undefined) await this.#takePromised(this.#promised);
        else await this.#letOthersRun();
      }
    }
    return undefined;
  }

  /**
   * Pulls until the block is full, so that it is on its way while the next one is made, or the turn is spent, or
   * something is to be awaited. Returns the last answer of `next()`.
   */
  #pullSome({ iterator, next, generator }: JobsIterator): { value?: unknown } | undefined {
    do {
      let job: unknown;
      try {
        const step = generator === null ? next.call(iterator) : generator.next();
        if (generator === null ? isLast(step) : (step as IteratorResult<unknown>).done) {
          this.#isExhausted = true;
          return step as object;
        }
        job = generator === null ? jobIn(step) : (step as IteratorResult<unknown>).value;
      } catch (error) {
        throw this.#threw(error);
      }
      if (this.#verdict !== undefined) throw this.#verdict;
      if (this.#hasPromised && isThenable(job)) {
        this.#promised = job;
        return undefined;
      }
      try {
        this.#take(job);
      } catch (error) {
        // no promise can be sent: so none is looked for before there was one
        if (!isThenable(job)) throw error;
        this.#jobsLeft++;
        this.#hasPromised = true;
        this.#promised = job;
        return undefined;
      }
    } while (this.#hasRoom() && !this.#turn.isSpent());
    return undefined;
  }

  /** Awaits a value of a sync iterator, as `for await` does. If it is rejected, the iterator may still clean up. */
  async #takePromised(promised: PromiseLike<unknown>): Promise<void> {
    this.#promised = undefined;
    if (this.#collector.count > 0) this.#flushing ??= setImmediate(this.#flush);
    let job: unknown;
    try {
      this.#ask();
      job = await promised;
      this.#isAsking = false;
    } catch (error) {
      throw thrown(this.#values.name, error);
    }
    if (this.#isOver) return;
    this.#take(job);
    this.#flushing ??= setImmediate(this.#flush);
    if (this.#turn.isSpent()) await this.#letOthersRun();
  }

  async #readAsync({ iterator, next }: JobsIterator): Promise<unknown> {
    while (!this.#isOver) {
      if (!this.#hasRoom()) {
        await this.#makeRoom();
        continue;
      }
      let job: unknown;
      try {
        this.#ask();
        const step = await next.call(iterator);
        this.#isAsking = false;
        if (isLast(step)) {
          this.#isExhausted = true;
          return (step as { value?: unknown }).value;
        }
        job = jobIn(step);
      } catch (error) {
        throw this.#threw(error);
      }
      if (this.#isOver) return undefined;
      this.#take(job);
      this.#flushing ??= setImmediate(this.#flush);
      if (this.#turn.isSpent()) await this.#letOthersRun();
    }
    return undefined;
  }

  /** What a sync iterator says at its end is awaited too, so that it is not rejected unheard. */
  async #valueOf(step: { value?: unknown }): Promise<unknown> {
    try {
      this.#ask();
      return await step.value;
    } catch (error) {
      throw thrown(this.#values.name, error);
    }
  }

  /** An iterator that threw needs no `return()`; one that broke the protocol does. */
  #threw(error: unknown): SourceFault {
    if (error instanceof SourceFault) return error;
    this.#isExhausted = true;
    return thrown(this.#values.name, error);
  }

  #ask(): void {
    this.#asked++;
    this.#isAsking = true;
  }

  #take(job: unknown): void {
    this.#jobsLeft--;
    try {
      this.#bytesLeft -= this.#collector.append(job);
    } catch (error) {
      if (!(error instanceof BadRow)) throw error;
      return this.#takeRow(error.row);
    }
    if (this.#badRows !== null) this.#giveBadRows();
  }

  /** Keeps the order: the jobs collected before the row are handed over first. */
  #takeRow(row: Unsendable): void {
    if (this.#badRows === null) {
      this.#handOver(true);
      return this.#giveRow(row);
    }
    this.#badRows.push(row);
    if (this.#badRows.length < badRowsMax) return;
    const { path, reason } = this.#badRows[0]!;
    throw new SourceFault(
      `${this.#values.name} yielded ${badRowsMax} rows, and none of them can be sent: job 0 has at ${path} ${reason}. ` +
        "The program is at fault, and no row was set aside.",
      true,
    );
  }

  /** The rows held back are set aside: a good one came, or the source ended with fewer than `badRowsMax`. */
  #giveBadRows(): void {
    const rows = this.#badRows ?? [];
    this.#badRows = null;
    for (const row of rows) this.#giveRow(row);
  }

  #giveRow(row: Unsendable): void {
    if (this.#isOver) return;
    if (this.#neighbours?.isEqual(row.cursor)) {
      this.#neighbours = undefined;
      this.#needs.log("warn", equalCursors(this.#needs.nextSeq()));
    }
    this.#isAny = true;
    this.#needs.tell({ kind: "unsendable", row });
  }

  #hasRoom(): boolean {
    return this.#jobsLeft > 0 && this.#bytesLeft > 0;
  }

  /** Hands over what there is; then waits until more is wanted. */
  async #makeRoom(): Promise<void> {
    this.#handOver(true);
    while (!this.#isOver && !this.#hasRoom()) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#turn.begin();
      this.#askDemand();
    }
  }

  async #letOthersRun(): Promise<void> {
    this.#handOver(true);
    await nextTurn();
    this.#turn.begin();
  }

  /** The event loop runs, so the source had nothing more at hand. */
  readonly #flush = (): void => {
    this.#flushing = undefined;
    this.#turn.begin();
    if (!this.#isOver) this.#handOver(false);
  };

  #handOver(moreAtHand: boolean): void {
    if (this.#collector.count > 0 && !this.#isOver) {
      const block = this.#collector.take();
      const seq = this.#needs.nextSeq();
      this.#isAny = true;
      this.#needs.tell({ kind: "yielded", block, moreAtHand });
      this.#warnOfEqualNeighbours(block, this.#needs.nextSeq() > seq);
    }
    this.#askDemand();
  }

  #askDemand(): void {
    const { jobs, bytes } = this.#needs.demand();
    this.#jobsLeft = Math.min(jobs, blockJobsMax);
    this.#bytesLeft = Math.min(bytes, blockBytesMax);
  }

  /**
   * Warns once. The jobs of a block that was not taken have no numbers; if only its first was dropped, the others have.
   */
  #warnOfEqualNeighbours(block: Block, wasTaken: boolean): void {
    const index = this.#neighbours?.findEqual(block) ?? -1;
    if (index < 0 || !wasTaken) return;
    this.#neighbours = undefined;
    this.#needs.log("warn", equalCursors(this.#needs.nextSeq() - block.ends.length + index));
  }

  #end(): void {
    if (this.#isOver) return;
    this.#giveBadRows();
    this.#handOver(false);
    if (this.#isOver) return;
    this.#isOver = true;
    clearImmediate(this.#flushing);
    this.#needs.tell({ kind: "source ended" });
  }

  #fail(fault: SourceFault | BadJob): void {
    if (this.#isOver) return;
    this.#handOver(false);
    if (this.#isOver) return;
    this.#isOver = true;
    clearImmediate(this.#flushing);
    const error = this.#verdict ?? fault;
    // What the plugin still does after `ctx.fatal` is in vain.
    if (this.#verdict !== undefined) {
      this.#abort.abort(new DOMException("ctx.fatal was called", "AbortError"));
    }
    this.#wake?.();
    this.#return();
    const fatal = error instanceof SourceFault ? error.fatal : true;
    this.#needs.tell({ kind: "source failed", message: this.#messageOf(error), fatal });
  }

  #messageOf(fault: SourceFault | BadJob): string {
    if (fault instanceof SourceFault) return fault.message;
    const seq = this.#needs.nextSeq() + (this.#badRows?.length ?? 0);
    return `${this.#values.name} yielded job ${seq}, ${fault.message}`;
  }

  /** Calls `return()` of the iterator once, unless it is exhausted. What that throws is logged, and changes nothing. */
  #return(): void {
    if (this.#jobs === undefined || this.#isExhausted || this.#returned !== undefined) return;
    const { signal } = this.#abort;
    const isExpected = (error: unknown) => signal.aborted && (error as Error | null)?.name === "AbortError";
    this.#returned = returnOf(this.#jobs, isExpected).then((warning) => {
      if (warning !== null) this.#needs.log("warn", warning);
    });
  }
}
