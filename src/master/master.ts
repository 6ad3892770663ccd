import { Run } from "../core/run.ts";
import type { FailedAttempt, Outcome, RunStatus } from "../core/types.ts";
import { formatFingerprint, sizeOfBlock } from "../lib/bytes.ts";
import { clearTimeout, monotonicMs, setTimeout } from "../lib/clock.ts";
import { invariant, UsageError } from "../lib/errors.ts";
import { idCharsMax, lateErrorsMax, welcomeBytesMax } from "../lib/limits.ts";
import { silentWaitMs, since, Waits } from "../lib/log.ts";
import { DeadBuffers } from "../lib/runtime.ts";
import { printable } from "../lib/text.ts";
import { type Address, formatAddress } from "../lib/units.ts";
import type { MasterLink } from "../link/link.ts";
import type { Listener } from "../link/listen.ts";
import { readCertificate } from "../link/tls.ts";
import { sourceOf } from "../plugin/kinds.ts";
import { SourceReader } from "../plugin/source.ts";
import { encode } from "../protocol/cbor.ts";
import { headerBytes, macBytes } from "../protocol/handshake.ts";
import type { Introduction } from "../protocol/messages.ts";
import type { StateStore } from "../state/store.ts";
import { carryOut, Driver, type EffectHandlers, Timer } from "./driver.ts";
import { FailureLog } from "./failure_log.ts";
import { aborted, callOnFinish, toSummary } from "./finish.ts";
import { Persistence } from "./persistence.ts";
import { Sessions } from "./sessions.ts";
import {
  listenSomewhere,
  newId,
  openRunState,
  reachableHost,
  toResumed,
  toSettings,
  toWelcome,
} from "./setup.ts";
import type {
  FinishFault,
  LateErrorCounts,
  Master,
  MasterEvent,
  MasterOptions,
  MasterResult,
  MasterStatus,
  Resumed,
  Standing,
} from "./types.ts";
export type { Master, MasterEvent, MasterOptions, MasterResult, MasterStatus, Resumed } from "./types.ts";

/** Arguments of a run. */
const argsMax = 1_000;
/** The value of one of them. */
const argCharsMax = 1 << 16;

const inFile = "put them in a file, and give its name instead";

/**
 * Refuses arguments that no slave could be told, before anything is opened for them.
 *
 * @throws {UsageError} if there are too many, one is too long, or all together are.
 */
function checkArgs(options: MasterOptions): void {
  const args = Object.entries(options.args);
  if (args.length > argsMax) {
    throw new UsageError(
      `Cannot start with ${args.length} arguments: a run takes at most ${argsMax}; ${inFile}.`,
    );
  }
  const long = args.find(([, value]) => value.length > argCharsMax);
  if (long !== undefined) {
    const [name, value] = long;
    throw new UsageError(
      `Cannot start with the argument "${
        printable(name, 80)
      }": it has ${value.length} characters, and a run takes ` +
        `values of at most ${argCharsMax}; put it in a file, and give its name instead.`,
    );
  }
  const bytes = welcomeBytes(options);
  if (bytes <= welcomeBytesMax) return;
  throw new UsageError(
    `Cannot start with these arguments: they make what each slave is told ${bytes} bytes long, and a run takes ` +
      `at most ${welcomeBytesMax}; ${inFile}.`,
  );
}

/** Of the longest WELCOME that a run with these options can have. */
function welcomeBytes(options: MasterOptions): number {
  const id = "x".repeat(idCharsMax);
  const welcome = toWelcome(options, { runId: id, epoch: Number.MAX_SAFE_INTEGER }, id);
  return headerBytes + macBytes + encode(welcome).length;
}

/** How long `onFinish` may take after a stop, even if the grace is over, in milliseconds. */
const finishMsMin = 5_000;
/** Between two events that only count what was late. */
const lateToldMs = 1_000;
/** The demand of a core that is asked no more. */
const nothing = { jobs: 0, bytes: 0 };

type LateEvent = Extract<MasterEvent, { kind: "late" }>;

/**
 * Owns everything of a running master, wires it together, and takes it apart again at the end.
 *
 *              open                   effect `end`, a fault, a lost state
 *     OPENING -------> RUNNING -------------------------------------------> ENDING ---> ENDED
 *
 * OPENING: slaves may connect; nothing is handed out before the first save. ENDING: once, whatever comes; the last
 * save is durable before the slaves are dismissed. After a fault nothing is saved: what is in memory can no longer
 * be trusted, and the last good file stays. ENDED: nothing is open any more; `finished` resolves.
 */
class RunningMaster implements Master {
  readonly runId: string;
  readonly resumed: Resumed | null;
  readonly statePath: string;
  readonly finished: Promise<MasterResult>;
  readonly #options: MasterOptions;
  readonly #store: StateStore;
  readonly #masterId = newId();
  readonly #startedMs = monotonicMs();
  readonly #run: Run;
  readonly #driver: Driver;
  readonly #timer: Timer;
  readonly #sessions: Sessions;
  readonly #saving: Persistence;
  readonly #source: SourceReader;
  readonly #handlers: EffectHandlers;
  /** Aborted by the second stop: nothing is waited for any more. */
  readonly #hurry = new AbortController();
  readonly #failureLog: FailureLog;
  readonly #waits = new Waits((sentence) => this.#warn(sentence));
  /** Since when the source owes a job, as far as it was looked; null if it owes none. */
  #sourceOwesSinceMs: number | null = null;
  #hasToldOfSource = false;
  /** When the grace of a stop ends. */
  #graceEndsMs = Infinity;
  #finishFault: FinishFault | null = null;
  #listener: Listener | null = null;
  #isStopping = false;
  /** How it ends, once that has begun. */
  #outcome: Outcome | null = null;
  #isSavedFinally = false;
  #savedAtMs: number;
  /** The latest one that could be had: after a fault the core is not asked again. */
  #status: RunStatus;
  #late: LateErrorCounts = { count: 0, errors: [] };
  /** What no event has told yet. */
  #lateUntold: LateEvent | null = null;
  #lateToldAtMs = -Infinity;
  #endedMs: number | undefined;
  #finish!: (result: MasterResult) => void;

  constructor(options: MasterOptions, store: StateStore) {
    this.#options = options;
    this.#store = store;
    this.runId = store.runId;
    this.statePath = store.path;
    this.resumed = toResumed(store.loaded);
    this.#savedAtMs = this.#startedMs;
    this.finished = new Promise((resolve) => this.#finish = resolve);
    this.#failureLog = new FailureLog(options.log);
    const onFailed = options.logsAttempts === true
      ? (failed: FailedAttempt) => this.#failureLog.failed(failed, monotonicMs())
      : undefined;
    this.#run = new Run(
      { ...toSettings(options, this.#masterId), onFailed },
      store.loaded,
      this.#startedMs,
    );
    this.#status = this.#run.status(this.#startedMs);
    this.#timer = new Timer((nowMs) => this.#tick(nowMs));
    this.#driver = this.#makeDriver();
    this.#sessions = this.#makeSessions();
    this.#saving = this.#makeSaving();
    this.#source = this.#makeSource();
    this.#handlers = this.#makeHandlers();
  }

  get address(): Address {
    invariant(this.#listener !== null, "Cannot name the master's address: it does not listen");
    return this.#listener.address;
  }

  get fingerprint(): string | null {
    const { tls } = this.#options;
    return tls === undefined ? null : formatFingerprint(readCertificate(tls.cert).hash);
  }

  /** Listens, saves, and lets the run begin. */
  async open(): Promise<void> {
    const { host, port, token, tls, portFallback, log } = this.#options;
    const welcome = toWelcome(this.#options, this.#store, this.#masterId);
    this.#listener = await listenSomewhere({
      host,
      port,
      token,
      tls,
      welcome: () => welcome,
      nowMs: monotonicMs,
      log,
      onSession: (link, intro, role) => this.#admit(link, intro, role),
    }, portFallback);
    await this.#store.setAddress(formatAddress({ host: reachableHost(host), port: this.address.port }));
    await this.#saving.saveFirst();
    for (const hint of this.#options.plugin.hints) this.#warn(hint);
    this.#timer.wakeBy(-Infinity);
    this.#driver.start();
  }

  /** Takes apart what `open` began. */
  async abandon(): Promise<void> {
    this.#driver.halt();
    await this.#close(false);
  }

  stop(): void {
    if (this.#isStopping) this.#hurry.abort();
    else {
      this.#graceEndsMs = monotonicMs() + this.#options.graceMs;
      this.#emit({ kind: "stopping" });
    }
    this.#isStopping = true;
    if (this.#outcome === null) this.#driver.apply({ kind: "stop" });
    else this.#hurryIn(this.#options.graceMs);
  }

  /** Resolves when the grace of a stop is over; never without a stop. */
  #graceOver(): Promise<void> {
    return new Promise((resolve) => {
      if (!this.#isStopping) return;
      const timer = setTimeout(resolve, Math.max(0, this.#graceEndsMs - monotonicMs()));
      void this.finished.then(() => clearTimeout(timer));
    });
  }

  /** After this time nothing is waited for any more. */
  #hurryIn(ms: number): void {
    const timer = setTimeout(() => this.#hurry.abort(), ms);
    this.#hurry.signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
    void this.finished.then(() => clearTimeout(timer));
  }

  status(): MasterStatus {
    const nowMs = monotonicMs();
    this.#status = this.#driver.ask(() => this.#run.status(nowMs), this.#status);
    return {
      ...this.#status,
      reason: this.#reason(nowMs),
      elapsedMs: nowMs - this.#startedMs,
      lateErrors: this.#late.count,
    };
  }

  /** The core's reason for the speed, or what of the user's is waited for all too long. */
  #reason(nowMs: number): string {
    const { reason, inFlight, slaves } = this.#status;
    const own = this.#waits.longest(nowMs);
    if (own !== null || this.#outcome !== null) return own ?? "draining";
    const owesSinceMs = this.#sourceOwesSinceMs ?? nowMs;
    if (reason === "source slow" && nowMs - owesSinceMs >= silentWaitMs) {
      return `${reason}: ${since(`${this.#source.name} gives nothing`, owesSinceMs, nowMs)}`;
    }
    const notice = inFlight === 0 && slaves > 0 ? this.#sessions.notice : null;
    return notice === null ? reason : `waiting for slaves: ${notice}`;
  }

  /** Looks once a second whether the source answers. */
  #lookAtSource(nowMs: number): void {
    this.#sourceOwesSinceMs = this.#source.owedSince(nowMs);
    const owesSinceMs = this.#sourceOwesSinceMs ?? nowMs;
    if (this.#hasToldOfSource || nowMs - owesSinceMs < silentWaitMs) return;
    this.#hasToldOfSource = true;
    this.#options.log("warn", since(`${this.#source.name} gives nothing`, owesSinceMs, nowMs));
  }

  standing(): Standing {
    return {
      outcome: this.#outcome,
      isSaved: this.#isSavedFinally,
      savedAgoMs: monotonicMs() - this.#savedAtMs,
    };
  }

  /** The first that ends the run counts. `fault`: what is in memory is not to be saved. */
  #end(outcome: Outcome, fault?: unknown): void {
    if (this.#outcome !== null) return;
    this.#outcome = outcome;
    this.#endedMs = monotonicMs();
    this.#saving.stopCheckpoints();
    this.#wayOut(outcome, fault).then(this.#finish, (error) => {
      this.#timer.stop();
      this.#finish(this.#toResult(outcome, fault ?? error));
    });
  }

  async #wayOut(outcome: Outcome, fault: unknown): Promise<MasterResult> {
    const sourceClosed = this.#source.close();
    const saved = this.#waits.begin("the last save of the state goes on");
    const error = fault ?? await this.#saving.saveLast(this.#hurry.signal);
    saved();
    this.#isSavedFinally = error === null;
    this.status();
    this.#driver.halt();
    const isComplete = outcome.kind === "complete" && error === null;
    await this.#close(isComplete, async () => {
      await Promise.race([sourceClosed, aborted(this.#hurry.signal), this.#graceOver()]);
      if (fault === undefined) this.#finishFault = await this.#callOnFinish(isComplete);
    });
    this.#tellLate();
    this.#emit({ kind: "ended", outcome });
    return this.#toResult(outcome, error);
  }

  /** The one way everything is closed: slaves first, the lock last. */
  async #close(isComplete: boolean, beforeUnlock?: () => Promise<void>): Promise<void> {
    this.#saving.stopCheckpoints();
    await Promise.all([this.#sessions.closeAll(isComplete, this.#hurry.signal), this.#listener?.close()]);
    await this.#saving.close();
    this.#failureLog.close();
    await beforeUnlock?.();
    this.#timer.stop();
    await this.#store.close();
  }

  /** Until the end began: what slaves take to leave is no part of the run. */
  get #elapsedMs(): number {
    return (this.#endedMs ?? monotonicMs()) - this.#startedMs;
  }

  #callOnFinish(isComplete: boolean): Promise<FinishFault | null> {
    const { plugin, args, log } = this.#options;
    // After a stop it may still take what is left of the grace, or long enough for a few writes.
    if (this.#isStopping) this.#hurryIn(Math.max(finishMsMin, this.#graceEndsMs - monotonicMs()));
    const summary = toSummary(this.#status, {
      complete: isComplete,
      lateErrors: this.#late.count,
      elapsedMs: this.#elapsedMs,
    });
    return callOnFinish(plugin, summary, { args, log, hurry: this.#hurry.signal, waits: this.#waits });
  }

  #toResult(outcome: Outcome, error: unknown): MasterResult {
    return {
      outcome,
      status: this.#status,
      late: this.#late,
      elapsedMs: this.#elapsedMs,
      savedFinally: error === null,
      finishFault: this.#finishFault,
      ...(error === null ? {} : { error: error instanceof Error ? error : new Error(String(error)) }),
      statePath: this.statePath,
      deadPath: this.#store.deadPath,
    };
  }

  #makeDriver(): Driver {
    return new Driver(this.#run, {
      carryOut: (effect) => {
        if (effect.kind === "lease") this.#saving.handedOut(effect.parts);
        carryOut(effect, this.#handlers);
      },
      onTurn: (nowMs, wakeAtMs) => {
        this.#source.pull();
        this.#timer.wakeBy(Math.min(wakeAtMs, this.#saving.tickCheckpoints(nowMs)));
      },
      onFault: (error) => this.#end({ kind: "stopped" }, error),
    });
  }

  #makeSessions(): Sessions {
    const { plugin, heartbeatMs, log, args } = this.#options;
    return new Sessions({
      plugin,
      heartbeatMs,
      argsBytes: Buffer.byteLength(JSON.stringify(args)),
      tell: (event) => this.#driver.apply(event),
      log,
      onEvent: (event) => {
        if (event.kind === "late") this.#noteLate(event);
        else this.#emit(event);
      },
    });
  }

  /** The first one is logged at once: whoever looks on may want to mend the plugin now. The end names more. */
  #noteLate({ slave, errors, count }: LateEvent): void {
    const named = errors.slice(0, lateErrorsMax - this.#late.errors.length).map((error) => ({
      ...error,
      slave,
    }));
    if (this.#late.count === 0 && named.length > 0) {
      const { seq, message } = named[0]!;
      const whose = seq === null ? "after the end of jobs" : `of job ${seq}, which had ended`;
      this.#options.log("warn", `Slave '${slave}': an error ${whose}, as of a forgotten await: ${message}`);
    }
    this.#late = { count: this.#late.count + count, errors: [...this.#late.errors, ...named] };
    const { count: untold = 0 } = this.#lateUntold ?? {};
    const told = named.map(({ seq, message }) => ({ seq, message }));
    this.#lateUntold = { kind: "late", slave, errors: told, count: untold + count };
    if (named.length > 0) this.#tellLate();
    else this.#timer.wakeBy(this.#lateToldAtMs + lateToldMs);
  }

  /** Once enough are named, the rest is a number now and then: a slave may say such things without end. */
  #tellLate(): void {
    if (this.#lateUntold === null) return;
    this.#emit(this.#lateUntold);
    this.#lateUntold = null;
    this.#lateToldAtMs = monotonicMs();
  }

  #tickLate(nowMs: number): number {
    if (this.#lateUntold === null) return Infinity;
    const dueMs = this.#lateToldAtMs + lateToldMs;
    if (nowMs < dueMs) return dueMs;
    this.#tellLate();
    return Infinity;
  }

  #makeSaving(): Persistence {
    const { checkpointMs, log } = this.#options;
    return new Persistence({
      store: this.#store,
      checkpointMs,
      capture: () => this.#driver.ask(() => this.#run.capture(), null),
      isDirty: () => this.#driver.ask(() => this.#run.isDirty(), false),
      onSaved: (version, tookMs) => {
        this.#savedAtMs = monotonicMs();
        this.#driver.apply({ kind: "saved", version });
        this.#emit({ kind: "saved", tookMs });
        return this.#sessions.size;
      },
      onBuried: (letters, seqs) => {
        this.#driver.apply({ kind: "buried", seqs });
        this.#failureLog.buried(letters, monotonicMs());
        this.#timer.wakeBy(-Infinity);
        this.#emit({ kind: "dead letters", letters });
      },
      onLost: (error) => this.#end({ kind: "stopped" }, error),
      onNoRoom: (message) => this.#driver.apply({ kind: "no room", message }),
      wakeBy: (atMs) => this.#timer.wakeBy(atMs),
      log,
    });
  }

  #makeSource(): SourceReader {
    const { plugin, args, log } = this.#options;
    const deadBuffers = new DeadBuffers();
    return new SourceReader(sourceOf(plugin.plugin), {
      args,
      log,
      demand: () => this.#driver.ask(() => this.#run.demand(), nothing),
      nextSeq: () => this.#driver.ask(() => this.#run.nextSeq, 0),
      tell: (event) => {
        if (event.kind === "yielded") deadBuffers.made(sizeOfBlock(event.block));
        this.#driver.apply(event);
      },
    });
  }

  #makeHandlers(): EffectHandlers {
    return {
      sessions: this.#sessions,
      writer: this.#saving,
      source: this.#source,
      warn: (message) => this.#warn(message),
      end: (outcome) => this.#end(outcome),
    };
  }

  #admit(link: MasterLink, intro: Introduction, role: "slave" | "control"): void {
    // WELCOME told a control connection which run this is; there is nothing more to ask yet.
    if (role === "control") void link.close("it was told which run this is");
    else this.#sessions.accept(link, intro);
  }

  /** Does all that is overdue in the whole process, and returns when to wake next. */
  #tick(nowMs: number): number {
    this.#lookAtSource(nowMs);
    return Math.min(
      this.#driver.tick(nowMs),
      this.#listener?.tick(nowMs) ?? Infinity,
      this.#sessions.tick(nowMs),
      this.#saving.tick(nowMs),
      this.#failureLog.tick(nowMs),
      this.#tickLate(nowMs),
    );
  }

  #warn(message: string): void {
    this.#options.log("warn", message);
    this.#emit({ kind: "warning", message });
  }

  #emit(event: MasterEvent): void {
    this.#options.onEvent?.(event);
  }
}

/**
 * Starts a master: locks and loads the state, listens, saves once, opens the source. Resolves when slaves can join.
 *
 * @throws {UsageError} if its arguments are too many or too long for a slave to be told.
 * @throws {StateError} if the state is locked, corrupt or of another run; `SaveError` if it cannot be written.
 * @throws {ConnectError} if it cannot listen.
 */
export async function startMaster(options: MasterOptions): Promise<Master> {
  checkArgs(options);
  const master = new RunningMaster(options, await openRunState(options));
  try {
    await master.open();
  } catch (error) {
    await master.abandon();
    throw error;
  }
  return master;
}

/** Starts a master and waits for its end. @throws as `startMaster`. */
export async function runMaster(options: MasterOptions): Promise<MasterResult> {
  return (await startMaster(options)).finished;
}
