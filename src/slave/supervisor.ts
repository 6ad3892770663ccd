import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { headline } from "../core/piece.ts";
import { clearTimeout, setImmediate, setTimeout } from "../lib/clock.ts";
import type { ConnectError } from "../lib/errors.ts";
import { awakeLateMs, LagGuard } from "../lib/lag_guard.ts";
import { jobBytesMax } from "../lib/limits.ts";
import type { Ranges } from "../lib/ranges.ts";
import { TokenBucket } from "../lib/token_bucket.ts";
import { DeadBuffers } from "../lib/runtime.ts";
import { formatDuration, formatSize } from "../lib/units.ts";
import { heartbeatOf } from "../link/dial.ts";
import { itemEnds } from "../protocol/cbor.ts";
import { againFeature, slaveRefusal, untouchedFeature } from "../protocol/handshake.ts";
import type { LeaseJobs, LeaseName, MasterMessage, Welcome } from "../protocol/messages.ts";
import { LeaseLedger } from "./ledger.ts";
import { pluginName, wholeOption } from "./plugin_readiness.ts";
import { ResultReporter } from "./result_reporter.ts";
import { workerCommand } from "./spawn_self.ts";
import { LinkWindow } from "./speed.ts";
import { Stopping } from "./stopping.ts";
import type { Slave, SlaveResult, SlaveStatus, SupervisorOptions } from "./types.ts";
import { Uplink } from "./uplink.ts";
import { type Loaded, WorkerPool } from "./worker_pool.ts";

/**
 * Words of a master beside leases (beats, `saved`, `drain`): so many at once, and as many a second as the second says, are far
 * more than a master has reason for.
 */
const masterWords = 1_000, masterWordsPerSecond = 100;

type Lease = Extract<MasterMessage, { kind: "lease" }>;

/** How often the supervisor looks at deadlines, at least. */
const tickMs = 100;
/** Longest a slave that leaves waits for `teardown` of its workers. */
const teardownMs = 10_000;
/** After a signal they have what is left of the grace, but so long at least. */
const teardownMsMin = 1_000;
/** Longest it waits for what handlers have begun and not waited for. */
const restMs = 5_000;
const graceMsDefault = 30_000;
/**
 * Bytes of jobs at which a slave asks for no more than what its workers begin at once. A master has sent twice that only if it
 * does not listen: what was on its way when it heard is far less.
 */
const heldBytesFull = 64 << 20;
/**
 * Leases keep the memory alive in which they came: one that is so much smaller is copied, once there are more leases than a
 * master makes. (To copy all costs a tenth of the rows a second.)
 */
const copyBelow = 1 / 4, uncopiedLeases = 128;
/** How often a notice is renewed. */
const noticeMs = 5_000;

/**
 * One slave: joins the ledger of what it holds, its workers and its connection.
 *
 *     STARTING -- a worker loaded the plugin --> RUNNING -- drain() --> DRAINING --> ENDED
 *        |                                        |  ^                                ^
 *        |                    the master drains --'  '- its next life                 |
 *        '--- plugin unfit (4), dismissed (0), refused or another run (5), kill() (1) -'
 *
 * It never runs plugin code and never blocks, so its beats say that the machine is up, whatever its handlers do.
 */
export class Supervisor implements Slave {
  readonly finished: Promise<SlaveResult>;
  readonly #options: SupervisorOptions;
  readonly #ledger = new LeaseLedger();
  readonly #pool: WorkerPool;
  readonly #answers: ResultReporter;
  readonly #stopping = new Stopping();
  readonly #window = new LinkWindow();
  readonly #deadBuffers = new DeadBuffers();
  #uplink: Uplink | null = null;
  #hash = new Uint8Array(0);
  #concurrency = 1;
  #procs = 0;
  /** The run this slave stays with. */
  #runId: string | null = null;
  /** The arguments its workers were set up with. */
  #args: Welcome["args"] = {};
  /** The latest life of its master that welcomed it. */
  #epoch = 0;
  /** `keep` came: the master and this slave agree on what it holds. Also true while there is no master. */
  #isKept = false;
  /** What workers may take, and the grace, are measured by it: nothing while this process stood still. */
  readonly #lagGuard = new LagGuard(awakeLateMs);
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Since the latest WELCOME: words of the master that are no leases. */
  #chatter = new TokenBucket(masterWords, masterWordsPerSecond, 0);
  #hasSaidHeartbeat = false;
  #hasSaidForgotten = false;
  /** The latest lease that came; the numbers of one master count up. */
  #lastLease: LeaseName = { masterId: "", number: 0 };
  /** When a beat is due. */
  #beatAtMs = Infinity;
  /** Why this slave ends though it drains: its plugin was edited. */
  #changed: string | null = null;
  /** What the master was told of what is waited for, and when. */
  #notice = "";
  #noticeAtMs = 0;
  /** It takes no jobs any more; its workers may be leaving. */
  #isEnded = false;
  #isOver = false;
  #saidState = "";
  #resolve: (result: SlaveResult) => void = () => {};
  readonly #onExit = () => this.#pool.kill();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.finished = new Promise((resolve) => this.#resolve = resolve);
    this.#answers = new ResultReporter({
      ledger: this.#ledger,
      canSend: () => this.#isKept && this.#uplink?.isOpen === true && !this.#uplink.isCongested,
      knowsAgain: () => this.#uplink?.welcome?.features.includes(againFeature) === true,
      credit: () => this.#credit,
      isHungry: () => this.#pool.isHungry,
      nowMs: options.nowMs,
      send: (message) => this.#uplink!.send(message),
    });
    this.#pool = this.#makePool();
    process.on("exit", this.#onExit);
    this.#lagGuard.look(options.nowMs());
    this.#setTimer();
    this.#pool.start().catch((error) => void this.#end(1, `Cannot start workers: ${error.message}`));
  }

  drain(): void {
    if (this.#isEnded || this.#stopping.why === "signal") return;
    this.#uplink?.send({ kind: "leaving" });
    this.#beginStop("signal");
    this.#tick();
  }

  kill(): void {
    this.#pool.kill();
    if (!this.#isEnded) void this.#end(1, "Killed");
  }

  status(): SlaveStatus {
    const { host, port } = this.#options;
    return {
      state: this.#state,
      master: `${host.includes(":") ? `[${host}]` : host}:${port}`,
      ...this.#pool.counts,
      running: this.#ledger.running,
      queued: this.#ledger.queued,
      workers: this.#pool.readyCount,
      procs: this.#procs,
      waitsFor: this.#pool.waitsFor,
    };
  }

  get #state(): SlaveStatus["state"] {
    if (this.#isEnded) return "ended";
    if (this.#stopping.why !== null) return "draining";
    return this.#uplink?.state ?? "starting";
  }

  get #credit(): number {
    const { credit } = this.#pool;
    if (this.#stopping.why !== null || credit === 0) return 0;
    const least = this.#procs * this.#concurrency;
    const most = this.#ledger.bytes >= heldBytesFull ? least : this.#window.jobsMax(least);
    return Math.min(credit, most) + (this.#options.extraCredit ?? 0);
  }

  /** Bytes of jobs that no master has reason to go beyond: its workers may begin the longest ones at once. */
  get #heldBytesMax(): number {
    return 2 * heldBytesFull + this.#procs * this.#concurrency * jobBytesMax;
  }

  get #awakeMs(): number {
    return this.#lagGuard.time(this.#options.nowMs());
  }

  get #graceMs(): number {
    return this.#options.graceMs ?? this.#uplink?.welcome?.graceMs ?? graceMsDefault;
  }

  #makePool(): WorkerPool {
    const { command, env, workerLog, pluginPath, exportName, log } = this.#options;
    return new WorkerPool(this.#ledger, this.#answers, {
      launch: { command: command ?? workerCommand(), env: env ?? {}, log: workerLog ?? null },
      load: { kind: "load", plugin: resolve(pluginPath), exportName: exportName ?? "" },
      onLoaded: (loaded, runtime) => this.#onLoaded(loaded, runtime),
      onExcused: (jobs) => this.#onExcused(jobs),
      quitMs: () => ({ limitMs: this.#teardownMs, waitMs: Math.min(restMs, this.#graceMs) }),
      onProgress: () => this.#onProgress(),
      onUnfit: (sentence) => void this.#end(4, sentence),
      onChanged: (sentence) => this.#onChanged(sentence),
      mayFeed: () => this.#stopping.why === null && (this.#isKept || !this.#uplink?.isOpen),
      nowMs: () => this.#awakeMs,
      log,
    });
  }

  /** The plugin is fit: the other workers may start, and a master be asked for jobs. */
  #onLoaded(loaded: Loaded, runtime: string): void {
    const { dial, random, nowMs, log, concurrency, procs, checkOptions } = this.#options;
    try {
      checkOptions?.(loaded.options);
    } catch (error) {
      return void this.#end(4, error instanceof Error ? error.message : String(error));
    }
    this.#hash = new Uint8Array(loaded.hash);
    this.#concurrency = concurrency ?? wholeOption(loaded.options.concurrency) ?? 1;
    this.#procs = procs ?? wholeOption(loaded.options.procs) ?? availableParallelism();
    const plugin = pluginName(this.#options, this.#hash);
    this.#uplink = new Uplink({
      dial: (signal) => dial(plugin, this.#procs, runtime, signal),
      onWelcome: (welcome) => this.#onWelcome(welcome),
      onMessage: (message) => this.#onMessage(message),
      onDrain: () => this.#answers.flush(),
      onRefused: (error: ConnectError) => void this.#end(5, error.message),
      random,
      nowMs,
      log,
    });
    this.#uplink.start();
    this.#pool.want(this.#procs);
    this.#tellState();
  }

  #onWelcome(welcome: Welcome): void {
    this.#isKept = false;
    if (this.#runId !== null && this.#runId !== welcome.runId) {
      const there = `the master at ${this.status().master} now runs another one, "${welcome.key}"`;
      return void this.#end(
        5,
        `This slave belongs to an earlier run, and ${there}: start it again to join that`,
      );
    }
    if (welcome.epoch < this.#epoch) {
      const level = this.#uplink!.isFlapping ? "debug" : "warn";
      this.#options.log(level, `An earlier master of "${welcome.key}" answers still: it is left alone`);
      return void this.#uplink!.leave("a later master of this run welcomed this slave");
    }
    if (this.#runId !== null && !isDeepStrictEqual(welcome.args, this.#args)) {
      return void this.#end(
        5,
        `The master of "${welcome.key}" was started with other arguments than before, and this slave's workers were set up ` +
          "with the earlier ones: start it again to work with these",
      );
    }
    const refusal = this.#refusalOf(welcome);
    if (refusal !== null) return void this.#end(5, refusal);
    this.#checkHeartbeat(welcome);
    this.#chatter = new TokenBucket(masterWords, masterWordsPerSecond, this.#options.nowMs());
    this.#runId = welcome.runId;
    this.#args = welcome.args;
    this.#epoch = welcome.epoch;
    this.#pool.abort(this.#ledger.welcome(welcome.runId));
    if (this.#stopping.why === "master") {
      this.#stopping.end();
      this.#pool.want(this.#procs);
    }
    const { args, runId, timeoutMs } = welcome;
    this.#pool.setUp({ kind: "setup", args, runId, concurrency: this.#concurrency, timeoutMs });
    this.#notice = "";
    const held = this.#ledger.held();
    this.#uplink!.send({
      kind: "ready",
      credit: this.#answers.readyCredit(),
      held,
      ...this.#untouched(welcome, held),
    });
    if (this.#stopping.why === "signal") this.#uplink!.send({ kind: "leaving" });
    this.#tick();
    this.#setTimer();
  }

  /** One that nobody can mean is not kept, and that is said once. */
  #checkHeartbeat(welcome: Welcome): void {
    const heartbeatMs = heartbeatOf(welcome);
    if (heartbeatMs === welcome.heartbeatMs || this.#hasSaidHeartbeat) return;
    this.#hasSaidHeartbeat = true;
    this.#options.log(
      "warn",
      `The master of "${welcome.key}" asks for a beat each ${
        formatDuration(welcome.heartbeatMs)
      }, which no master should: ` +
        `this slave keeps to ${formatDuration(heartbeatMs)}`,
    );
  }

  /** Why this slave must not work for that master; null if it may. */
  #refusalOf({ key, plugin }: Welcome): string | null {
    const { log, anyPlugin = false } = this.#options;
    const mine = pluginName(this.#options, this.#hash);
    const refusal = slaveRefusal(plugin, mine, this.status().master, anyPlugin);
    if (refusal === null) {
      const what = plugin.name === mine.name
        ? `, running ${mine.name}`
        : `: the master runs ${plugin.name}, this slave ${mine.name}`;
      log(this.#uplink!.isFlapping ? "debug" : "info", `Joined "${key}"${what}`);
    }
    return refusal;
  }

  /** What runs is of the code that the master was told of, and may end; no other code takes its place. */
  #onChanged(sentence: string): void {
    if (this.#changed !== null) return;
    this.#changed = sentence;
    this.#options.log(
      "error",
      "The plugin was edited: this slave takes nothing new, finishes what runs, and ends",
    );
    this.drain();
  }

  /** What did not begin of the jobs that an earlier master leased, for a master that wants to know. */
  #untouched(
    { features, masterId }: Welcome,
    held: readonly LeaseJobs[],
  ): { untouched?: readonly LeaseJobs[] } {
    if (!features.includes(untouchedFeature)) return {};
    const untouched = this.#ledger.untouched(masterId, this.#pool.running(), held);
    return untouched.length === 0 ? {} : { untouched };
  }

  #onMessage(message: MasterMessage): void {
    if (this.#isEnded) return;
    if (message.kind !== "lease" && !this.#chatter.take(this.#options.nowMs())) {
      return this.#offended("said more beside leases than there can be to say");
    }
    switch (message.kind) {
      case "keep":
        if (this.#isKept) return this.#offended('said "keep" twice');
        this.#isKept = true;
        this.#pool.abort(this.#ledger.applyKeep(message.leases));
        if (this.#stopping.why !== null) this.#pool.withdraw();
        this.#answers.flush();
        // workers may have become ready since `ready` was sent
        this.#answers.sayCredit();
        return this.#pool.feed();
      case "lease":
        return this.#onLease(message);
      case "saved":
        return this.#ledger.covered(message.through);
      case "drain":
        if (this.#stopping.why !== null) return;
        this.#beginStop("master");
        return this.#tick();
      case "dismiss":
        return void this.#end(0, "The run is complete");
      case "bye":
      case "beat":
        return;
      default:
        return message satisfies never;
    }
  }

  /** In a session that is not kept yet, the failures themselves are still to be said. */
  #onExcused(jobs: Ranges): void {
    if (!this.#isKept) return;
    this.#answers.flush();
    this.#uplink?.send({ kind: "excused", jobs });
  }

  #onLease({ number, seq, count, attempt, alone, probe, jobs: bytes }: Lease): void {
    this.#deadBuffers.made(bytes.length);
    const isToCopy = this.#ledger.openLeases > uncopiedLeases &&
      bytes.length < bytes.buffer.byteLength * copyBelow;
    const jobs = isToCopy ? bytes.slice() : bytes;
    const broken = this.#brokenRule({ number, seq, count, bytes: jobs.length });
    if (broken !== null) return this.#offended(broken);
    let ends: Uint32Array;
    try {
      ends = itemEnds(jobs, count);
    } catch (error) {
      return this.#offended(
        `sent a lease that cannot be read. ${error instanceof Error ? error.message : error}`,
      );
    }
    const { masterId } = this.#uplink!.welcome!;
    this.#lastLease = { masterId, number };
    this.#window.arrived(count, jobs.length, this.#options.nowMs());
    const name = { masterId, number };
    this.#ledger.receive({ name, seq, count, attempt, alone, probe, jobs, ends });
    if (this.#ledger.bytes >= heldBytesFull) this.#answers.sayCredit();
    if (this.#stopping.why === null) return this.#pool.feed();
    this.#pool.withdraw();
  }

  /** What a lease does that no master may do; null if all is well. */
  #brokenRule(
    { number, seq, count, bytes }: Readonly<{ number: number; seq: number; count: number; bytes: number }>,
  ): string | null {
    const { masterId } = this.#uplink!.welcome!;
    const last = this.#lastLease.masterId === masterId ? this.#lastLease.number : 0;
    if (!this.#isKept) return `sent lease ${number} before "keep"`;
    if (number <= last) {
      return `sent lease ${number} behind lease ${last}: their numbers count up, none is used again`;
    }
    if (seq + count > Number.MAX_SAFE_INTEGER) {
      return `sent a lease of jobs from ${seq} on: no number is beyond that`;
    }
    // A credit that was lowered meanwhile may not have arrived yet, so the most of this session counts.
    // What was not said yet is held, to a master: one that reads nothing must not have it pile up here.
    const { mostCredit } = this.#answers, held = this.#ledger.jobs + this.#ledger.unsaid;
    if (held + count > mostCredit) {
      return `leased ${count} jobs to a slave that holds ${held} and said that it takes ${mostCredit} at most`;
    }
    if (this.#ledger.bytes + bytes <= this.#heldBytesMax) return null;
    return `leased ${formatSize(bytes)} of jobs to a slave that holds ${
      formatSize(this.#ledger.bytes)
    } and asked for no more`;
  }

  /** The master broke a rule: ends the connection, and says which, on both sides. */
  #offended(what: string): void {
    this.#options.log(this.#uplink!.isFlapping ? "debug" : "warn", `The master ${what}`);
    void this.#uplink!.leave(`it ${what}`, `this master ${what}`);
  }

  /** A slave that stops looks at once whether that was all: it need not wait for the timer. */
  #onProgress(): void {
    if (this.#stopping.why !== null) setImmediate(() => this.#tick());
  }

  #beginStop(why: "signal" | "master"): void {
    this.#stopping.begin(why, this.#graceMs, this.#awakeMs);
    this.#pool.withdraw();
  }

  /** Ticks from now on. A master may want beats more often than deadlines are looked at. */
  #setTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#isOver) return;
    const waitMs = Math.max(1, Math.min(tickMs, Math.ceil(this.#beatAtMs - this.#options.nowMs())));
    this.#timer = setTimeout(() => {
      this.#tick();
      this.#setTimer();
    }, waitMs);
  }

  #tick(): void {
    const nowMs = this.#options.nowMs();
    const awakeNowMs = this.#lagGuard.look(nowMs);
    this.#beatAtMs = this.#uplink?.tick(nowMs) ?? Infinity;
    if (this.#isEnded) return;
    this.#pool.tick(awakeNowMs);
    this.#answers.sayCredit();
    this.#giveNotice(nowMs);
    this.#stop(awakeNowMs);
    this.#tellForgotten();
    this.#tellState();
  }

  #tellForgotten(): void {
    if (this.#hasSaidForgotten || !this.#ledger.hasForgotten) return;
    this.#hasSaidForgotten = true;
    this.#options.log(
      "warn",
      "The master has saved nothing for so long that this slave no longer keeps how its oldest jobs ended: should the master die " +
        "before it saves, those run again. Look at the disk with its state",
    );
  }

  /** Tells the master what is waited for, when that begins and ends, and every few seconds. */
  #giveNotice(nowMs: number): void {
    const text = this.#pool.waitsFor ?? "";
    if (text === this.#notice || !this.#isKept || !this.#uplink?.isOpen) return;
    if (text !== "" && this.#notice !== "" && nowMs < this.#noticeAtMs + noticeMs) return;
    this.#notice = text;
    this.#noticeAtMs = nowMs;
    this.#uplink.send({ kind: "notice", text });
  }

  /** Does what is due of a stop. */
  #stop(awakeNowMs: number): void {
    const isSaid = this.#ledger.isIdle && this.#answers.isAllSent;
    switch (this.#stopping.tick(awakeNowMs, { isIdle: this.#pool.isIdle, isSaid })) {
      case "abort":
        return this.#pool.abortAll();
      case "kill":
        return this.#pool.killBusy();
      case "leave":
        return this.#leave();
    }
  }

  /** Every job was handed back or has ended. */
  #leave(): void {
    this.#answers.flush();
    if (this.#stopping.why === "master") void this.#uplink?.rest();
    else if (this.#changed === null) void this.#end(0, "Drained");
    else void this.#end(5, this.#changed);
  }

  /**
   * The one way out. In order, workers come first: what goes wrong in them until they have ended is for the master to
   * know, which waits for this connection to end.
   */
  async #end(exitCode: SlaveResult["exitCode"], reason: string): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#answers.stop();
    if (exitCode === 0 || this.#changed !== null) {
      this.#uplink?.dialNoMore();
      const graceLeftMs = this.#stopping.graceLeftMs(this.#awakeMs) ?? this.#graceMs;
      await this.#pool.quit(this.#teardownMs, Math.min(restMs, graceLeftMs));
      this.#answers.sayLate();
      await this.#uplink?.close(headline(reason));
    } else {
      void this.#uplink?.close(headline(reason));
      this.#pool.kill();
      await this.#pool.quit(0, 0);
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#isOver = true;
    process.off("exit", this.#onExit);
    this.#tellState();
    this.#resolve({ exitCode, reason });
  }

  get #teardownMs(): number {
    if (this.#stopping.why !== "signal") return teardownMs;
    const leftMs = this.#stopping.graceLeftMs(this.#awakeMs)!;
    return Math.max(teardownMsMin, Math.min(teardownMs, leftMs));
  }

  #tellState(): void {
    const state = this.#state;
    if (state === this.#saidState) return;
    this.#saidState = state;
    this.#options.onState?.(this.status());
  }
}
