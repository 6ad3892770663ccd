import type { Socket } from "node:net";
import { clearTimeout, setTimeout } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { formatDuration } from "../lib/units.ts";
import { UnprovenConnections } from "../lib/unproven.ts";
import { connectionsAllowed } from "../link/listen.ts";
import { greetWorker } from "../link/local_link.ts";
import type { WorkerMessage } from "../protocol/messages.ts";
import { type Death, type Launch, Seat, WorkerProcess } from "./worker_handle.ts";
import { Door } from "./worker_socket.ts";

/** A worker that died without a job is replaced after a pause that doubles up to this; one that had jobs, after the first. */
const pauseMsMax = 30_000;
const firstPauseMs = 250;
/** How long a worker that is not ready may take to leave. */
const unreadyMs = 1_000;
/** Past the time that it may rest, a worker has this long to say that it is still busy, and to end. */
const busyMs = 1_000;

/** Most connections at once that may be no worker's. */
const strangersMax = 256;

export type CrewHooks = Readonly<{
  launch: Launch;
  onHello: (seat: Seat, runtime: string) => void;
  onMessage: (seat: Seat, message: WorkerMessage) => void;
  onDied: (seat: Seat, death: Death) => void;
  /** It ended by itself, as it was to, but before what its jobs had begun could. */
  onCutShort: (seat: Seat, reason: string) => void;
  nowMs: () => number;
  log: Log;
}>;

/** The workers of a slave: as many as it wants, each replaced when it dies. */
export class Crew {
  readonly #hooks: CrewHooks;
  /** Where workers come in. */
  #door: Door;
  /** Where those did that came before the folder was lost. */
  #doorsBefore: Door[] = [];
  #isMoving = false;
  /** Who came in and has not proved to be a worker. Where the socket has a name in place of a path, that may be anybody. */
  readonly #strangers: UnprovenConnections;
  readonly #seats = new Map<number, Seat>();
  readonly #processes = new Map<number, WorkerProcess>();
  /** Until when a worker whose `teardown` ended may go on. */
  readonly #resting = new Map<number, ReturnType<typeof setTimeout>>();
  #started = 0;
  #wanted = 0;
  /** Deaths in a row of workers that had not ended a job, or were not even started. */
  #earlyDeaths = 0;
  #startAtMs = 0;
  #isOver = false;

  private constructor(door: Door, hooks: CrewHooks) {
    this.#door = door;
    this.#hooks = hooks;
    // A quarter of the files that may be open; all workers may come at once.
    const spare = Math.min(strangersMax, Math.ceil(connectionsAllowed() / 4));
    this.#strangers = new UnprovenConnections({ connectionsMax: () => spare + this.#awaitedCount });
  }

  static async open(hooks: CrewHooks): Promise<Crew> {
    let crew: Crew | null = null;
    const door = await Door.open((socket) => {
      if (crew !== null) crew.#greet(socket);
    }, hooks.log);
    crew = new Crew(door, hooks);
    return crew;
  }

  /** Those that live. */
  get seats(): Seat[] {
    return [...this.#seats.values()];
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
    this.#closeDoors();
  }

  /**
   * Asks all to end, and to wait at most `waitMs` for what they have begun; resolves when all have ended, by force
   * `limitMs` later. Nobody is replaced.
   */
  async quit(limitMs: number, waitMs: number): Promise<void> {
    this.#isOver = true;
    const unready = this.seats.filter(({ state }) => state !== "ready");
    for (const seat of this.seats) this.#dismiss(seat, waitMs);
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
    this.#closeDoors();
  }

  /** Asks one to end; another takes its place at once. It may take as long as in `quit`. */
  retire(seat: Seat, limitMs: number, waitMs: number): void {
    const process = this.#processes.get(seat.id);
    if (process === undefined || !this.#seats.delete(seat.id)) return;
    this.#dismiss(seat, waitMs);
    const timer = setTimeout(() => process.kill(), limitMs + waitMs + busyMs);
    void process.dead.then(() => clearTimeout(timer));
    this.#fill();
  }

  #dismiss(seat: Seat, waitMs: number): void {
    seat.process.send({ kind: "quit", waitMs: Math.floor(waitMs), isSick: seat.sickness !== null });
    seat.mayRest = seat.state === "ready";
    seat.restMs = waitMs;
    seat.enter("leaving", this.#hooks.nowMs());
  }

  /**
   * Its `teardown` ended: it only waits for what goes on all the same, and says when that takes too long, unless its event
   * loop stands still.
   */
  rests(seat: Seat): void {
    const end = () => {
      const { pid } = seat.process;
      const what = "is still busy, and its event loop stands still: something that a handler left behind";
      this.#hooks.log("warn", `Worker ${pid} ${what}. It is killed`);
      seat.process.kill();
    };
    this.#resting.set(seat.id, setTimeout(end, seat.restMs + busyMs));
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

  #closeDoors(): void {
    for (const door of [this.#door, ...this.#doorsBefore]) door.close();
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
    if (this.#isOver || this.#isMoving || this.#seats.size >= this.#wanted) return false;
    return this.#hooks.nowMs() >= this.#startAtMs;
  }

  /** New workers meet their supervisor elsewhere; those that live have their connections and notes. */
  async #move(why: string): Promise<void> {
    const { log } = this.#hooks;
    this.#isMoving = true;
    this.#pause();
    log("warn", `Workers cannot be started as before (${why}): making a new folder for them`);
    try {
      const door = await Door.open((socket) => this.#greet(socket), log);
      this.#doorsBefore.push(this.#door);
      this.#door = door;
      if (this.#isOver) door.close();
    } catch (error) {
      log("error", `Workers cannot be started: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#isMoving = false;
  }

  /** The next start waits, twice as long as the one before. */
  #pause(): void {
    this.#startAtMs = this.#hooks.nowMs() + Math.min(firstPauseMs * 2 ** this.#earlyDeaths, pauseMsMax);
    this.#earlyDeaths++;
  }

  #start(): void {
    const id = ++this.#started;
    const { launch, nowMs } = this.#hooks;
    const process: WorkerProcess = new WorkerProcess(id, this.#door, launch, {
      onMessage: (message) =>
        message.kind === "hello"
          ? this.#hooks.onHello(seat, message.runtime)
          : this.#hooks.onMessage(seat, message),
      onHeard: () => seat.heardAtMs = nowMs(),
      onDied: (death) => this.#died(seat, death),
    });
    const seat: Seat = new Seat(id, process, nowMs());
    this.#seats.set(id, seat);
    this.#processes.set(id, process);
  }

  #died(seat: Seat, death: Death): void {
    this.#processes.delete(seat.id);
    clearTimeout(this.#resting.get(seat.id));
    this.#resting.delete(seat.id);
    if (seat.mayRest && !death.isKilled) this.#hooks.onCutShort(seat, death.reason);
    // It was replaced when it retired.
    if (!this.#seats.delete(seat.id)) return;
    if (seat.hasAnswered || seat.verdict !== null) this.#earlyDeaths = 0;
    // a job may have ended it, which is counted there
    else if (seat.held > 0) this.#startAtMs = this.#hooks.nowMs() + firstPauseMs;
    else this.#pause();
    this.#hooks.onDied(seat, death);
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
