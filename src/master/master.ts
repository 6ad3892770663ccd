import { Run } from "../core/run.ts";
import type { FailedAttempt, Outcome, RunStatus } from "../core/types.ts";
import { formatFingerprint, sizeOfBlock } from "../lib/bytes.ts";
import { clearTimeout, monotonicMs, setTimeout } from "../lib/clock.ts";
import { invariant, UsageError } from "../lib/errors.ts";
import { idCharsMax, welcomeBytesMax } from "../lib/limits.ts";
import { silentWaitMs, since, Waits } from "../lib/log.ts";
import { DeadBuffers } from "../lib/runtime.ts";
import { printable } from "../lib/text.ts";
import { type Address, formatAddress } from "../lib/units.ts";
import type { Listener } from "../link/listen.ts";
import { readCertificate } from "../link/tls.ts";
import { ControlServer } from "../control/server.ts";
import { argValues, refuseArgs } from "../plugin/args.ts";
import { pluginLog } from "../plugin/describe_error.ts";
import { sourceOf } from "../plugin/kinds.ts";
import { SourceReader } from "../plugin/source.ts";
import type { MasterStatus, Resumed, RunReason, Snapshot } from "../observe/events.ts";
import { Hub } from "../observe/hub.ts";
import { noticeInWords, sourceSilence } from "../observe/phrases.ts";
import { encode } from "../protocol/cbor.ts";
import { headerBytes, macBytes } from "../protocol/handshake.ts";
import type { StateStore } from "../state/store.ts";
import { carryOut, Driver, type EffectHandlers, Timer } from "./driver.ts";
import { aborted, callOnFinish, toSummary } from "./finish.ts";
import { Persistence } from "./persistence.ts";
import { Sessions } from "./sessions.ts";
import { Throttle } from "./throttle.ts";
import {
  listenSomewhere,
  newId,
  openRunState,
  reachableHost,
  toResumed,
  toSettings,
  toWelcome,
} from "./setup.ts";
import type { FinishFault, Master, MasterOptions, MasterResult, Standing } from "./types.ts";
export type { Master, MasterOptions, MasterResult } from "./types.ts";

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
  refuseArgs(options.plugin, options.args);
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
/** The demand of a core that is asked no more. */
const nothing = { jobs: 0, bytes: 0 };

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
  readonly #control: ControlServer;
  /** Null if the plugin has none. */
  #throttle: Throttle | null = null;
  readonly #saving: Persistence;
  readonly #source: SourceReader;
  readonly #handlers: EffectHandlers;
  /** Aborted by the second stop: nothing is waited for any more. */
  readonly #hurry = new AbortController();
  readonly #hub: Hub;
  readonly #waits = new Waits((sentence) => this.#hub.warn(sentence));
  /** Slaves that are to join soon. */
  readonly #expected = new Waits((sentence) => this.#hub.warn(sentence));
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
  /** Nothing is open any more. */
  #isOver = false;
  /** The latest one that could be had: after a fault the core is not asked again. */
  #status: RunStatus;
  #endedMs: number | undefined;
  #finish!: (result: MasterResult) => void;

  constructor(options: MasterOptions, hub: Hub, store: StateStore) {
    this.#options = options;
    this.#hub = hub;
    this.#store = store;
    this.runId = store.runId;
    this.statePath = store.path;
    this.resumed = toResumed(store.loaded);
    this.finished = new Promise((resolve) => this.#finish = resolve);
    const onFailed = options.logsAttempts === true
      ? (failed: FailedAttempt) => hub.emit({ kind: "attempt failed", failed })
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
    this.#control = this.#makeControl();
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
    const { host, port, token, tls, portFallback } = this.#options;
    const welcome = toWelcome(this.#options, this.#store, this.#masterId);
    this.#listener = await listenSomewhere({
      host,
      port,
      token,
      tls,
      welcome: () => welcome,
      nowMs: monotonicMs,
      log: this.#hub.log,
      onSession: (link, intro) => this.#sessions.accept(link, intro),
      onControl: (link, intro) => this.#control.accept(link, intro),
    }, portFallback);
    const reachable = formatAddress({ host: reachableHost(host), port: this.address.port });
    await this.#store.setAddress(reachable, this.fingerprint);
    this.#watch();
    await this.#saving.saveFirst();
    this.#opened();
    this.#throttle = this.#makeThrottle();
    this.#timer.wakeBy(-Infinity);
    this.#driver.start();
  }

  #watch(): void {
    const { key, plugin, version, jobsMax } = this.#options;
    this.#hub.watch({
      status: (nowMs) => this.#askStatus(nowMs),
      sessions: (nowMs) => this.#driver.ask(() => this.#run.sessions(nowMs), []),
      reason: (status, nowMs) => this.#reason(status, nowMs),
      waitsFor: (session) => this.#sessions.get(session)?.notice ?? "",
      about: { key, runId: this.runId, plugin: plugin.name, version, address: this.address, jobsMax },
    });
  }

  #opened(): void {
    const { runId, resumed, statePath, address, fingerprint } = this;
    const { key, plugin } = this.#options;
    this.#hub.opened({ kind: "started", key, runId, resumed, statePath, address, fingerprint });
    for (const hint of plugin.hints) this.#hub.warn(hint);
    if (this.#store.loaded?.settings.get("paused") === true) {
      this.#hub.warn(
        `The run is paused, as an operator set it: \`taskmaster ctl "${statePath}" resume\` goes on.`,
      );
    }
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
      this.#throttle?.close();
      this.#hub.emit({ kind: "stopping" });
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
    return this.#hub.status();
  }

  snapshot(): Snapshot {
    return this.#hub.snapshot();
  }

  expectSlave(what: string, hint: string): () => void {
    return this.#expected.begin(what, hint);
  }

  #askStatus(nowMs: number): RunStatus {
    return this.#status = this.#driver.ask(() => this.#run.status(nowMs), this.#status);
  }

  /** The core's reason for the speed, or what of the user's is waited for all too long. */
  #reason({ reason, inFlight, slaves }: RunStatus, nowMs: number): RunReason {
    const own = this.#waits.longest(nowMs);
    if (own !== null) return { code: "waiting_for_user", ...own };
    if (this.#outcome !== null) {
      return this.#isOver ? { code: "ended", outcome: this.#outcome.kind } : { code: "draining" };
    }
    const forMs = nowMs - (this.#sourceOwesSinceMs ?? nowMs);
    if (reason.code === "source_slow" && forMs >= silentWaitMs) {
      return { code: "source_silent", source: this.#source.name, forMs };
    }
    const missing = reason.code === "waiting_for_slaves" ? this.#expected.longest(nowMs) : null;
    if (missing !== null) return { code: "waiting_for_slaves", what: since(missing.what, 0, missing.forMs) };
    const notice = inFlight === 0 && slaves > 0 ? this.#sessions.notice : null;
    return notice === null ? reason : { code: "waiting_for_slaves", what: notice };
  }

  /** Looks once a second whether the source answers. */
  #lookAtSource(nowMs: number): void {
    this.#sourceOwesSinceMs = this.#source.owedSince(nowMs);
    const owesSinceMs = this.#sourceOwesSinceMs ?? nowMs;
    if (this.#hasToldOfSource || nowMs - owesSinceMs < silentWaitMs) return;
    this.#hasToldOfSource = true;
    this.#hub.warn(sourceSilence(this.#source.name, nowMs - owesSinceMs));
  }

  standing(): Standing {
    return {
      outcome: this.#outcome,
      isSaved: this.#isSavedFinally,
      savedAgoMs: this.#hub.savedAgoMs,
    };
  }

  /** The first that ends the run counts. `fault`: what is in memory is not to be saved. */
  #end(outcome: Outcome, fault?: unknown): void {
    if (this.#outcome !== null) return;
    this.#outcome = outcome;
    this.#endedMs = monotonicMs();
    this.#throttle?.close();
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
    this.#askStatus(monotonicMs());
    this.#driver.halt();
    const isComplete = outcome.kind === "complete" && error === null;
    await this.#close(isComplete, async () => {
      await Promise.race([sourceClosed, aborted(this.#hurry.signal), this.#graceOver()]);
      if (fault === undefined) this.#finishFault = await this.#callOnFinish(isComplete);
    });
    this.#hub.ended(outcome);
    return this.#toResult(outcome, error);
  }

  /** The one way everything is closed: slaves first, the lock last. */
  async #close(isComplete: boolean, beforeUnlock?: () => Promise<void>): Promise<void> {
    this.#saving.stopCheckpoints();
    await Promise.all([
      this.#sessions.closeAll(isComplete, this.#hurry.signal),
      this.#control.close(),
      this.#listener?.close(),
    ]);
    await this.#saving.close();
    this.#hub.close();
    await beforeUnlock?.();
    this.#timer.stop();
    await this.#store.close();
  }

  /** Until the end began: what slaves take to leave is no part of the run. */
  get #elapsedMs(): number {
    return (this.#endedMs ?? monotonicMs()) - this.#startedMs;
  }

  #callOnFinish(isComplete: boolean): Promise<FinishFault | null> {
    const { plugin, args } = this.#options;
    // After a stop it may still take what is left of the grace, or long enough for a few writes.
    if (this.#isStopping) this.#hurryIn(Math.max(finishMsMin, this.#graceEndsMs - monotonicMs()));
    const summary = toSummary(this.#status, {
      complete: isComplete,
      lateErrors: this.#hub.late.count,
      elapsedMs: this.#elapsedMs,
    });
    const { log, pluginLog } = this.#hub;
    const parts = {
      args: argValues(plugin.plugin, args),
      log,
      pluginLog,
      hurry: this.#hurry.signal,
      waits: this.#waits,
    };
    return callOnFinish(plugin, summary, parts);
  }

  #toResult(outcome: Outcome, error: unknown): MasterResult {
    this.#isOver = true;
    return {
      outcome,
      status: this.#hub.status(),
      late: this.#hub.late,
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
        if (effect.kind === "lease") this.#store.handedOut(effect.parts);
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
    const { plugin, heartbeatMs, args } = this.#options;
    return new Sessions({
      plugin,
      heartbeatMs,
      argsBytes: Buffer.byteLength(JSON.stringify(args)),
      tell: (event) => this.#driver.apply(event),
      hub: this.#hub,
    });
  }

  #makeControl(): ControlServer {
    return new ControlServer({
      master: {
        snapshot: () => this.snapshot(),
        pause: (isPaused) => this.#driver.apply({ kind: "set", name: "paused", value: isPaused }),
        checkpoint: () => this.#saving.saveNow(),
      },
      hub: this.#hub,
      heartbeatMs: this.#options.heartbeatMs,
      isInsecure: this.#options.token === null,
    });
  }

  #makeSaving(): Persistence {
    const { checkpointMs } = this.#options;
    return new Persistence({
      store: this.#store,
      checkpointMs,
      capture: () => this.#driver.ask(() => this.#run.capture(), null),
      isDirty: () => this.#driver.ask(() => this.#run.isDirty(), false),
      onSaved: (version, tookMs) => {
        this.#driver.apply({ kind: "saved", version });
        this.#hub.emit({ kind: "saved", tookMs });
        return this.#sessions.size;
      },
      onBuried: (letters, seqs) => {
        this.#driver.apply({ kind: "buried", seqs });
        this.#timer.wakeBy(-Infinity);
        this.#hub.emit({ kind: "dead letters", letters });
      },
      onLost: (error) => this.#end({ kind: "stopped" }, error),
      onNoRoom: (message) => this.#driver.apply({ kind: "no room", message }),
      wakeBy: (atMs) => this.#timer.wakeBy(atMs),
      log: this.#hub.log,
    });
  }

  #makeThrottle(): Throttle | null {
    const { plugin: { plugin }, args } = this.#options;
    if (plugin.throttle === undefined) return null;
    return new Throttle({
      throttle: (context) => plugin.throttle!(context),
      context: { args: argValues(plugin, args), log: pluginLog(this.#hub.pluginLog) },
      tell: (reason) => {
        this.#hub.log("debug", reason === null ? "throttle() lets the fleet go on" : `Held: ${reason}`);
        this.#driver.apply({ kind: "throttled", reason });
      },
      wakeBy: (atMs) => this.#timer.wakeBy(atMs),
      nowMs: monotonicMs,
    });
  }

  #makeSource(): SourceReader {
    const { plugin, args } = this.#options;
    const deadBuffers = new DeadBuffers();
    return new SourceReader(sourceOf(plugin.plugin), {
      args: argValues(plugin.plugin, args),
      log: this.#hub.pluginLog,
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
      notice: (notice) => this.#hub.warn(noticeInWords(notice)),
      end: (outcome) => this.#end(outcome),
    };
  }

  /** Does all that is overdue in the whole process, and returns when to wake next. */
  #tick(nowMs: number): number {
    this.#lookAtSource(nowMs);
    return Math.min(
      this.#driver.tick(nowMs),
      this.#listener?.tick(nowMs) ?? Infinity,
      this.#sessions.tick(nowMs),
      this.#control.tick(nowMs),
      this.#throttle?.tick(nowMs) ?? Infinity,
      this.#saving.tick(nowMs),
      this.#hub.tick(nowMs),
    );
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
  const hub = new Hub(options.log, options.onEvent);
  const master = new RunningMaster(options, hub, await openRunState(options, hub.log));
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
