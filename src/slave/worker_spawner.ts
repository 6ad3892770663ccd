import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { backoffMs, formatDuration } from "../lib/units.ts";
import { UnprovenConnections } from "../lib/unproven.ts";
import { connectionsAllowed } from "../link/listen.ts";
import { greetWorker } from "../link/local_link.ts";
import type { WorkerMessage } from "../protocol/messages.ts";
import { type Death, type Launch, WorkerHandle, WorkerProcess } from "./worker_handle.ts";
import { WorkerSocket } from "./worker_socket.ts";

/** A worker that died without a job is replaced after a pause that doubles up to this; one that had jobs, after the first. */
const pauseMsMax = 30_000;
const firstPauseMs = 250;
/** How long a worker that is not ready may take to leave. */
const unreadyMs = 1_000;
/** Past the time that it may rest, a worker has this long to say that it is still busy, and to end. */
const busyMs = 1_000;

/** Most connections at once that may be no worker's. */
const strangersMax = 256;

type WorkerSpawnerHooks = Readonly<{
  launch: Launch;
  onMessage: (handle: WorkerHandle, message: WorkerMessage) => void;
  onDied: (handle: WorkerHandle, death: Death) => void;
  /** It ended by itself, as it was to, but before what its jobs had begun could. */
  onCutShort: (handle: WorkerHandle, reason: string) => void;
  nowMs: () => number;
  log: Log;
}>;

/** The workers of a slave: as many as it wants, each replaced when it dies. */
export class WorkerSpawner {
  readonly #hooks: WorkerSpawnerHooks;
  /** Where workers come in. */
  #workerSocket: WorkerSocket;
  /** Where those did that came before the folder was lost. */
  #socketsBefore: WorkerSocket[] = [];
  #isMoving = false;
  /** Who came in and has not proved to be a worker. Where the socket has a name in place of a path, that may be anybody. */
  readonly #strangers: UnprovenConnections;
  readonly #handles = new Map<number, WorkerHandle>();
  readonly #processes = new Map<number, WorkerProcess>();
  /** Until when a worker whose `teardown` ended may go on. */
  readonly #resting = new Map<number, ReturnType<typeof setTimeout>>();
  #started = 0;
  #wanted = 0;
  /** Deaths in a row of workers that had not ended a job, or were not even started. */
  #earlyDeaths = 0;
  #startAtMs = 0;
  #isOver = false;

  private constructor(workerSocket: WorkerSocket, hooks: WorkerSpawnerHooks) {
    this.#workerSocket = workerSocket;
    this.#hooks = hooks;
    // A quarter of the files that may be open; all workers may come at once.
    const spare = Math.min(strangersMax, Math.ceil(connectionsAllowed() / 4));
    this.#strangers = new UnprovenConnections({ connectionsMax: () => spare + this.#awaitedCount });
  }

  static async open(hooks: WorkerSpawnerHooks): Promise<WorkerSpawner> {
    let spawner: WorkerSpawner | null = null;
    const workerSocket = await WorkerSocket.open((socket) => {
      if (spawner !== null) spawner.#greet(socket);
    }, hooks.log);
    spawner = new WorkerSpawner(workerSocket, hooks);
    return spawner;
  }

  /** Those that live. */
  get handles(): WorkerHandle[] {
    return [...this.#handles.values()];
  }

  /** From now on there are to be so many. */
  want(count: number): void {
    this.#wanted = count;
    this.#fill();
  }

  /** Starts those that are missing, once their pause is over. */
  tick(): void {
    this.#fill();
  }

  /** Ends all by force, at once. Idempotent. */
  kill(): void {
    this.#isOver = true;
    for (const process of this.#processes.values()) process.kill();
    this.#closeSockets();
  }

  /**
   * Asks all to end, and to wait at most `waitMs` for what they have begun; resolves when all have ended, by force
   * `limitMs` later. Nobody is replaced.
   */
  async quit(limitMs: number, waitMs: number): Promise<void> {
    this.#isOver = true;
    const unready = this.handles.filter(({ state }) => state !== "ready");
    for (const handle of this.handles) handle.quit(waitMs, this.#hooks.nowMs());
    // Who has loaded or prepared nothing yet has nothing to tear down.
    const unreadyTimer = setTimeout(
      () => unready.forEach(({ process }) => process.kill()),
      Math.min(unreadyMs, limitMs),
    );
    const timer = setTimeout(() => this.#cutOff(limitMs), limitMs);
    const restTimer = setTimeout(() => this.kill(), limitMs + waitMs + busyMs);
    for (const process of this.#processes.values()) {
      if (!process.isConnected) process.kill();
    }
    while (this.#processes.size > 0) {
      await Promise.all([...this.#processes.values()].map((process) => process.dead));
    }
    clearTimeout(unreadyTimer);
    clearTimeout(timer);
    clearTimeout(restTimer);
    this.#closeSockets();
  }

  /** Asks one to end; another takes its place at once. It may take as long as in `quit`. */
  retire(handle: WorkerHandle, limitMs: number, waitMs: number): void {
    const process = this.#processes.get(handle.id);
    if (process === undefined || !this.#handles.delete(handle.id)) return;
    handle.quit(waitMs, this.#hooks.nowMs());
    const timer = setTimeout(() => process.kill(), limitMs + waitMs + busyMs);
    void process.dead.then(() => clearTimeout(timer));
    this.#fill();
  }

  /**
   * Its `teardown` ended: it only waits for what goes on all the same, and says when that takes too long, unless its event
   * loop stands still.
   */
  rests(handle: WorkerHandle): void {
    const end = () => {
      const { pid } = handle.process;
      const what = "is still busy, and its event loop stands still: something that a handler left behind";
      this.#hooks.log("warn", `Worker ${pid} ${what}. It is killed`);
      handle.process.kill();
    };
    this.#resting.set(handle.id, setTimeout(end, handle.restMs + busyMs));
  }

  /** Ends those whose `teardown` goes on, and says so. */
  #cutOff(limitMs: number): void {
    const late = [...this.#processes.values()].filter(({ id }) => !this.#resting.has(id));
    const pids = late.map(({ pid }) => pid).join(", ");
    const message = `teardown did not end within ${
      formatDuration(limitMs)
    }, and is cut off in worker ${pids}`;
    if (pids !== "" && limitMs > 0) this.#hooks.log("warn", message);
    for (const process of late) process.kill();
  }

  #closeSockets(): void {
    for (const workerSocket of [this.#workerSocket, ...this.#socketsBefore]) workerSocket.close();
    this.#strangers.close();
  }

  #fill(): void {
    while (this.#mayStart()) {
      try {
        this.#start();
      } catch (error) {
        void this.#move(error instanceof Error ? error.message : String(error));
      }
    }
  }

  #mayStart(): boolean {
    if (this.#isOver || this.#isMoving || this.#handles.size >= this.#wanted) return false;
    return this.#hooks.nowMs() >= this.#startAtMs;
  }

  /** New workers meet their supervisor elsewhere; those that live have their connections and notes. */
  async #move(why: string): Promise<void> {
    const { log } = this.#hooks;
    this.#isMoving = true;
    this.#pause();
    log("warn", `Workers cannot be started as before (${why}): making a new folder for them`);
    try {
      const workerSocket = await WorkerSocket.open((socket) => this.#greet(socket), log);
      this.#socketsBefore.push(this.#workerSocket);
      this.#workerSocket = workerSocket;
      if (this.#isOver) workerSocket.close();
    } catch (error) {
      log("error", `Workers cannot be started: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#isMoving = false;
  }

  /** The next start waits, twice as long as the one before. */
  #pause(): void {
    this.#startAtMs = this.#hooks.nowMs() + backoffMs(this.#earlyDeaths, firstPauseMs, pauseMsMax);
    this.#earlyDeaths++;
  }

  #start(): void {
    const id = ++this.#started;
    const { launch, nowMs } = this.#hooks;
    const process: WorkerProcess = new WorkerProcess(id, this.#workerSocket, launch, {
      onMessage: (message) => this.#hooks.onMessage(handle, message),
      onHeard: () => handle.heard(nowMs()),
      onDied: (death) => this.#died(handle, death),
    });
    const handle: WorkerHandle = new WorkerHandle(id, process, nowMs());
    this.#handles.set(id, handle);
    this.#processes.set(id, process);
  }

  #died(handle: WorkerHandle, death: Death): void {
    this.#processes.delete(handle.id);
    clearTimeout(this.#resting.get(handle.id));
    this.#resting.delete(handle.id);
    if (handle.mayRest && !death.isKilled) this.#hooks.onCutShort(handle, death.reason);
    // It was replaced when it retired.
    if (!this.#handles.delete(handle.id)) return;
    if (handle.hasAnswered || handle.verdict !== null) this.#earlyDeaths = 0;
    // a job may have ended it, which is counted there
    else if (handle.held > 0) this.#startAtMs = this.#hooks.nowMs() + firstPauseMs;
    else this.#pause();
    this.#hooks.onDied(handle, death);
    this.#fill();
  }

  /** Whoever connects must first prove that it knows the secret of a worker that is awaited. */
  #greet(socket: Socket): void {
    this.#strangers.admit(socket);
    greetWorker(socket, {
      secretOf: (worker) => this.#awaited(worker)?.secret,
      onWorker: (worker, link) => {
        this.#strangers.proved(socket);
        this.#awaited(worker)!.connected(link);
      },
      nowMs: this.#hooks.nowMs,
    });
  }

  get #awaitedCount(): number {
    let count = 0;
    for (const { wasConnected } of this.#processes.values()) if (!wasConnected) count++;
    return count;
  }

  #awaited(worker: number): WorkerProcess | undefined {
    const process = this.#processes.get(worker);
    return process?.wasConnected === false ? process : undefined;
  }
}
