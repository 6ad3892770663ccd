import { clearImmediate, setImmediate } from "../base/clock.ts";
import type { Block } from "../base/job_span.ts";
import { decode } from "../protocol/codec.ts";
import { BadJob, JobCollector } from "./job_collector.ts";
import { type JobsIterator, openJobs, returnOf } from "./jobs_iterator.ts";
import { equalCursors, Neighbours } from "./neighbours.ts";
import { pluginLog } from "./plugin_log.ts";
import { SourceFault, thrown } from "./source_fault.ts";
import type { SourceHooks, SourceParts } from "./source_hooks.ts";
import { nextTurn, Turn } from "./turn.ts";
import type { Plugin } from "./types.ts";

/** Most jobs of one block: bounds its table, and what is handed over in one go. */
const blockJobsMax = 4_096;
/** Bytes at which a block is full; the job that crosses it is still in. */
const blockBytesMax = 64 << 10;

/**
 * One call of `getJobs`, from the call to its end.
 *
 * A block is handed over when it is full, when the demand is used up, and when the source makes us wait: the
 * first job of a block asks for a `setImmediate`, which runs only once no further value is at hand.
 */
export class Reading {
  readonly #plugin: Plugin;
  readonly #hooks: SourceHooks;
  readonly #collector: JobCollector;
  readonly #abort = new AbortController();
  readonly #turn = new Turn();
  readonly #running: Promise<void>;
  /** Until two equal neighbours were warned about. */
  #neighbours: Neighbours | undefined = new Neighbours();
  /** Jobs handed over, where the hooks do not count. */
  #handedOver = 0;
  /** What the block being collected may still take. */
  #jobsLeft = 0;
  #bytesLeft = 0;
  #jobs: JobsIterator | undefined = undefined;
  /** The iterator ended or threw: it needs no `return()`. */
  #isExhausted = false;
  /** Pending while a job waits for its block to be handed over. */
  #flushing: NodeJS.Immediate | undefined = undefined;
  /** Set while the demand is awaited. */
  #wake: (() => void) | undefined = undefined;
  /** The plugin's `return()`, once called. */
  #returned: Promise<void> | undefined = undefined;
  #isOver = false;

  constructor(plugin: Plugin, parts: SourceParts, hooks: SourceHooks, last: Uint8Array | undefined) {
    this.#plugin = plugin;
    this.#hooks = hooks;
    this.#collector = new JobCollector(plugin.cursor);
    this.#running = this.#run(parts, last);
  }

  /** Ended, failed or closed: no hook is called any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** All pulls of one turn of the event loop wake it once. */
  pull(): void {
    if (this.#wake === undefined) return;
    setImmediate(this.#wake);
    this.#wake = undefined;
  }

  /** Resolves when nothing of the plugin runs any more, however long that takes. */
  async close(): Promise<void> {
    this.#isOver = true;
    clearImmediate(this.#flushing);
    this.#abort.abort(new DOMException("The run stops", "AbortError"));
    this.#wake?.();
    this.#return();
    await this.#running;
    await this.#returned;
  }

  /** Errors of the hooks are not the plugin's: they are left to end the process. */
  async #run(parts: SourceParts, last: Uint8Array | undefined): Promise<void> {
    await Promise.resolve(); // Out of `open`: no hook is called from inside it.
    try {
      await this.#read(await this.#call(parts, last));
    } catch (error) {
      if (!(error instanceof SourceFault || error instanceof BadJob)) throw error;
      this.#fail(error);
      return;
    }
    this.#end();
  }

  async #call(parts: SourceParts, last: Uint8Array | undefined): Promise<unknown> {
    const ctx = { args: parts.args, signal: this.#abort.signal, log: pluginLog(this.#hooks.log) };
    try {
      return await this.#plugin.getJobs!(last === undefined ? undefined : decode(last), ctx);
    } catch (error) {
      throw thrown("getJobs", error);
    }
  }

  async #read(returned: unknown): Promise<void> {
    if (this.#isOver) return;
    this.#jobs = this.#open(returned);
    this.#askDemand();
    this.#turn.begin();
    await (this.#jobs.isAsync ? this.#readAsync(this.#jobs.iterator) : this.#readSync(this.#jobs.iterator));
  }

  #open(returned: unknown): JobsIterator {
    try {
      return openJobs(returned);
    } catch (error) {
      throw error instanceof SourceFault ? error : thrown("getJobs", error);
    }
  }

  async #readSync(iterator: Iterator<unknown>): Promise<void> {
    while (!this.#isOver) {
      if (!this.#hasRoom()) await this.#makeRoom();
      else if (this.#pullSome(iterator)) return;
      else await this.#letOthersRun();
    }
  }

  /** Pulls until the block is full, so that it is on its way while the next one is made, or the turn is spent. */
  #pullSome(iterator: Iterator<unknown>): boolean {
    do {
      let step: IteratorResult<unknown>;
      try {
        step = iterator.next();
        if (step.done) return this.#exhaust();
      } catch (error) {
        throw this.#threw(error);
      }
      this.#take(step.value);
    } while (this.#hasRoom() && !this.#turn.isSpent());
    return false;
  }

  async #readAsync(iterator: AsyncIterator<unknown>): Promise<void> {
    while (!this.#isOver) {
      if (!this.#hasRoom()) {
        await this.#makeRoom();
        continue;
      }
      let step: IteratorResult<unknown>;
      try {
        step = await iterator.next();
        if (step.done) return void this.#exhaust();
      } catch (error) {
        throw this.#threw(error);
      }
      if (this.#isOver) return;
      this.#take(step.value);
      this.#flushing ??= setImmediate(this.#flush);
      if (this.#turn.isSpent()) await this.#letOthersRun();
    }
  }

  #exhaust(): true {
    this.#isExhausted = true;
    return true;
  }

  #threw(error: unknown): SourceFault {
    this.#isExhausted = true;
    return thrown("getJobs", error);
  }

  #take(job: unknown): void {
    this.#bytesLeft -= this.#collector.append(job);
    this.#jobsLeft--;
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
    const count = this.#collector.count;
    if (count > 0 && !this.#isOver) {
      const block = this.#collector.take();
      const seq = this.#nextSeq();
      this.#handedOver += count;
      this.#hooks.onBlock(block, moreAtHand);
      this.#warnOfEqualNeighbours(block, this.#nextSeq() > seq);
    }
    this.#askDemand();
  }

  #askDemand(): void {
    const { jobs, bytes } = this.#hooks.demand();
    this.#jobsLeft = Math.min(jobs, blockJobsMax);
    this.#bytesLeft = Math.min(bytes, blockBytesMax);
  }

  /** What is yielded next gets this seq, all before it being handed over. */
  #nextSeq(): number {
    return this.#hooks.nextSeq?.() ?? this.#handedOver;
  }

  /** Of a block that was not taken no job has a number. Of one whose first job was dropped, the others have. */
  #warnOfEqualNeighbours(block: Block, wasTaken: boolean): void {
    const index = this.#neighbours?.findEqual(block) ?? -1;
    if (index < 0 || !wasTaken) return;
    this.#neighbours = undefined;
    this.#hooks.log("warn", equalCursors(this.#nextSeq() - block.ends.length + index));
  }

  #end(): void {
    if (this.#isOver) return;
    this.#handOver(false);
    if (this.#isOver) return;
    this.#isOver = true;
    clearImmediate(this.#flushing);
    this.#hooks.onEnd();
  }

  #fail(error: SourceFault | BadJob): void {
    if (this.#isOver) return;
    this.#handOver(false);
    if (this.#isOver) return;
    this.#isOver = true;
    clearImmediate(this.#flushing);
    this.#return();
    if (error instanceof SourceFault) {
      return this.#hooks.onError({ message: error.message, fatal: error.fatal });
    }
    this.#hooks.onError({ message: `getJobs yielded job ${this.#nextSeq()}, ${error.message}`, fatal: true });
  }

  /** Lets the iterator clean up, unless it already has. What it throws comes too late to matter. */
  #return(): void {
    if (this.#jobs === undefined || this.#isExhausted || this.#returned !== undefined) return;
    this.#returned = returnOf(this.#jobs);
  }
}
