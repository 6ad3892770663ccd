import { clearTimeout, queueMicrotask, setImmediate, setTimeout } from "../lib/clock.ts";
import { messageJobs } from "../lib/limits.ts";
import { type Ranges, rangesOfSpans } from "../lib/ranges.ts";
import { awakeMs, watchSlots } from "../lib/watchdog.ts";
import type { CallResult, JobHandler, Pending, Result } from "../plugin/handler.ts";
import type { WorkerMessage } from "../protocol/messages.ts";
import type { JobTags } from "./late_errors.ts";
import type { Notes } from "./notes.ts";
import { RunningCall, RunningCalls, withTimeout } from "./running_calls.ts";
import { type SliceMessage, SliceRun } from "./slice_run.ts";

/** A timer that is set often and rarely fires: it is set anew only if it would fire too late. */
export class Alarm {
  readonly #ring: () => void;
  #handle: ReturnType<typeof setTimeout> | null = null;
  #atMs = Infinity;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Goes off no more, unless it is set again. */
  cancel(): void {
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#handle = null;
    this.#atMs = Infinity;
  }

  /** Goes off at `atMs` or before; Infinity asks for nothing. */
  setBy(atMs: number, nowMs: number): void {
    if (atMs >= this.#atMs) return;
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#atMs = atMs;
    this.#handle = setTimeout(() => {
      this.#handle = null;
      this.#atMs = Infinity;
      this.#ring();
    }, Math.max(0, Math.ceil(atMs - nowMs)));
  }
}

/** Longest stretch of synchronous work before sockets and timers get their turn. */
const turnMs = 10;
/** The same once a slice ended, so that its answer goes out while the next one runs. */
const shortTurnMs = 0.5;
/** Longest time from the end of a job to its answer while other jobs still run. */
const answerMs = 80;
/** Where one note covers more calls than this, only the first is tagged: they are short, and a tag costs some 10 ns. */
const taggedMax = 64;
/** Most failed jobs remembered: what they throw later was charged already. */
const failedMax = 1_000;
/** When jobs run and none begins for this long, the note is made exact. */
const settleMs = 3;

export type RunnerOptions = Readonly<{
  handler: JobHandler;
  notes: Notes;
  tags: JobTags;
  /** Shared with the watchdog, see `watchSlots`. */
  watch: Float64Array;
  /** Most calls in progress at once. */
  concurrency: number;
  /** Longest one attempt may take; 0 if there is no such limit. */
  timeoutMs: number;
  say: (message: WorkerMessage) => void;
  /** Something other than a handler threw: this runner cannot be used any more. */
  onFault: (error: unknown) => void;
  /** Whether messages wait that this process has not written to the socket yet. */
  hasUnsent: () => boolean;
  nowMs: () => number;
}>;

/**
 * Runs the jobs of slices in order, by calls of the handler, at most `concurrency` of them at once, and reports how they
 * ended. No promise is made for a call that returns none. No job begins before it is noted.
 *
 *                 begin                ended in time
 *     QUEUED ------------> RUNNING ---------------------> ENDED ---> answered
 *        |                    | timeout                     ^
 *        | withdraw, overdue  v                             |
 *        '---> RELEASED    OVERDUE (its signal fired) ------'   or the process is killed
 *
 * While one is overdue, nothing begins and what was queued is handed back.
 */
export class Runner {
  readonly #options: RunnerOptions;
  #handler: JobHandler;
  readonly #calls = new RunningCalls();
  #slices: SliceRun[] = [];
  #begun = 0;
  /** The latest jobs that failed. */
  #failed = new Set<number>();
  /** When this turn of the event loop began; -1 between turns. */
  #turnAtMs = -1;
  #isTurnOver = false;
  /** Since when there are jobs to run; -1 while there are none. */
  #busyAtMs = -1;
  /** Messages of this turn, or since the socket had taken all: they may not be written yet. */
  #said: WorkerMessage[] = [];
  readonly #answerAlarm = new Alarm(() => this.#step(() => this.#answer(false)));
  readonly #settleAlarm = new Alarm(() => this.#step(() => this.#settle()));
  readonly #timeoutAlarm = new Alarm(() => this.#step(() => this.#expire()));
  #onIdle: (() => void) | null = null;

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#handler = options.handler;
    this.setTimeout(options.timeoutMs);
  }

  /** @param timeoutMs Holds for running calls, too; 0 for none. */
  setTimeout(timeoutMs: number): void {
    const { handler, nowMs } = this.#options;
    const awakeNowMs = () => this.#awake(nowMs());
    this.#handler = timeoutMs > 0 ? withTimeout(handler, timeoutMs, awakeNowMs) : handler;
    this.#calls.timeoutMs = timeoutMs;
    this.#timeoutAlarm.setBy(this.#calls.nextExpiryMs, awakeNowMs());
  }

  slice(message: SliceMessage): void {
    const nowMs = this.#options.nowMs();
    this.#slices.push(new SliceRun(message));
    if (this.#busyAtMs < 0) this.#busyAtMs = this.#awake(nowMs);
    if (this.#calls.hasOverdue) this.withdraw();
    else this.#pump(nowMs);
  }

  /** Hands back what has not begun. */
  withdraw(): void {
    const nowMs = this.#options.nowMs();
    for (const slice of this.#slices) slice.withdraw(nowMs);
    this.#answer(true);
  }

  /** Fires the signals of these jobs. If some of them have not begun, all that has not begun is handed back. */
  abort(jobs: Ranges, why: "lost" | "stop"): void {
    this.#calls.abort(jobs, why);
    if (this.#slices.some((slice) => slice.awaits(jobs))) this.withdraw();
  }

  /** Resolves once nothing is queued and nothing runs. */
  whenIdle(): Promise<void> {
    if (this.#slices.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle = resolve);
  }

  /** To be called when nothing runs any more: cancels all timers, which would keep the process alive. */
  rest(): void {
    for (const alarm of [this.#answerAlarm, this.#settleAlarm, this.#timeoutAlarm]) alarm.cancel();
  }

  /** Whether any job has begun. */
  get hasBegun(): boolean {
    return this.#begun > 0;
  }

  /** Whether a handler is on the stack: it has not returned. */
  get isOnStack(): boolean {
    return this.#options.watch[watchSlots.onStack]! >= 0;
  }

  /** Whether this job failed here lately. */
  hasFailed(seq: number): boolean {
    return this.#failed.has(seq);
  }

  /** Calls that go on, as they are now. */
  get running(): readonly RunningCall[] {
    return this.#calls.calls;
  }

  /** The jobs of those of these calls that still go on. */
  stillRunning(calls: readonly RunningCall[]): Ranges {
    const running = new Set(this.running);
    return rangesOfSpans(calls.filter((call) => running.has(call)));
  }

  /**
   * To be called as the process ends: notes exactly what runs, or only the culprits if they are known, and returns the
   * messages that the supervisor may not have received.
   */
  lastWords(culprits?: Ranges): WorkerMessage[] {
    const { watch, notes, nowMs } = this.#options;
    const from = watch[watchSlots.onStack]!;
    const onStack = [from, from + watch[watchSlots.onStackJobs]!];
    const named = culprits ?? (this.isOnStack ? onStack : null);
    if (named === null) notes.settle(nowMs());
    else notes.nameOnly(named);
    return [...this.#said, ...this.#slices.flatMap((slice) => slice.takeAnswers(0))];
  }

  /**
   * Begins calls until the turn is over, `concurrency` is reached, or nothing is queued. The time is passed from step to
   * step, since reading the clock takes longer than a small job.
   */
  #pump(nowMs: number): void {
    this.#beginTurn(nowMs);
    while (!this.#isTurnOver && !this.#calls.hasOverdue && this.#calls.size < this.#options.concurrency) {
      const slice = this.#slices.find((slice) => slice.next < slice.end);
      if (slice === undefined) break;
      nowMs = this.#stretch(slice, nowMs);
    }
  }

  /** Runs the jobs of one slice that one note covers; returns the time at the end. */
  #stretch(slice: SliceRun, nowMs: number): number {
    const { notes } = this.#options;
    // the time of decoding is not the jobs'
    const startMs = slice.decode() ? this.#options.nowMs() : nowMs;
    const end = slice.soundEnd;
    if (slice.next === end) {
      slice.refuseNext(startMs);
    } else {
      const callEnd = Math.min(slice.next + this.#handler.jobsPerCall, end);
      if (notes.coveredTo(slice.next) < callEnd) notes.cover(slice.next, callEnd, end, startMs);
      this.#runTagged(slice, this.#wholeCalls(slice.next, notes.coveredTo(slice.next), end), startMs);
    }
    const endMs = this.#options.nowMs();
    const tookMs = endMs - this.#turnAtMs;
    if (tookMs >= turnMs || (tookMs >= shortTurnMs && slice.next === slice.end)) this.#isTurnOver = true;
    return endMs;
  }

  /** The end of the last call, from `next` on, whose jobs are all covered by the note. */
  #wholeCalls(next: number, coveredTo: number, end: number): number {
    if (coveredTo >= end) return end;
    return coveredTo - (coveredTo - next) % this.#handler.jobsPerCall;
  }

  /** Tags each call with the seq of its first job; of many short calls under one note only the first. */
  #runTagged(slice: SliceRun, to: number, nowMs: number): void {
    const { tags, watch, concurrency } = this.#options;
    const { jobsPerCall } = this.#handler;
    const areShort = to - slice.next > taggedMax * jobsPerCall;
    const taggedTo = areShort ? slice.next + jobsPerCall : to;
    while (slice.next < taggedTo && this.#calls.size < concurrency && watch[watchSlots.recorded] === 0) {
      tags.enter(slice.next);
      nowMs = this.#runEach(slice, Math.min(slice.next + jobsPerCall, to), nowMs);
    }
    tags.leave();
    this.#runEach(slice, to, nowMs);
  }

  /**
   * The hot loop: the least that a job costs. Returns when the next call begins, by the latest reading of the clock.
   */
  #runEach(slice: SliceRun, to: number, nowMs: number): number {
    const { watch, concurrency } = this.#options;
    const handler = this.#handler;
    const { jobsPerCall } = handler;
    let doneFrom = slice.next;
    while (slice.next < to && this.#calls.size < concurrency && watch[watchSlots.recorded] === 0) {
      const from = slice.next;
      const end = jobsPerCall === 1 ? from + 1 : this.#endOfCall(from, to);
      slice.next = end;
      watch[watchSlots.begun] = ++this.#begun;
      watch[watchSlots.onStack] = from;
      const result = handler.run(slice, from, end);
      watch[watchSlots.onStack] = -1;
      if (result.kind === "done") continue;
      slice.done(doneFrom, from, nowMs);
      doneFrom = end;
      if (result.kind === "pending") {
        this.#await(result, slice, from, end, nowMs);
        // the next one's time begins now
        if (this.#calls.size < concurrency) nowMs = this.#options.nowMs();
        continue;
      }
      const returnedMs = this.#options.nowMs();
      this.#record(slice, from, end, result, returnedMs - nowMs, returnedMs);
      nowMs = returnedMs;
    }
    slice.done(doneFrom, slice.next, nowMs);
    if (watch[watchSlots.recorded] !== 0) this.#settle();
    return nowMs;
  }

  /** Where a call of up to `jobsPerCall` jobs ends; tells the watchdog how many it takes. */
  #endOfCall(from: number, to: number): number {
    const end = Math.min(from + this.#handler.jobsPerCall, to);
    this.#options.watch[watchSlots.onStackJobs] = end - from;
    return end;
  }

  #await(
    { ended, signal, startedMs }: Pending,
    slice: SliceRun,
    from: number,
    to: number,
    nowMs: number,
  ): void {
    const beganMs = startedMs ?? this.#awake(nowMs);
    const call = new RunningCall(from, to, slice, signal, beganMs, this.#options.notes.hold(from, to));
    slice.running++;
    this.#calls.add(call);
    if (this.#calls.timeoutMs > 0) {
      this.#timeoutAlarm.setBy(this.#calls.nextExpiryMs, this.#awake(this.#options.nowMs()));
    }
    ended.then((result) => this.#ended(call, result));
  }

  #ended(call: RunningCall, result: CallResult): void {
    const { slice, from, to, startedMs } = call;
    try {
      const nowMs = this.#options.nowMs();
      slice.running--;
      this.#calls.remove(call);
      this.#options.notes.free(call.place);
      this.#record(slice, from, to, result, this.#awake(nowMs) - startedMs, nowMs);
      if (call.isOverdue) this.#say({ kind: "overdue", jobs: this.#calls.overdue });
      this.#pump(nowMs);
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  /** Runs what a timer or the event loop calls. */
  #step(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  #record(
    slice: SliceRun,
    from: number,
    to: number,
    result: CallResult,
    durationMs: number,
    nowMs: number,
  ): void {
    for (let seq = from; seq < to; seq++) {
      const one = result.kind === "each" ? result.results[seq - from]! : result;
      slice.record(seq, one, durationMs, nowMs);
      this.#noteFailure(seq, one);
    }
  }

  #noteFailure(seq: number, result: Result): void {
    if (result.kind === "done" && this.#failed.size === 0) return;
    if (result.kind !== "failed") return void this.#failed.delete(seq);
    if (this.#failed.size >= failedMax) this.#failed.clear();
    this.#failed.add(seq);
  }

  /** Marks the start of a turn of the event loop in which jobs begin or end; at its end answers are sent. */
  #beginTurn(nowMs: number): void {
    if (this.#turnAtMs >= 0) return;
    this.#turnAtMs = nowMs;
    this.#isTurnOver = false;
    setImmediate(() => this.#step(() => this.#endTurn()));
  }

  #endTurn(): void {
    const mustGoOn = this.#isTurnOver;
    this.#turnAtMs = -1;
    if (!this.#options.hasUnsent()) this.#said = [];
    this.#answer(false);
    // the answers leave in a microtask, and must not wait for what begins now
    if (mustGoOn) queueMicrotask(() => this.#step(() => this.#pump(this.#options.nowMs())));
    else if (this.#calls.size > 0 && !this.#options.notes.isExact) {
      const nowMs = this.#options.nowMs();
      this.#settleAlarm.setBy(nowMs + settleMs, nowMs);
    }
  }

  /**
   * Sends answers. All of them when a quarter of the jobs or fewer (or one) is left to begin, so that more jobs come
   * before this worker runs dry, or when an answer has waited `answerMs`; otherwise only those that fill a message. Each
   * message wakes two other processes, which takes CPU from handlers.
   */
  #answer(isForced: boolean): void {
    const nowMs = this.#options.nowMs();
    const ended = this.#slices.filter((slice) => slice.unanswered > 0);
    const dueMs = answerMs + Math.min(...ended.map(({ endedAtMs }) => endedAtMs));
    const isAll = isForced || nowMs >= dueMs || this.#isHungry();
    this.#answerFor(isAll ? ended : ended.filter(isUrgent), nowMs);
    if (ended.some((slice) => slice.unanswered > 0)) this.#answerAlarm.setBy(dueMs, nowMs);
    this.#slices = this.#slices.filter((slice) => !slice.isOver || slice.unanswered > 0);
    if (this.#slices.length > 0) return;
    this.#busyAtMs = -1;
    this.#options.notes.rest(nowMs);
    this.#onIdle?.();
  }

  /** Divides the busy time among the answers, by their jobs. */
  #answerFor(slices: readonly SliceRun[], nowMs: number): void {
    if (slices.length === 0) return;
    const msEach = this.#takeBusyMs(nowMs) / slices.reduce((sum, { unanswered }) => sum + unanswered, 0);
    for (const slice of slices) {
      for (const answer of slice.takeAnswers(msEach * slice.unanswered)) this.#say(answer);
    }
  }

  #isHungry(): boolean {
    let left = 0, ended = 0;
    for (const slice of this.#slices) {
      left += slice.end - slice.next;
      ended += slice.unanswered;
    }
    return 3 * (left - 1) <= ended;
  }

  /** How long there was something to run since the last call of this. */
  #takeBusyMs(nowMs: number): number {
    const awakeNowMs = this.#awake(nowMs);
    const busyMs = this.#busyAtMs < 0 ? 0 : awakeNowMs - this.#busyAtMs;
    this.#busyAtMs = awakeNowMs;
    return busyMs;
  }

  /** `nowMs` by the awake clock, which stands still while the process does. */
  #awake(nowMs: number): number {
    return awakeMs(this.#options.watch, nowMs);
  }

  #expire(): void {
    const nowMs = this.#awake(this.#options.nowMs());
    if (this.#calls.expire(nowMs)) {
      this.#say({ kind: "overdue", jobs: this.#calls.overdue });
      this.withdraw();
    }
    this.#timeoutAlarm.setBy(this.#calls.nextExpiryMs, nowMs);
  }

  #settle(): void {
    this.#options.notes.settle(this.#options.nowMs());
  }

  #say(message: WorkerMessage): void {
    this.#beginTurn(this.#options.nowMs());
    this.#said.push(message);
    this.#options.say(message);
  }
}

/** Its answer fills a message, so waiting saves none. */
function isUrgent(slice: SliceRun): boolean {
  return slice.isAnswerLarge || (slice.isOver && slice.unanswered >= messageJobs);
}
