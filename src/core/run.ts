import { invariant } from "../base/errors.ts";
import type { Ranges } from "../base/ranges.ts";
import { Answers } from "./answers.ts";
import { Dispatch } from "./dispatch.ts";
import { FailureGroups } from "./failure_groups.ts";
import { Furthest } from "./furthest.ts";
import { isSpent } from "./history.ts";
import { Jobs, splitByAttempts } from "./jobs.ts";
import { Outage } from "./outage.ts";
import { Patience } from "./patience.ts";
import { reasonOf } from "./reason.ts";
import { Saves } from "./saves.ts";
import { Sessions } from "./sessions.ts";
import { Slaves } from "./slaves.ts";
import { SourceState } from "./source_state.ts";
import type { DeadLetter, Effect, Outcome, RunEvent, RunSettings, RunState, RunStatus } from "./types.ts";

/**
 * The run: everything a master decides, as a synchronous state machine over plain data. It is told what happened
 * and when (`apply`, `tick`), and answers with what to do (`takeEffects`). It knows no clock, socket or file.
 *
 *   RUNNING ---- stop ----> STOPPING ---- nothing leased or buried, the grace over, or a second stop ----> ENDED
 *      |                                                                                                  ^
 *      '-- the source ended (or was given up) and every job it yielded is settled -------------------------'
 *
 * - RUNNING: a job is leased as soon as it is ready and a slave has credit for it. A job's life is drawn in `Jobs`.
 * - STOPPING: nothing is leased; slaves drain; answers count as before. What is left stays stranded.
 * - ENDED: the last effect was `end`. Only `buried` still counts, for the last state.
 */
export class Run {
  readonly #settings: RunSettings;
  readonly #jobs: Jobs;
  readonly #sessions = new Sessions();
  readonly #outage = new Outage();
  readonly #saves = new Saves();
  readonly #groups = new FailureGroups();
  readonly #patience = new Patience();
  readonly #furthest: Furthest;
  readonly #source: SourceState;
  readonly #slaves: Slaves;
  readonly #dispatch: Dispatch;
  #mode: "running" | "stopping" | "ended" = "running";
  #outcome: Outcome | null = null;
  #effects: Effect[] = [];
  /** Dead letters of the event at hand; they leave as one effect. */
  #letters: DeadLetter[] = [];
  /** What was so when this start began. */
  readonly #atStart: Readonly<{ settled: number; handedOut: number; isComplete: boolean }>;
  /** On the patient clock: when jobs stop waiting for slaves of an earlier master. */
  #reclaimEndsMs: number;
  #graceEndsMs = Infinity;
  /** Of the latest event or tick. */
  #nowMs: number;
  /** When a job was settled last, or leased while none was in flight; and how many were settled then. */
  #progress: { atMs: number; settled: number };

  /** `state` as it was loaded; null on a fresh start. Asks to open the source. */
  constructor(settings: RunSettings, state: RunState | null, nowMs: number) {
    const emit = (effect: Effect) => void this.#effects.push(effect);
    const jobs = this.#jobs = new Jobs(state, settings.bytesMax);
    const sessions = this.#sessions;
    const answers = new Answers(settings, jobs, this.#outage, (letter) => this.#letters.push(letter));
    const { handedOut } = jobs.counters;
    this.#settings = settings;
    this.#nowMs = nowMs;
    this.#atStart = { settled: this.#settled, handedOut, isComplete: state?.complete ?? false };
    this.#progress = { atMs: nowMs, settled: this.#settled };
    this.#reclaimEndsMs = nowMs + settings.reclaimMs;
    this.#furthest = new Furthest(state, jobs, settings.digest);
    this.#source = new SourceState(jobs, this.#furthest, this.#atStart.isComplete, emit);
    this.#slaves = new Slaves(
      { jobs, sessions, answers, patience: this.#patience },
      settings.heartbeatMs,
      emit,
    );
    this.#dispatch = new Dispatch(settings.masterId, jobs, sessions, this.#outage, emit);
    this.#restore(state);
  }

  /** Takes in one event. */
  apply(event: RunEvent, nowMs: number): void {
    this.#patience.note(nowMs);
    if (this.#mode === "ended" && event.kind !== "buried" && event.kind !== "saved") return;
    this.#take(event, nowMs);
    this.#settleDown(nowMs);
  }

  /** Does everything overdue. Returns when to be called next at the latest; Infinity if only an event can matter. */
  tick(nowMs: number): number {
    this.#patience.note(nowMs);
    if (this.#mode === "ended") return Infinity;
    if (this.#slaves.endSilent(nowMs) > 0) this.#saves.version++;
    this.#endReclaims(nowMs);
    this.#jobs.makeDue(nowMs);
    this.#source.tick(nowMs);
    this.#settleDown(nowMs);
    const wakeMs = this.#nextWakeMs(nowMs);
    this.#patience.asked(wakeMs);
    return wakeMs;
  }

  /**
   * What to do, in this order; each is returned once. Jobs are leased here: a shell that takes effects once a turn
   * makes few large leases out of many small answers.
   */
  takeEffects(): Effect[] {
    if (this.#mode === "running" && this.#dispatch.run(this.#nowMs)) this.#saves.version++;
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** What the source may yield now. No jobs or no bytes: it is to pause. */
  demand(): { jobs: number; bytes: number } {
    if (this.#mode !== "running" || this.#source.mode !== "open") return { jobs: 0, bytes: 0 };
    const jobs = Math.max(0, this.#settings.jobsMax - this.#jobs.unsettled);
    const bytes = Math.max(0, this.#settings.bytesMax - this.#jobs.bytes);
    return jobs === 0 || bytes === 0 ? { jobs: 0, bytes: 0 } : { jobs, bytes };
  }

  /** Bytes of the blocks that jobs not settled keep alive: within a small factor of what `demand` counts. */
  get memoryBytes(): number {
    return this.#jobs.blockBytes;
  }

  /** All that a resume needs, as of now. Say `saved` with the version once it is durable. */
  snapshot(): { version: number; state: RunState } {
    this.#saves.captured(this.#sessions);
    const { counters } = this.#jobs;
    const { handedOut, done, skipped, dead } = counters;
    const stranded = this.#jobs.strand();
    const count = stranded.reduce((sum, { span }) => sum + span.count, 0);
    invariant(
      handedOut === done + skipped + dead + count,
      `Cannot save: ${handedOut} jobs handed out, but ${done} done, ${skipped} skipped, ${dead} dead, ${count} stranded`,
    );
    const state = {
      ...counters,
      last: this.#furthest.handedOut(),
      firstJobHash: this.#furthest.firstJobHash,
      complete: this.#outcome?.kind === "complete" || this.#isStillComplete,
      stranded,
    };
    return { version: this.#saves.version, state };
  }

  /** Whether something changed since the latest state that is durable. */
  isDirty(): boolean {
    return this.#saves.isDirty;
  }

  status(nowMs: number): RunStatus {
    const { handedOut, done, skipped, dead, repeated } = this.#jobs.counters;
    return {
      settled: this.#settled,
      done,
      skipped,
      dead,
      repeated,
      handedOut,
      settledNow: this.#settled - this.#atStart.settled,
      buffered: this.#jobs.unsettled - this.#jobs.leases.count,
      inFlight: this.#jobs.leases.count,
      stranded: this.#jobs.stranded,
      slaves: this.#sessions.count,
      reason: this.#reason(nowMs),
      failures: this.#groups.list,
    };
  }

  #take(event: RunEvent, nowMs: number): void {
    switch (event.kind) {
      case "yielded":
        return this.#source.yielded(event.block);
      case "source ended":
        return this.#source.ended();
      case "source failed":
        return this.#source.failed(event.message, event.fatal, nowMs);
      case "joined": {
        const session = this.#slaves.joined(event, nowMs);
        this.#saves.version++;
        return this.#mode === "stopping" ? this.#slaves.drain(session) : undefined;
      }
      case "buried":
        return this.#buried(event.seqs);
      case "saved":
        return this.#saved(event.version);
      case "stop":
        return this.#stop(nowMs);
      default:
        return this.#takeOfSession(event, nowMs);
    }
  }

  /** What is said of a session that ended is of no account. */
  #takeOfSession(event: SessionEvent, nowMs: number): void {
    const session = this.#sessions.get(event.session);
    if (session === undefined) return;
    switch (event.kind) {
      case "heard":
        return this.#slaves.heard(session, nowMs);
      case "credit":
        return this.#sessions.change(session, { credit: event.credit });
      case "answered":
        this.#saves.version++;
        return this.#slaves.answered(session, event, nowMs);
      case "leaving":
        return this.#slaves.leaving(session);
      case "left":
        this.#saves.version++;
        return this.#slaves.left(session, event.how, event.at ?? "", nowMs);
      default:
        return event satisfies never;
    }
  }

  /** After each event: sends what is to be buried, ends the run if it is over. */
  #settleDown(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#noteProgress(nowMs);
    this.#jobs.compact();
    this.#sendLetters();
    const outcome = this.#mode === "ended" ? null : this.#outcomeNow(nowMs);
    if (outcome !== null) this.#end(outcome);
  }

  #noteProgress(nowMs: number): void {
    if (this.#settled === this.#progress.settled && this.#jobs.leases.count > 0) return;
    this.#progress = { atMs: nowMs, settled: this.#settled };
  }

  #sendLetters(): void {
    if (this.#letters.length === 0) return;
    this.#effects.push({ kind: "bury", letters: this.#letters });
    this.#letters = [];
  }

  /** What an earlier master left. Jobs without an attempt left were on their way to the dead letters. */
  #restore(state: RunState | null): void {
    const { reclaimMs, failuresMax } = this.#settings;
    for (const stranded of (state?.stranded ?? []).flatMap(splitByAttempts)) {
      const { history } = stranded;
      if (isSpent(history, failuresMax)) this.#letters.push(...this.#jobs.restoreSpent(stranded));
      else this.#jobs.restore(stranded, reclaimMs > 0);
    }
    this.#sendLetters();
  }

  #endReclaims(nowMs: number): void {
    if (this.#jobs.reclaims.count === 0) return;
    const isOver = this.#patience.time(nowMs) >= this.#reclaimEndsMs && this.#patience.mayJudge(nowMs);
    if (isOver) this.#jobs.giveUpWaiting(this.#jobs.reclaims.takeAll());
  }

  #buried(seqs: Ranges): void {
    for (let i = 0; i < seqs.length; i += 2) {
      for (let seq = seqs[i]!; seq < seqs[i + 1]!; seq++) {
        const history = this.#jobs.buried(seq);
        if (history !== null) this.#groups.add(history.attempts.at(-1)?.message ?? "");
      }
    }
    this.#saves.version++;
  }

  #saved(version: number): void {
    for (const [id, through] of this.#saves.saved(version)) {
      const session = this.#sessions.get(id);
      if (session === undefined || through <= session.covered) continue;
      session.covered = through;
      if (this.#mode !== "ended") this.#effects.push({ kind: "covered", session: id, through });
    }
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
    if (this.#jobs.unsettled > 0) return null;
    const { mode, ignoredLast, message } = this.#source;
    if (mode === "ended" || ignoredLast) return { kind: "complete", ignoredLast };
    return mode === "given up" ? { kind: "source failed", message } : null;
  }

  #end(outcome: Outcome): void {
    this.#mode = "ended";
    this.#outcome = outcome;
    this.#saves.version++;
    this.#effects.push({ kind: "end", outcome });
  }

  #nextWakeMs(nowMs: number): number {
    const { reclaims, retries } = this.#jobs;
    return Math.min(
      this.#sessions.count > 0 ? nowMs + this.#settings.heartbeatMs : Infinity,
      this.#slaves.nextWakeMs,
      reclaims.count > 0 ? this.#patience.realMs(this.#reclaimEndsMs) : Infinity,
      retries.nextMs,
      this.#source.retryAtMs,
      this.#graceEndsMs,
      // Without a session there is nobody to probe with: the next one that joins is asked at once.
      this.#sessions.hungryCount > 0 ? Math.max(nowMs + 1, this.#outage.nextProbeMs) : Infinity,
    );
  }

  get #settled(): number {
    const { done, skipped, dead } = this.#jobs.counters;
    return done + skipped + dead;
  }

  /** A finished run that was started again stays finished until something new is handed out. */
  get #isStillComplete(): boolean {
    return this.#atStart.isComplete && this.#jobs.counters.handedOut === this.#atStart.handedOut;
  }

  #reason(nowMs: number): string {
    const jobs = this.#jobs;
    const isSourceFailing = this.#source.mode === "waiting" || this.#source.mode === "given up";
    return reasonOf({
      isStopping: this.#mode === "stopping",
      failing: this.#outage.isOn
        ? this.#outage.message
        : isSourceFailing
        ? `getJobs: ${this.#source.message}`
        : null,
      slaves: this.#sessions.count,
      hungry: this.#sessions.hungryCount,
      inFlight: jobs.leases.count,
      ready: jobs.fresh.count + jobs.returned.count,
      delayed: jobs.retries.count,
      reclaimable: jobs.reclaims.count,
      hasSource: this.#source.mode === "open",
      idleMs: nowMs - this.#progress.atMs,
    });
  }
}

type SessionEvent = Extract<RunEvent, { kind: "heard" | "credit" | "answered" | "leaving" | "left" }>;
