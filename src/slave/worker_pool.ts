import { Health } from "../core/health.ts";
import { elapsed, setImmediate } from "../lib/clock.ts";
import { invariant } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import { countOf, intersect, numbersOf, type Ranges, rangesOf, unite } from "../lib/ranges.ts";
import { printable } from "../lib/text.ts";
import { backoffMs } from "../lib/units.ts";
import type { StartNote } from "../lib/worker_start.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/messages.ts";
import type { Abort, LeaseLedger } from "./ledger.ts";
import { PluginReadiness } from "./plugin_readiness.ts";
import { charsOf, type ResultReporter } from "./result_reporter.ts";
import { SliceScheduler } from "./slice_scheduler.ts";
import { TimeoutMonitor } from "./timeout_monitor.ts";
import {
  type Death,
  endedOf,
  type Launch,
  suspectsOf,
  UnexplainedDeaths,
  type Verdict,
  type WorkerHandle,
} from "./worker_handle.ts";
import { WorkerSpawner } from "./worker_spawner.ts";

/** Far too many jobs for so long are handed back; most slow jobs among quick ones are over by then. */
const overfullMs = 250;
/** Probes in a row that a worker may fail before it is replaced: what `setup` opened may be broken. */
const failedProbesMax = 3;
/** While nothing succeeds, workers are replaced less and less often. */
const replaceMsMin = 1_000;
const replaceMsMax = 60_000;
/** A worker that has jobs and runs none of them for so long will never do. */
const idleMs = 10_000;
const idleReason =
  "it was given jobs, and has begun none for 10 s, as if a handler had changed built-in objects";
/** Failed jobs whose worker is remembered. */
const failedJobsMax = 1_000;

export type Loaded = Extract<WorkerMessage, { kind: "loaded" }>;
type WorkerAnswer = Extract<WorkerMessage, { kind: "answer" }>;
type Setup = Extract<SupervisorMessage, { kind: "setup" }>;

type WorkerPoolHooks = Readonly<{
  launch: Launch;
  load: Omit<Extract<SupervisorMessage, { kind: "load" }>, "hash">;
  /** The first worker loaded the plugin, and runs in this runtime. */
  onLoaded: (loaded: Loaded, runtime: string) => void;
  /** The latest failures of these jobs were their worker's doing. */
  onExcused: (jobs: Ranges) => void;
  /** How long a worker may take to tear down, and then to end. */
  quitMs: () => Readonly<{ limitMs: number; waitMs: number }>;
  /** Jobs ended or came back. */
  onProgress: () => void;
  /** The plugin cannot run; the sentence says why. */
  onUnfit: (sentence: string) => void;
  /** The plugin was edited since the first worker loaded it; the sentence says so. */
  onChanged: (sentence: string) => void;
  /** Whether jobs may be begun. */
  mayFeed: () => boolean;
  /** A clock that stands still while this process does, so that workers are not judged by what they could not do. */
  nowMs: () => number;
  log: Log;
}>;

/** The workers of a slave and what they do: fed, watched, and their deaths explained. */
export class WorkerPool {
  readonly #hooks: WorkerPoolHooks;
  readonly #ledger: LeaseLedger;
  readonly #answers: ResultReporter;
  readonly #scheduler: SliceScheduler;
  readonly #monitor = new TimeoutMonitor();
  readonly #gate: PluginReadiness;
  readonly #unexplained = new UnexplainedDeaths();
  readonly #health = new Health();
  /** The worker at which a job failed last, the latest of them. */
  readonly #failedAt = new Map<number, number>();
  /** No worker is replaced for failed probes before. */
  #replaceAtMs = 0;
  /** Workers replaced for that since something succeeded. */
  #replaced = 0;
  readonly counts = { done: 0, skipped: 0, failed: 0, crashes: 0 };
  /** What a worker has been in for too long that is no job, in words. */
  waitsFor: string | null = null;
  #spawner: WorkerSpawner | null = null;
  /** Of the plugin's code, as the first worker loaded it; empty until then. */
  #hash = new Uint8Array(0);
  /** What `setup` tells each worker; null until there is a master. */
  #setup: Setup | null = null;
  /** When the slave last held no more than it should. */
  #overfullAtMs = 0;
  #isOver = false;

  constructor(ledger: LeaseLedger, answers: ResultReporter, hooks: WorkerPoolHooks) {
    this.#ledger = ledger;
    this.#answers = answers;
    this.#hooks = hooks;
    this.#scheduler = new SliceScheduler(ledger, this.#failedAt);
    this.#gate = new PluginReadiness(hooks.nowMs());
  }

  /** Starts the first worker. @throws {Error} if there is no way for workers to connect. */
  async start(): Promise<void> {
    const { launch, nowMs, log } = this.#hooks;
    this.#spawner = await WorkerSpawner.open({
      launch,
      onMessage: (handle, message) => this.#onMessage(handle, message),
      onDied: (handle, death) => this.#onDied(handle, death),
      onCutShort: (handle, reason) => this.#onCutShort(handle, reason),
      nowMs,
      log,
    });
    if (this.#isOver) this.#spawner.kill();
    else this.#spawner.want(1);
  }

  get handles(): readonly WorkerHandle[] {
    return this.#spawner?.handles ?? [];
  }

  get readyCount(): number {
    return this.handles.filter((handle) => handle.state === "ready").length;
  }

  /** Nothing runs in any worker, not even what no longer counts. */
  get isIdle(): boolean {
    return this.handles.every((handle) => handle.held === 0);
  }

  /** How many jobs the slave may hold in all. */
  get credit(): number {
    return this.#scheduler.credit(this.handles, this.#hooks.nowMs());
  }

  /** Whether a worker has nothing to do. */
  get isHungry(): boolean {
    return this.handles.some((handle) => handle.held === 0 && handle.takesJobs);
  }

  /** Jobs that run in workers, as far as their notes say. */
  running(): Ranges {
    return this.handles.filter(({ held }) => held > 0)
      .map(({ process, concurrency }) => suspectsOf(process.readNote(), concurrency))
      .reduce<Ranges>(unite, []);
  }

  want(procs: number): void {
    this.#spawner?.want(procs);
  }

  /** There is a master: workers may be prepared; those that are hear of another timeout. */
  setUp(setup: Setup): void {
    this.#setup = setup;
    for (const handle of this.handles) handle.setUp(setup, this.#hooks.nowMs());
  }

  feed(): void {
    if (this.#hooks.mayFeed()) this.#scheduler.feed(this.handles, this.#hooks.nowMs());
  }

  /** Every 0.1 s. */
  tick(nowMs: number): void {
    const sentence = this.#gate.late(nowMs);
    if (sentence !== null) return this.#hooks.onUnfit(sentence);
    this.waitsFor = this.#gate.watch(this.handles, nowMs, this.#hooks.log);
    this.#spawner?.tick();
    for (const handle of this.handles) this.#judge(handle, nowMs);
    this.#retireSick();
    this.#scheduler.rescue(this.handles, nowMs);
    this.feed();
    if (!this.#scheduler.isOverfull(this.handles, nowMs)) this.#overfullAtMs = nowMs;
    if (nowMs - this.#overfullAtMs < overfullMs) return;
    this.#overfullAtMs = nowMs;
    // A master that goes by an earlier, larger credit did nothing wrong. Jobs kept from an earlier session stay, however many.
    if (this.#ledger.jobs <= this.#answers.mostCredit) this.withdraw();
  }

  /** Hands back what has not begun, here and in workers. */
  withdraw(): void {
    this.#ledger.releaseUntried();
    for (const handle of this.handles) handle.withdraw();
    this.#answers.flush();
  }

  /** Fires the signals of jobs whose lease is lost. */
  abort(aborts: readonly Abort[]): void {
    for (const { worker, jobs } of aborts) {
      this.handles.find((handle) => handle.id === worker)?.process.send({ kind: "abort", jobs, why: "lost" });
    }
  }

  /** Fires the signals of all that runs. */
  abortAll(): void {
    for (const handle of this.handles) {
      if (handle.held > 0) handle.process.send({ kind: "abort", jobs: allJobs, why: "stop" });
    }
  }

  /** Ends workers that run something, by force: their jobs are handed back, nobody is charged. None is replaced. */
  killBusy(): void {
    this.#spawner?.want(0);
    for (const handle of this.handles) {
      if (handle.held === 0 || handle.verdict !== null) continue;
      handle.condemn({ timedOut: [], suspects: [], reason: stoppedReason });
    }
  }

  /** Lets workers tear down, by force after `limitMs`, and end what they have begun, for at most `waitMs` more. */
  async quit(limitMs: number, waitMs: number): Promise<void> {
    this.#isOver = true;
    await this.#spawner?.quit(limitMs, waitMs);
  }

  /**
   * Replaces a worker that runs nothing: another one starts beside it at once, and it has as long to end as workers have
   * that quit.
   */
  retire(handle: WorkerHandle, reason: string, limitMs: number, waitMs: number): void {
    invariant(handle.held === 0, "Cannot retire a worker: it runs jobs");
    this.#monitor.forget(handle);
    this.#ledger.crashed(handle.id, [], reason);
    this.#hooks.log("warn", `A worker is replaced: ${reason}`, { pid: handle.process.pid });
    this.#spawner?.retire(handle, limitMs, waitMs);
    this.#answers.sayCredit();
  }

  kill(): void {
    this.#isOver = true;
    this.#spawner?.kill();
  }

  #onMessage(handle: WorkerHandle, message: WorkerMessage): void {
    switch (message.kind) {
      case "hello":
        handle.greeted(message.runtime);
        return handle.process.send({ ...this.#hooks.load, hash: this.#hash });
      case "loaded":
        return this.#onLoaded(handle, message);
      case "prepared":
        if (!handle.prepared(this.#hooks.nowMs())) return;
        this.#health.join(String(handle.id), String(handle.id));
        this.#gate.prepared();
        this.feed();
        return this.#answers.sayCredit();
      case "changed":
        handle.changed();
        return this.#hooks.onChanged(message.message);
      case "unloadable":
      case "broken":
        return handle.broke(message.message, message.kind === "unloadable");
      case "resting":
        return this.#spawner?.rests(handle);
      case "over":
        return handle.rested();
      case "late":
        return this.#answers.late(message.errors, message.count);
      case "overdue":
        handle.setOverdue(message.jobs, this.#hooks.nowMs());
        this.feed();
        return this.#answers.sayCredit();
      case "answer":
        return this.#onAnswer(handle, message);
      case "beat":
        return;
      default:
        return message satisfies never;
    }
  }

  #onLoaded(handle: WorkerHandle, message: Loaded): void {
    if (!handle.loaded(this.#hooks.nowMs())) return;
    this.#gate.loaded();
    if (this.#hash.length === 0) {
      this.#hash = new Uint8Array(message.hash);
      this.#hooks.onLoaded(message, handle.runtime);
    }
    if (this.#setup !== null) handle.setUp(this.#setup, this.#hooks.nowMs());
  }

  #onAnswer(handle: WorkerHandle, answer: WorkerAnswer): void {
    const finished = this.#ledger.finish(handle.id, answer);
    if (finished === null) return;
    const [done, skipped, failed] = [countOf(answer.done), countOf(answer.skipped), answer.failed.length];
    const ended = done + skipped + failed;
    handle.answered(finished.jobs, ended, answer.busyMs, this.#hooks.nowMs());
    this.#noteHealth(handle, answer, done + skipped, finished);
    this.counts.done += done;
    this.counts.skipped += skipped;
    this.counts.failed += failed;
    this.feed();
    this.#answers.arrived(ended, charsOf(answer.failed));
    this.#hooks.onProgress();
  }

  /** Whether it fails everything: while others do not, or while nothing succeeds anywhere. */
  #noteHealth(
    handle: WorkerHandle,
    { failed }: WorkerAnswer,
    succeeded: number,
    { givenAtMs, isProbe }: Readonly<{ givenAtMs: number; isProbe: boolean }>,
  ): void {
    const id = String(handle.id);
    const nowMs = this.#hooks.nowMs();
    if (succeeded > 0) {
      this.#health.succeeded(id, succeeded, givenAtMs);
      handle.succeeded();
      this.#replaced = 0;
    }
    const threw = failed.filter(({ how }) => how !== "fatal");
    if (threw.length === 0) return;
    for (const { seq, message } of threw) {
      this.#health.failed(id, seq, message, givenAtMs, nowMs);
      this.#health.charged(id, seq, "failures");
      this.#failedAt.delete(seq);
      this.#failedAt.set(seq, handle.id);
    }
    for (const seq of this.#failedAt.keys()) {
      if (this.#failedAt.size <= failedJobsMax) break;
      this.#failedAt.delete(seq);
    }
    this.#findSick(nowMs);
    if (isProbe && succeeded === 0) this.#noteFailedProbe(handle, threw[0]!.message, nowMs);
  }

  #findSick(nowMs: number): void {
    for (let id = this.#health.findSick(); id !== null; id = this.#health.findSick()) {
      const { charges, message } = this.#health.quarantine(id, nowMs);
      const handle = this.handles.find((handle) => String(handle.id) === id);
      if (handle === undefined) continue;
      this.#hooks.onExcused(rangesOf(charges.keys()));
      this.#fallSick(handle, `it fails everything while others do not: ${message}`);
    }
  }

  #noteFailedProbe(handle: WorkerHandle, message: string, nowMs: number): void {
    handle.failedProbe();
    if (handle.failedProbes < failedProbesMax || nowMs < this.#replaceAtMs || !handle.takesJobs) return;
    this.#replaceAtMs = nowMs + backoffMs(this.#replaced++, replaceMsMin, replaceMsMax);
    this.#fallSick(handle, `nothing succeeds in it, which may be for what setup opened: ${message}`);
  }

  /** It gets nothing more, and is replaced as soon as nothing runs in it. */
  #fallSick(handle: WorkerHandle, reason: string): void {
    handle.fallSick(reason);
    setImmediate(() => this.#retireSick());
  }

  #retireSick(): void {
    if (this.#isOver) return;
    for (const handle of this.handles) {
      if (handle.sickness === null || handle.held > 0) continue;
      this.#health.forget(String(handle.id));
      const { limitMs, waitMs } = this.#hooks.quitMs();
      this.retire(handle, printable(handle.sickness, 1_000), limitMs, waitMs);
    }
  }

  #judge(handle: WorkerHandle, nowMs: number): void {
    const verdict = this.#monitor.judge(handle, this.#setup?.timeoutMs ?? 0, nowMs) ??
      this.#judgeIdle(handle, nowMs);
    if (verdict === null) return;
    handle.condemn(verdict);
  }

  /** Whether there is a timeout or not: a worker that runs nothing of what it has cannot end it. */
  #judgeIdle(handle: WorkerHandle, nowMs: number): Verdict | null {
    if (handle.held === 0 || handle.verdict !== null || nowMs - handle.movedAtMs < idleMs) return null;
    const unanswered = this.#ledger.unanswered(handle.id);
    const { process, concurrency } = handle;
    const noted = notedOf(process.readNote(), process.hasNotes, concurrency);
    if (unanswered.some((jobs) => intersect(noted, jobs).length > 0)) return null;
    return { timedOut: [], suspects: this.#unexplained.explain([], unanswered), reason: idleReason };
  }

  /** Its process is gone and all it said was heard: who is to blame, and what goes back to the queue. */
  #onDied(handle: WorkerHandle, death: Death): void {
    this.#monitor.forget(handle);
    this.#health.forget(String(handle.id));
    const reason = handle.lastSentence ?? death.reason;
    if (handle.verdict !== null) this.#failTimedOut(handle, handle.verdict);
    const unanswered = this.#ledger.unanswered(handle.id);
    const noted = notedOf(death.note, death.hasNotes, handle.concurrency);
    const suspects = handle.verdict?.suspects ?? this.#unexplained.explain(noted, unanswered);
    const ended = endedOf(death.note, handle.concurrency, unite(noted, suspects), unanswered);
    const again = this.#ledger.crashed(handle.id, suspects, handle.verdict?.reason ?? reason, ended);
    if (again > 0) this.#answers.again(again);
    if (this.#isOver || handle.isChanged) return;
    const sentence = this.#gate.died(handle, reason);
    if (sentence !== null) return this.#hooks.onUnfit(sentence);
    this.#tell(handle, handle.verdict?.reason ?? reason);
    this.feed();
    this.#answers.arrived(handle.held, 0);
    this.#hooks.onProgress();
    this.#answers.sayCredit();
  }

  /** What was cut off with it is nobody's to tell, but that it was. */
  #onCutShort(handle: WorkerHandle, reason: string): void {
    const why = handle.lastSentence ?? reason;
    const message = `a worker ended before what its jobs had begun and not awaited: ${why}`;
    this.#hooks.log("warn", `Worker ${handle.process.pid} ended as it was to, but early: ${why}`);
    this.#answers.late([{ seq: null, message }], 1);
  }

  #tell(handle: WorkerHandle, reason: string): void {
    this.counts.crashes++;
    if (reason === stoppedReason) {
      const what = "A worker is ended by force, for the grace is over: what ran in it runs again";
      return this.#hooks.log("warn", what, { pid: handle.process.pid });
    }
    const what = handle.state === "ready"
      ? "A worker is replaced"
      : "A worker did not come up and is started again";
    this.#hooks.log("warn", `${what}: ${reason}`, { pid: handle.process.pid });
  }

  /** It was killed by its supervisor, which knows why. */
  #failTimedOut(handle: WorkerHandle, verdict: Verdict): void {
    for (const seq of numbersOf(verdict.timedOut)) {
      const durationMs = elapsed(this.#hooks.nowMs() - handle.movedAtMs);
      const failure = { seq, how: "timed out", message: verdict.reason, stack: "", durationMs } as const;
      const slice = this.#ledger.sliceOf(handle.id, seq);
      this.#ledger.finish(handle.id, { slice, done: [], skipped: [], failed: [failure], released: [] });
      this.counts.failed++;
    }
  }
}

/** What may run in a worker that left this note; anything, if it could leave none. */
function notedOf(note: StartNote | null, hasNotes: boolean, concurrency: number): Ranges {
  return hasNotes ? suspectsOf(note, concurrency) : allJobs;
}

const stoppedReason = "stopped";
const allJobs: Ranges = [0, Number.MAX_SAFE_INTEGER];
