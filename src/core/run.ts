import { invariant } from "../lib/errors.ts";
import { LagGuard } from "../lib/lag_guard.ts";
import { Settlement } from "./answers.ts";
import { DeadLetterQueue } from "./dead_letter_queue.ts";
import { Dispatch } from "./dispatch.ts";
import { Failures } from "./failures.ts";
import { Gate } from "./gate.ts";
import { Health } from "./health.ts";
import { Jobs } from "./jobs.ts";
import { Judge } from "./judge.ts";
import { type Bound, boundOf, Bounds, paceOf, reasonOf } from "./pace.ts";
import { type SlaveSession, SlaveSessions } from "./sessions.ts";
import { Slaves } from "./slaves.ts";
import { CursorTracker, SourceState } from "./source.ts";
import {
  type DeadLetter,
  type Effect,
  type OperatorSettings,
  type Outcome,
  type RunEvent,
  type RunSettings,
  type RunState,
  type RunStatus,
  type SessionId,
  type SessionStatus,
  type SettingName,
  settledOf,
  type WindowLimit,
} from "./types.ts";

/** A wake-up this late means that the master itself was blocked. Timers are never quite on time. */
const lateMs = 100;
/**
 * After a blockage, the master reads what is buffered in its sockets for this long before it judges any slave as
 * silent.
 */
const settleMs = 1_000;

/** All that a resume needs, collected synchronously. Asserts that the counts add up. */
function stateOf(
  jobs: Jobs,
  cursorTracker: CursorTracker,
  rest: Pick<RunState, "complete" | "final" | "settings">,
): RunState {
  const { handedOut, done, skipped, dead } = jobs.counts;
  const stranded = jobs.strand();
  const count = stranded.reduce((sum, { span }) => sum + span.count, 0);
  invariant(
    handedOut === done + skipped + dead + count,
    `Cannot save: ${handedOut} jobs handed out, but ${done} done, ${skipped} skipped, ${dead} dead, ${count} stranded`,
  );
  return {
    ...rest,
    ...jobs.counts,
    againToCome: jobs.againToCome,
    last: cursorTracker.handedOut(),
    firstJobHash: cursorTracker.firstJobHash,
    stranded,
  };
}

/** The numbers of the status line. `rest` is what `jobs` does not know. */
function statusOf(
  jobs: Jobs,
  rest: Pick<RunStatus, "slaves" | "settledNow" | "reason" | "failures" | "outage" | "sick">,
): RunStatus {
  return {
    ...rest,
    ...jobs.counts,
    settled: settledOf(jobs.counts),
    buffered: jobs.unsettled - jobs.leases.count,
    inFlight: jobs.leases.count,
    stranded: jobs.stranded,
  };
}

/** Most captured states remembered while they are being written: a later state covers whatever an earlier one does. */
const capturedMax = 8;

/** Which answers each state covers that is being written. */
export class CheckpointVersions {
  /** Grows with every change of what a state contains. */
  version = 0;
  #savedVersion = -1;
  #captured: { version: number; answered: Map<SessionId, number> }[] = [];

  /** Whether anything changed since the last saved state was captured. */
  get isDirty(): boolean {
    return this.version !== this.#savedVersion;
  }

  captured(sessions: Iterable<SlaveSession>): void {
    const answered = new Map<SessionId, number>();
    for (const session of sessions) {
      if (session.answered > session.covered) answered.set(session.id, session.answered);
    }
    this.#captured = this.#captured.filter(({ version }) => version !== this.version);
    this.#captured.push({ version: this.version, answered });
    if (this.#captured.length > capturedMax) this.#captured.shift();
  }

  /** The state of this version is durable: returns the number of the last answer it covers, by session. */
  saved(version: number): ReadonlyMap<SessionId, number> {
    const state = this.#captured.find((captured) => captured.version === version);
    this.#captured = this.#captured.filter((captured) => captured.version > version);
    if (version > this.#savedVersion) this.#savedVersion = version;
    return state?.answered ?? new Map();
  }
}

/**
 * The run: everything a master decides, as a synchronous state machine over plain data. The shell reports what happened
 * and when (`apply`, `tick`) and carries out the effects (`takeEffects`). The run knows no clock, socket or file.
 *
 *   RUNNING ---- stop ----> STOPPING ---- nothing leased or buried, the grace over, or a second stop ----> ENDED
 *      |                                                                                                  ^
 *      '-- the source ended (or was given up) and every job it yielded is settled -------------------------'
 *
 * - RUNNING: a job is leased as soon as it is ready and a slave has credit for it. A job's life is drawn in `Jobs`.
 * - STOPPING: nothing is leased; slaves drain; answers count as before. Unsettled jobs stay stranded.
 * - ENDED: the last effect was `end`. Only `buried` and `saved` still count, for the last state.
 */
export class Run {
  readonly #settings: RunSettings;
  /** Replaced, never changed in place: captured states that are being written refer to it. */
  #operatorSettings: OperatorSettings;
  readonly #jobs: Jobs;
  readonly #sessions = new SlaveSessions();
  readonly #health = new Health();
  readonly #failures: Failures;
  readonly #judge: Judge;
  readonly #versions = new CheckpointVersions();
  readonly #letters: DeadLetterQueue;
  /** While the master itself is blocked, as by a synchronous `getJobs`, no slave counts as silent. */
  readonly #lagGuard = new LagGuard(lateMs, settleMs);
  readonly #bounds: Bounds;
  readonly #paceParts: Parameters<typeof paceOf>[0];
  readonly #cursorTracker: CursorTracker;
  readonly #source: SourceState;
  readonly #slaves: Slaves;
  readonly #dispatch: Dispatch;
  #mode: "running" | "stopping" | "ended" = "running";
  #outcome: Outcome | null = null;
  #effects: Effect[] = [];
  /** Counts as of the beginning of this start. */
  readonly #atStart: Readonly<{ settled: number; handedOut: number; isComplete: boolean }>;
  #graceEndsMs = Infinity;
  /** Since when it is held, on the lag-adjusted clock. */
  #heldAtMs = 0;
  /** Why the plugin holds the fleet; null if it does not. */
  #throttledFor: string | null = null;
  /** Time of the latest event or tick. */
  #nowMs: number;
  /** When a job was settled last, or leased while none was in flight; and how many were settled then. */
  #progress: { atMs: number; settled: number };

  /** `state` is the loaded state; null on a fresh start. Emits the effect that opens the source. */
  constructor(settings: RunSettings, state: RunState | null, nowMs: number) {
    const emit = (effect: Effect) => void this.#effects.push(effect);
    const jobs = this.#jobs = new Jobs(state, settings.bytesMax);
    const sessions = this.#sessions;
    this.#letters = new DeadLetterQueue(jobs, emit);
    const bury = (letter: DeadLetter) => this.#letters.add(letter);
    const health = this.#health;
    const failures = this.#failures = new Failures(nowMs);
    const gate = new Gate(settings, nowMs);
    const answers = new Settlement(settings, { jobs, failures, health, gate, bury });
    const { handedOut } = jobs.counts;
    this.#settings = settings;
    this.#operatorSettings = state?.settings ?? new Map();
    this.#nowMs = this.#heldAtMs = nowMs;
    this.#bounds = new Bounds(nowMs);
    this.#atStart = { settled: this.#settled, handedOut, isComplete: state?.complete ?? false };
    this.#progress = { atMs: nowMs, settled: this.#settled };
    this.#cursorTracker = new CursorTracker(state, jobs, settings.digest);
    this.#source = new SourceState(jobs, this.#cursorTracker, this.#atStart.isComplete, emit);
    this.#paceParts = { jobs, sessions, failures, health, source: this.#source, bounds: this.#bounds };
    const parts = { jobs, sessions, answers, lagGuard: this.#lagGuard, health };
    this.#slaves = new Slaves(parts, settings, nowMs, emit);
    const isOver = () => this.#source.mode !== "open" && this.#source.mode !== "waiting";
    // jobs may be queued behind an unsendable row
    const hasSourceEnded = () => isOver() && jobs.fresh.total === jobs.fresh.count;
    const isSourceDry = () => isOver() || this.#fullBy !== null;
    const sources = { hasSourceEnded, isSourceDry };
    this.#judge = new Judge({ jobs, sessions, failures, health, ...sources, bury, emit }, settings);
    const { fleet } = this.#judge;
    const { masterId, random } = settings;
    this.#dispatch = new Dispatch({ masterId, jobs, sessions, failures, health, fleet, gate, random, emit });
    const spent = jobs.restoreAll(state?.stranded ?? [], settings.failuresMax, settings.reclaimMs > 0);
    for (const letter of spent) this.#letters.add(letter);
    this.#letters.send();
  }

  /** Applies one event. */
  apply(event: RunEvent, nowMs: number): void {
    this.#lagGuard.note(nowMs);
    this.#noteBound(nowMs);
    if (this.#mode === "ended" && event.kind !== "buried" && event.kind !== "saved") return;
    this.#applyEvent(event, nowMs);
    this.#afterEvent(nowMs);
  }

  /** Does everything overdue. Returns when to call it again at the latest; Infinity if only an event can matter. */
  tick(nowMs: number): number {
    this.#lagGuard.note(nowMs);
    this.#noteBound(nowMs);
    if (this.#mode === "ended") return Infinity;
    if (this.#slaves.endSilent(nowMs) + this.#slaves.endStuck(nowMs) > 0) this.#versions.version++;
    this.#slaves.endAbsences(nowMs);
    this.#slaves.endOrphans(nowMs);
    this.#jobs.makeDue(nowMs);
    this.#source.tick(nowMs);
    this.#afterEvent(nowMs);
    const wakeMs = this.#nextWakeMs(nowMs);
    this.#lagGuard.expect(wakeMs);
    return wakeMs;
  }

  /**
   * Effects to carry out, in this order; each is returned once. Leases are made here, so a shell that takes effects
   * once per turn makes few large leases from many small answers.
   */
  takeEffects(): Effect[] {
    if (
      this.#mode === "running" && !this.#isHeld && this.#dispatch.run(this.#nowMs, this.#takeComingJobs())
    ) {
      this.#versions.version++;
      this.#buryRows();
      this.#letters.send();
    }
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** What the source may yield now. If either is 0, the source must pause. */
  demand(): { jobs: number; bytes: number } {
    const isAsked = this.#mode === "running" && this.#source.mode === "open" && this.#fullBy === null;
    if (!isAsked) return { jobs: 0, bytes: 0 };
    const { jobsMax, bytesMax } = this.#settings;
    return { jobs: jobsMax - this.#jobs.unsettled, bytes: bytesMax - this.#jobs.bytes };
  }

  /** Seq of the next job taken from the source, counted over all starts. A job that the source drops gets none. */
  get nextSeq(): number {
    return this.#jobs.nextSeq;
  }

  /** Bytes of the blocks that unsettled jobs keep in memory: within a small factor of what `demand` counts. */
  get memoryBytes(): number {
    return this.#jobs.blockBytes;
  }

  /** All that a resume needs, as of now. Apply the event `saved` with this version once the state is durable. */
  capture(): { version: number; state: RunState } {
    this.#versions.captured(this.#sessions);
    const complete = this.#outcome?.kind === "complete" || this.#isStillComplete;
    const final = this.#mode === "ended";
    const state = stateOf(this.#jobs, this.#cursorTracker, {
      complete,
      final,
      settings: this.#operatorSettings,
    });
    return { version: this.#versions.version, state };
  }

  /** Whether anything changed since the last durable state. */
  isDirty(): boolean {
    return this.#versions.isDirty;
  }

  status(nowMs: number): RunStatus {
    const bound = this.#noteBound(nowMs);
    const [isStopping, isPaused] = [this.#mode === "stopping", this.#isPaused];
    const idleMs = nowMs - this.#progress.atMs;
    const now = { bound, isStopping, isPaused, throttled: this.#throttledFor, idleMs };
    const reason = reasonOf(paceOf(this.#paceParts, now), this.#settings);
    const settledNow = this.#settled - this.#atStart.settled;
    return statusOf(this.#jobs, {
      slaves: this.#sessions.count,
      settledNow,
      reason,
      outage: this.#failures.outage,
      sick: [...this.#health.sick()],
      failures: this.#letters.groups,
    });
  }

  /** One row per slave session, in order of joining. */
  *sessions(nowMs: number): Iterable<SessionStatus> {
    const adjustedMs = this.#lagGuard.time(nowMs);
    for (const { id, slaveName, mode, held, tally, heardMs } of this.#sessions) {
      yield { session: id, name: slaveName, mode, inFlight: held, ...tally, heardMs: adjustedMs - heardMs };
    }
  }

  #applyEvent(event: RunEvent, nowMs: number): void {
    switch (event.kind) {
      case "yielded":
        return this.#source.yielded(event.block, event.moreAtHand);
      case "unsendable":
        return this.#source.yieldedRow(event.row);
      case "source ended":
        return this.#source.ended();
      case "source failed":
        return this.#source.failed(event.message, event.fatal, nowMs);
      case "joined": {
        const session = this.#slaves.joined(event, nowMs);
        this.#versions.version++;
        return this.#mode === "stopping" ? this.#slaves.drain(session) : undefined;
      }
      case "buried":
        this.#versions.version++;
        return this.#letters.buried(event.seqs);
      case "no room":
        if (this.#mode === "ended") return;
        return this.#end(this.#mode === "stopping" ? { kind: "stopped" } : event);
      case "saved":
        return this.#saved(event.version);
      case "set":
        return this.#set(event.name, event.value, nowMs);
      case "throttled":
        return this.#change(nowMs, () => this.#throttledFor = event.reason);
      case "stop":
        return this.#stop(nowMs);
      default:
        return this.#applySessionEvent(event, nowMs);
    }
  }

  /** Ignores events of a session that has ended. */
  #applySessionEvent(event: SessionEvent, nowMs: number): void {
    const session = this.#sessions.get(event.session);
    if (session === undefined) return;
    switch (event.kind) {
      case "heard":
        return this.#slaves.heard(session, nowMs);
      case "credit":
        return this.#sessions.change(session, { credit: event.credit });
      case "answered":
        this.#versions.version++;
        return this.#slaves.answered(session, event, nowMs);
      case "excused":
        this.#versions.version++;
        return this.#judge.excuse(session.slaveId, event.jobs, nowMs);
      case "again":
        this.#versions.version++;
        return this.#jobs.countRepeated(event.count);
      case "leaving":
        return this.#slaves.leaving(session);
      case "left":
        this.#versions.version++;
        return this.#slaves.left(session, event.how, event.at, nowMs);
      default:
        return event satisfies never;
    }
  }

  /** After each event: judges failures, sends dead letters, and ends the run if it is over. */
  #afterEvent(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#noteProgress(nowMs);
    this.#jobs.compact();
    this.#judge.judge(nowMs, this.#lagGuard.time(nowMs));
    this.#buryRows();
    this.#letters.send();
    const outcome = this.#mode === "ended" ? null : this.#outcomeNow(nowMs);
    if (outcome !== null) this.#end(outcome);
  }

  /** Sends the dead letters of unsendable rows before which no job is left to hand out. */
  #buryRows(): void {
    if (this.#mode === "ended") return;
    for (const letter of this.#jobs.buryRows()) this.#letters.add(letter);
  }

  #noteProgress(nowMs: number): void {
    if (this.#settled === this.#progress.settled && this.#jobs.leases.count > 0) return;
    this.#progress = { atMs: nowMs, settled: this.#settled };
  }

  #saved(version: number): void {
    for (const [id, through] of this.#versions.saved(version)) {
      const session = this.#sessions.get(id);
      if (session === undefined || through <= session.covered) continue;
      session.covered = through;
      if (this.#mode !== "ended") this.#effects.push({ kind: "covered", session: id, through });
    }
  }

  /** A setting that is off is removed from the map. */
  #set(name: SettingName, value: boolean, nowMs: number): void {
    const settings = new Map(this.#operatorSettings);
    if (value) settings.set(name, value);
    else settings.delete(name);
    this.#versions.version++;
    this.#change(nowMs, () => this.#operatorSettings = settings);
  }

  /** Changes what holds the run. The time for which it was held does not prolong an outage: nothing could succeed. */
  #change(nowMs: number, change: () => void): void {
    const wasHeld = this.#isHeld;
    change();
    if (this.#isHeld === wasHeld) return;
    const adjustedMs = this.#lagGuard.time(nowMs);
    if (this.#isHeld) this.#heldAtMs = adjustedMs;
    else this.#failures.excludePause(adjustedMs - this.#heldAtMs);
  }

  /** Whether nothing is leased because somebody says so: an operator, or the plugin. */
  get #isHeld(): boolean {
    return this.#isPaused || this.#throttledFor !== null;
  }

  get #isPaused(): boolean {
    return this.#operatorSettings.get("paused") === true;
  }

  #stop(nowMs: number): void {
    if (this.#mode === "stopping") return this.#end({ kind: "stopped" });
    this.#mode = "stopping";
    this.#graceEndsMs = nowMs + this.#settings.graceMs;
    this.#source.close();
    for (const session of [...this.#sessions]) this.#slaves.drain(session);
  }

  #outcomeNow(nowMs: number): Outcome | null {
    if (this.#mode === "stopping") {
      const isQuiet = this.#jobs.leases.count === 0 && this.#jobs.burying === 0;
      return isQuiet || nowMs >= this.#graceEndsMs ? { kind: "stopped" } : null;
    }
    if (!this.#isHeld && this.#judge.isOutageTooLong(this.#lagGuard.time(nowMs))) {
      return { kind: "outage", message: this.#failures.message };
    }
    if (this.#jobs.unsettled > 0) return null;
    const { mode, ignoredLast, fault } = this.#source;
    if (mode === "ended" || ignoredLast) return { kind: "complete", ignoredLast };
    return mode === "given up" ? { kind: "source failed", ...fault } : null;
  }

  #end(outcome: Outcome): void {
    this.#mode = "ended";
    this.#outcome = outcome;
    this.#versions.version++;
    this.#effects.push({ kind: "end", outcome });
  }

  #nextWakeMs(nowMs: number): number {
    return Math.min(
      this.#sessions.count > 0 ? nowMs + this.#settings.heartbeatMs : Infinity,
      this.#slaves.nextWakeMs,
      this.#jobs.retries.nextMs,
      this.#source.retryAtMs,
      this.#graceEndsMs,
      this.#isHeld ? Infinity : this.#nextLeaseMs(nowMs),
    );
  }

  /**
   * When jobs may become leasable, or an outage too long, even if no event comes. What is overdue and cannot be leased,
   * because the operator's limits allow no job, is looked at again once they do: not at once and for ever.
   */
  #nextLeaseMs(nowMs: number): number {
    const wakeMs = Math.min(
      this.#failures.wakeMs(this.#judge.fleet, nowMs),
      this.#dispatch.nextRunMs(nowMs),
      this.#mode === "running" ? this.#lagGuard.realMs(this.#judge.outageEndsMs) : Infinity,
    );
    return wakeMs > nowMs ? wakeMs : this.#dispatch.afterGateMs(nowMs);
  }

  /** Most jobs that the source may yield at once, estimated from their average size; 0 if it has no more at hand. */
  #takeComingJobs(): number {
    if (!this.#source.takeMoreAtHand()) return 0;
    const { jobs, bytes } = this.demand();
    return Math.min(jobs, bytes * this.#jobs.unsettled / Math.max(1, this.#jobs.bytes));
  }

  get #settled(): number {
    return settledOf(this.#jobs.counts);
  }

  /** Which limit of the window is reached; null if jobs may still be yielded. */
  get #fullBy(): WindowLimit | null {
    if (this.#jobs.unsettled >= this.#settings.jobsMax) return "jobs";
    return this.#jobs.bytes >= this.#settings.bytesMax ? "bytes" : null;
  }

  /** Call before anything changes. Returns what limits the speed at this instant. */
  #noteBound(nowMs: number): Bound | null {
    const bound = boundOf(this.#paceParts, this.#fullBy, this.#dispatch.limitedBy);
    this.#bounds.note(bound, nowMs);
    return bound;
  }

  /** A completed run that is started again stays complete until something new is handed out. */
  get #isStillComplete(): boolean {
    return this.#atStart.isComplete && this.#jobs.counts.handedOut === this.#atStart.handedOut;
  }
}

type SessionEvent = Extract<
  RunEvent,
  { kind: "heard" | "credit" | "answered" | "excused" | "again" | "leaving" | "left" }
>;
