import { LeaseLedger } from "../../src/slave/ledger.ts";
import type { Checks } from "./checks.ts";
import type { End, Link } from "./link.ts";
import { type Behaviour, heartbeatMs, type Plan } from "./plan.ts";
import { endsOf, type ToMaster, type ToSlave } from "./wire.ts";
import { Process, type World } from "./world.ts";
import { SimWorker } from "./worker.ts";

export type SlaveLink = Link<ToSlave, ToMaster>;

/** What a slave needs of the simulation around it. */
export interface Surroundings {
  readonly world: World;
  readonly plan: Plan;
  readonly checks: Checks;
  behaviourOf(id: number): Behaviour;
  /** Whether this attempt throws; drawn at random for flaky jobs. */
  fails(id: number): boolean;
  /** Whether all attempts at this slave throw at once. */
  isSick(slave: number): boolean;
  /** Whether the environment makes this attempt throw, whatever its job. */
  refuses(slave: number): boolean;
  /** Connects to the current master; null if there is none. */
  connect(slave: SimSlave, end: (link: () => SlaveLink) => End<ToSlave>): SlaveLink | null;
  /** The slave's process is gone. */
  slaveDied(slave: SimSlave): void;
}

/**
 * A slave process: the real `LeaseLedger`, with a model of the supervisor and its workers. It dials until it is
 * welcomed, names what it holds, runs what it is leased, sends heartbeats, and dials again when its master is silent.
 */
export class SimSlave {
  readonly id: string;
  readonly number: number;
  readonly process: Process;
  readonly ledger = new LeaseLedger();
  readonly around: Surroundings;
  /** The welcomed connection; null between connections. */
  link: SlaveLink | null = null;
  #dialed: SlaveLink | null = null;
  #isDialing = false;
  #workers: SimWorker[] = [];
  #workersMade = 0;
  #masterId = "";
  #heardMs = 0;
  #isDraining = false;
  #isFlushing = false;

  constructor(number: number, around: Surroundings) {
    this.number = number;
    this.id = `slave ${number}`;
    this.around = around;
    this.process = new Process(around.world);
    for (let i = 0; i < around.plan.workers; i++) this.#startWorker();
    this.#dial();
    this.#beat();
  }

  get credit(): number {
    const { workers, concurrency, extraCredit } = this.around.plan;
    return workers * concurrency + extraCredit;
  }

  /** The process dies; with `isSilent` its host too, so that the connection is not closed. */
  die(isSilent: boolean): void {
    if (!this.process.isAlive) return;
    for (const worker of this.#workers) worker.die();
    for (const link of [this.link, this.#dialed]) isSilent ? link?.die() : link?.close("slave");
    this.process.isAlive = false;
    this.around.slaveDied(this);
  }

  isRunning(id: number): boolean {
    return this.#workers.some((worker) => worker.isRunning(id));
  }

  /** Kills one worker, for a reason unrelated to its jobs. */
  killWorker(): void {
    if (this.#workers.length > 0) this.crashed(this.around.world.random.pick(this.#workers), "killed");
  }

  /** A worker's process crashed: all jobs that ran in it are suspects. */
  crashed(worker: SimWorker, reason: string): void {
    const suspects = worker.die();
    this.#workers = this.#workers.filter((other) => other !== worker);
    this.ledger.crashed(worker.number, suspects, reason);
    this.process.after(10, () => {
      this.#startWorker();
      this.work();
    });
    this.work();
  }

  pause(forMs: number): void {
    this.process.pause(this.around.world.nowMs + forMs, () => {});
  }

  /** Dials again over a working connection, as if the master were silent. */
  redial(): void {
    this.process.do(() => this.#dial());
  }

  /** Something ended or arrived: gives workers slices, and schedules an answer. */
  work(): void {
    this.#feed();
    if (this.#isFlushing || !this.ledger.hasPending) return;
    this.#isFlushing = true;
    this.process.after(this.around.world.random.int(0, 40), () => this.#flush());
  }

  #flush(): void {
    this.#isFlushing = false;
    for (const { number, answer } of this.ledger.takeAnswers()) {
      this.link?.toMaster({ kind: "answer", number, credit: this.credit, ...answer });
    }
    if (this.#isDraining && this.ledger.isIdle) this.#leave();
  }

  #startWorker(): void {
    this.#workers.push(new SimWorker(++this.#workersMade, this));
  }

  #feed(): void {
    for (const worker of this.#workers) {
      while (worker.hasRoom(this.ledger.next())) {
        worker.take(this.ledger.give(worker.number, worker.sliceMax, 0)!);
      }
    }
  }

  #dial(): void {
    if (this.#isDialing) return;
    this.#isDialing = true;
    this.#dialed = this.around.connect(this, (link) => ({
      process: this.process,
      receive: (message) => this.#receive(link(), message),
      closed: () => this.#closed(link()),
    }));
    if (this.#dialed === null) this.#redial();
    else this.process.after(2 * heartbeatMs, () => this.#isDialing && this.#redial());
  }

  #redial(): void {
    this.#dialed?.close("slave");
    this.#dialed = null;
    this.process.after(this.around.world.random.int(50, 500), () => {
      this.#isDialing = false;
      if (this.link === null || this.#isSilent) this.#dial();
    });
  }

  get #isSilent(): boolean {
    return this.around.world.nowMs - this.#heardMs > 3 * heartbeatMs;
  }

  #closed(link: SlaveLink): void {
    if (link === this.#dialed) return this.#redial();
    if (link !== this.link) return;
    this.#disconnected();
    if (!this.#isDialing) this.#dial();
  }

  #disconnected(): void {
    this.link?.close("slave");
    this.link = null;
  }

  #leave(): void {
    this.#disconnected();
    if (!this.#isDialing) this.process.after(heartbeatMs, () => this.link === null && this.#dial());
  }

  #beat(): void {
    this.link?.toMaster({ kind: "beat" });
    if (this.link !== null && this.#isSilent) this.#dial();
    this.process.after(heartbeatMs, () => this.#beat());
  }

  #receive(link: SlaveLink, message: ToSlave): void {
    if (message.kind === "welcome" && link === this.#dialed) return this.#welcomed(link, message);
    if (link !== this.link) return;
    this.#heardMs = this.around.world.nowMs;
    switch (message.kind) {
      case "keep":
        this.#abort(this.ledger.applyKeep(message.leases));
        break;
      case "lease":
        this.#lease(message);
        break;
      case "saved":
        this.ledger.covered(message.through);
        break;
      case "drain":
        this.#drain();
        break;
    }
    this.work();
  }

  /** A new session begins: closes the old connection, if there is one. */
  #welcomed(link: SlaveLink, { runId, masterId }: Extract<ToSlave, { kind: "welcome" }>): void {
    this.#masterId = masterId;
    this.link?.close("slave");
    this.link = link;
    this.#dialed = null;
    this.#isDialing = false;
    this.#isDraining = false;
    this.#heardMs = this.around.world.nowMs;
    this.#abort(this.ledger.welcome(runId));
    link.toMaster({ kind: "ready", credit: this.credit, held: this.ledger.held() });
  }

  #abort(aborts: ReturnType<LeaseLedger["applyKeep"]>): void {
    for (const { worker, slice, jobs } of aborts) {
      this.#workers.find(({ number }) => number === worker)?.abort(slice, jobs);
    }
  }

  #lease(message: Extract<ToSlave, { kind: "lease" }>): void {
    const { number, seq, count, attempt, alone, jobs } = message;
    const name = { masterId: this.#masterId, number };
    this.ledger.receive({ name, seq, count, attempt, alone, jobs, ends: endsOf(jobs, count) });
  }

  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.link?.toMaster({ kind: "leaving" });
    this.ledger.releaseUntried();
    for (const worker of this.#workers) worker.withdraw();
    if (this.ledger.isIdle) this.#leave();
  }
}
