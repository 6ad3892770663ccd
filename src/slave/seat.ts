import type { Ranges } from "../base/ranges.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/worker_messages.ts";
import { Speed } from "./speed.ts";
import type { StartNote } from "../base/start_note.ts";

type WorkerAnswer = Extract<WorkerMessage, { kind: "answer" }>;

/** What the supervisor needs of a worker's process. */
export interface SeatProcess {
  readonly pid: number;
  readonly isCongested: boolean;
  /** It can note what it begins. */
  readonly hasNotes: boolean;
  send(message: SupervisorMessage): void;
  kill(): void;
  readNote(): StartNote | null;
}

/** A slice at the worker: which of its jobs have not ended. */
type Given = { seq: number; count: number; left: number; atMs: number; isProbe: boolean };

/**
 * One worker as its supervisor sees it, from spawn to death; a replacement is another one.
 *
 *     STARTING -- loaded --> LOADED -- setup --> PREPARING -- prepared --> READY
 *         '---------------------'------------------'----------------------'----- quit --> LEAVING
 *
 * It takes jobs only when READY, and not while a job is overdue or it is to be killed.
 */
export class Seat {
  readonly id: number;
  readonly process: SeatProcess;
  readonly speed = new Speed();
  state: "starting" | "loaded" | "preparing" | "ready" | "leaving" = "starting";
  /** It was told to end when it was ready: whether what its jobs had begun may still go on in it. */
  mayRest = false;
  /** For how long, in milliseconds. */
  restMs = 0;
  /** Since when it is in this state, and whether it was logged that this takes long. */
  sinceMs: number;
  isTold = false;
  readonly startedAtMs: number;
  /** Jobs given and not ended. */
  held = 0;
  /** Runs a job that wants the worker, or the slave, for itself. */
  alone: "no" | "in worker" | "in slave" = "no";
  /** It said that something threw outside of a job, or that its plugin does not load. */
  lastSentence: string | null = null;
  /** Its plugin does not load, or `setup` threw. */
  isUnloadable = false;
  /** It ran nothing of the plugin, whose code is other than that of the first worker. */
  isChanged = false;
  /** It ended jobs, so it can. */
  hasAnswered = false;
  heardAtMs: number;
  /** When it last ended a job, or was given one while it had none. */
  movedAtMs: number;
  /** It was told to hand back what it had not begun, and has not moved since. */
  isWithdrawn = false;
  /** Probes in a row that failed in it: what `setup` opened may be broken. */
  failedProbes = 0;
  /** It fails everything, and is to be replaced once nothing runs in it: why. */
  sickness: string | null = null;
  /** Jobs that ran into the timeout, and since when. */
  overdue = new Map<number, number>();
  /** Why it was killed: jobs to charge with the timeout, or suspects of blocking the event loop. */
  verdict: Readonly<{ timedOut: Ranges; suspects: Ranges; reason: string }> | null = null;
  readonly #given = new Map<number, Given>();

  constructor(id: number, process: SeatProcess, nowMs: number) {
    this.id = id;
    this.process = process;
    this.startedAtMs =
      this.sinceMs =
      this.heardAtMs =
      this.movedAtMs =
        nowMs;
  }

  enter(state: Seat["state"], nowMs: number): void {
    this.state = state;
    this.sinceMs = nowMs;
    this.isTold = false;
  }

  get takesJobs(): boolean {
    return this.state === "ready" && this.overdue.size === 0 && this.verdict === null &&
      this.sickness === null;
  }

  /** Jobs a millisecond. */
  perMs(nowMs: number): number {
    return this.speed.perMs(this.held > 0 ? nowMs - this.movedAtMs : 0);
  }

  give(
    { number, seq, count, probe }: Readonly<{ number: number; seq: number; count: number; probe: boolean }>,
    nowMs: number,
  ): void {
    if (this.held === 0) this.movedAtMs = nowMs;
    this.#given.set(number, { seq, count, left: count, atMs: nowMs, isProbe: probe });
    this.held += count;
  }

  /** When this slice was given, and whether it is a probe; undefined once all of it ended. */
  given(slice: number): Readonly<{ atMs: number; isProbe: boolean }> | undefined {
    return this.#given.get(slice);
  }

  /** Takes note of an answer that is no repetition; `ended` of its jobs were run, `released` were not. */
  answered(answer: WorkerAnswer, ended: number, released: number, nowMs: number): void {
    const given = this.#given.get(answer.slice);
    if (given === undefined) return;
    given.left -= ended + released;
    this.held -= ended + released;
    if (given.left <= 0) this.#given.delete(answer.slice);
    if (this.held === 0) this.alone = "no";
    if (ended > 0 || this.held === 0) {
      this.movedAtMs = nowMs;
      this.isWithdrawn = false;
    }
    if (ended > 0) {
      this.hasAnswered = true;
      this.speed.observe(ended, answer.busyMs);
    }
  }

  /** The latest slice a job is in; 0 if in none. */
  sliceOf(seq: number): number {
    let latest = 0;
    for (const [number, { seq: from, count }] of this.#given) {
      if (seq >= from && seq < from + count) latest = number;
    }
    return latest;
  }

  setOverdue(jobs: Ranges, nowMs: number): void {
    const overdue = new Map<number, number>();
    for (let at = 0; at < jobs.length; at += 2) {
      for (let seq = jobs[at]!; seq < jobs[at + 1]!; seq++) overdue.set(seq, this.overdue.get(seq) ?? nowMs);
    }
    this.overdue = overdue;
  }
}
