import { Heap } from "../../src/lib/collections.ts";
import { Random } from "./random.ts";
import { Trace } from "./trace.ts";

type Due = Readonly<{ atMs: number; number: number; act: () => void }>;

/** Time, randomness and the trace: one heap of events ordered by (time, number), and one generator. */
export class World {
  nowMs = 0;
  readonly random: Random;
  readonly trace: Trace;
  readonly #heap = new Heap<Due>((a, b) => a.atMs < b.atMs || (a.atMs === b.atMs && a.number < b.number));
  #number = 0;
  #isOver = false;

  constructor(seed: number, keepsLines: boolean) {
    this.random = new Random(seed);
    this.trace = new Trace(this, keepsLines);
  }

  after(delayMs: number, act: () => void): void {
    this.at(this.nowMs + delayMs, act);
  }

  at(atMs: number, act: () => void): void {
    this.#heap.push({ atMs: Math.max(atMs, this.nowMs), number: this.#number++, act });
  }

  /** Runs until `end` is called, no event is left, or `untilMs`. `onEvent` is called after each event. */
  run(untilMs: number, onEvent: () => void): void {
    while (!this.#isOver) {
      const due = this.#heap.first;
      if (due === undefined || due.atMs > untilMs) return;
      this.#heap.pop();
      this.nowMs = due.atMs;
      due.act();
      onEvent();
    }
  }

  end(): void {
    this.#isOver = true;
  }

  get isOver(): boolean {
    return this.#isOver;
  }
}

/** A process that can be paused (SIGSTOP): what happens to it meanwhile is handled afterwards, in order. */
export class Process {
  readonly world: World;
  isAlive = true;
  #pausedUntilMs = 0;
  #waiting: (() => void)[] = [];

  constructor(world: World) {
    this.world = world;
  }

  get isPaused(): boolean {
    return this.world.nowMs < this.#pausedUntilMs || this.#waiting.length > 0;
  }

  /** `first` runs before everything else after the pause. */
  pause(untilMs: number, first: () => void): void {
    if (untilMs <= this.#pausedUntilMs) return;
    this.#pausedUntilMs = untilMs;
    this.world.at(untilMs, () => this.#wake(first));
  }

  after(delayMs: number, act: () => void): void {
    this.world.after(delayMs, () => this.do(act));
  }

  /** Calls `act` now, or when the pause is over; never if the process is dead. */
  do(act: () => void): void {
    if (!this.isAlive) return;
    if (this.isPaused) this.#waiting.push(act);
    else act();
  }

  #wake(first: () => void): void {
    if (this.world.nowMs < this.#pausedUntilMs) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const act of [first, ...waiting]) if (this.isAlive) act();
  }
}
