import type { Outcome, RunStatus, SessionId, SessionStatus } from "../core/types.ts";
import { monotonicMs } from "../lib/clock.ts";
import { lateErrorsMax } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import type { LateErrorCounts, MasterEvent, MasterStatus, RunReason, SlaveRow, Snapshot } from "./events.ts";
import { LogLines } from "./log_lines.ts";
import { RateMeter } from "./rate_meter.ts";

/** Between two events that only count what was late. */
const lateToldMs = 1_000;
/** Between two samples of rates. */
const sampleMs = 1_000;

type LateEvent = Extract<MasterEvent, { kind: "late" }>;
type Joined = Extract<MasterEvent, { kind: "joined" }>;
type Listener = (event: MasterEvent) => void;

/** What the hub asks when somebody wants to know. */
export type RunView = Readonly<{
  /** The core's numbers; the latest that could be had, once the run has ended by a fault. */
  status: (nowMs: number) => RunStatus;
  sessions: (nowMs: number) => Iterable<SessionStatus>;
  /** Why the run is not faster, the process around the core included. */
  reason: (status: RunStatus, nowMs: number) => RunReason;
  /** What this slave waits for, in its words; empty if for nothing. */
  waitsFor: (session: SessionId) => string;
  about: Omit<Snapshot, keyof MasterStatus | "savedAgoMs" | "warning" | "sessions">;
}>;

/**
 * The run as others see it: every fact is told here once, as an event, and goes to the log and to all who listen; what is
 * so now is a snapshot. Totals, a row a slave, rates: nothing that grows with the number of jobs.
 *
 * Until `opened` the listener hears nothing, so `started` comes first; the log is told at once.
 */
export class Hub {
  readonly #lines: LogLines;
  readonly #listener: Listener;
  readonly #startedMs: number;
  #view: RunView | null = null;
  #held: MasterEvent[] | null = [];
  readonly #rate = new RateMeter();
  readonly #slaves = new Map<SessionId, Readonly<{ joined: Joined; rate: RateMeter }>>();
  #sampledAtMs = -Infinity;
  #warning: Readonly<{ message: string; atMs: number }> | null = null;
  #savedAtMs: number;
  #late: LateErrorCounts = { count: 0, errors: [] };
  /** What no event has told yet. */
  #lateUntold: LateEvent | null = null;
  #lateToldAtMs = -Infinity;

  /** @param listener Hears all events, from `started` on; it must not throw. */
  constructor(log: Log, listener: Listener = () => {}) {
    this.#lines = new LogLines(log);
    this.#listener = listener;
    this.#startedMs = this.#savedAtMs = monotonicMs();
  }

  /** The log of the parts of a master: what they warn of reaches all who listen. */
  readonly log: Log = (level, message, fields) => {
    const isWarning = level === "warn" || level === "error";
    this.emit(
      isWarning ? { kind: "warning", level, message, fields } : { kind: "log", level, message, fields },
    );
  };

  /** The log of the plugin: its lines are its own, and no warnings of the run. */
  readonly pluginLog: Log = (level, message, fields) => this.emit({ kind: "log", level, message, fields });

  warn(message: string): void {
    this.log("warn", message);
  }

  /** What there is to be asked. */
  watch(view: RunView): void {
    this.#view = view;
  }

  /** The run begins. */
  opened(started: Extract<MasterEvent, { kind: "started" }>): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const event of [started, ...held]) this.#listener(event);
  }

  emit(event: MasterEvent): void {
    if (event.kind === "late") return this.#noteLate(event);
    this.#note(event);
    this.#lines.happened(event, monotonicMs());
    this.#tell(event);
  }

  #tell(event: MasterEvent): void {
    if (this.#held === null) this.#listener(event);
    else this.#held.push(event);
  }

  /** What the snapshot shows of it. */
  #note(event: MasterEvent): void {
    if (event.kind === "joined") {
      this.#slaves.set(event.session, { joined: event, rate: new RateMeter() });
    } else if (event.kind === "left") this.#slaves.delete(event.session);
    else if (event.kind === "saved") this.#savedAtMs = monotonicMs();
    else if (event.kind === "warning") this.#warning = { message: event.message, atMs: monotonicMs() };
  }

  get savedAgoMs(): number {
    return monotonicMs() - this.#savedAtMs;
  }

  /** Errors that came after their job was acked, in this start. */
  get late(): LateErrorCounts {
    return this.#late;
  }

  /** The numbers of this moment. */
  status(nowMs = monotonicMs()): MasterStatus {
    const view = this.#view!;
    const status = view.status(nowMs);
    this.#rate.sample(status.settledNow, nowMs);
    return {
      ...status,
      reason: view.reason(status, nowMs),
      ratePerSecond: this.#rate.perSecond,
      elapsedMs: nowMs - this.#startedMs,
      lateErrors: this.#late.count,
    };
  }

  /** All that is shown of the run at this moment. */
  snapshot(nowMs = monotonicMs()): Snapshot {
    const view = this.#view!;
    return {
      ...view.about,
      ...this.status(nowMs),
      savedAgoMs: this.savedAgoMs,
      warning: this.#warning && { message: this.#warning.message, agoMs: nowMs - this.#warning.atMs },
      sessions: Array.from(view.sessions(nowMs), (session) => this.#row(session, nowMs)),
    };
  }

  #row(session: SessionStatus, nowMs: number): SlaveRow {
    const slave = this.#slaves.get(session.session);
    slave?.rate.sample(session.settled, nowMs);
    return {
      ...session,
      workers: slave?.joined.procs ?? 0,
      version: slave?.joined.version ?? "",
      ratePerSecond: slave?.rate.perSecond ?? 0,
      waitsFor: this.#view!.waitsFor(session.session),
    };
  }

  /** Does what is overdue; returns when to be called next. */
  tick(nowMs: number): number {
    if (this.#view !== null && nowMs >= this.#sampledAtMs + sampleMs) this.#sample(this.#view, nowMs);
    return Math.min(this.#lines.tick(nowMs), this.#tickLate(nowMs), this.#sampledAtMs + sampleMs);
  }

  #sample(view: RunView, nowMs: number): void {
    this.#sampledAtMs = nowMs;
    this.#rate.sample(view.status(nowMs).settledNow, nowMs);
    for (const { session, settled } of view.sessions(nowMs)) {
      this.#slaves.get(session)?.rate.sample(settled, nowMs);
    }
  }

  /** The run has ended like this: nothing follows. */
  ended(outcome: Outcome): void {
    this.#tellLate();
    this.emit({ kind: "ended", outcome });
  }

  /** The log is told of what was counted only. */
  close(): void {
    this.#lines.close();
  }

  #noteLate({ slave, errors, count }: LateEvent): void {
    const named = errors.slice(0, lateErrorsMax - this.#late.errors.length);
    this.#late = {
      count: this.#late.count + count,
      errors: [...this.#late.errors, ...named.map((error) => ({ ...error, slave }))],
    };
    const untold = this.#lateUntold?.count ?? 0;
    this.#lateUntold = { kind: "late", slave, errors: named, count: untold + count };
    if (named.length > 0) this.#tellLate();
  }

  /** Once enough are named, the rest is a number now and then: a slave may say such things without end. */
  #tellLate(): void {
    const late = this.#lateUntold;
    if (late === null) return;
    this.#lateUntold = null;
    this.#lateToldAtMs = monotonicMs();
    this.#lines.happened(late, this.#lateToldAtMs);
    this.#tell(late);
  }

  #tickLate(nowMs: number): number {
    if (this.#lateUntold === null) return Infinity;
    const dueMs = this.#lateToldAtMs + lateToldMs;
    if (nowMs < dueMs) return dueMs;
    this.#tellLate();
    return Infinity;
  }
}
