import type { DeadLetter, Effect, Notice, Outcome, RunEvent } from "../core/types.ts";
import { clearTimeout, monotonicMs, setImmediate, setTimeout } from "../lib/clock.ts";
import { tickMsMax } from "../lib/limits.ts";
import type { Sessions } from "./sessions.ts";

/**
 * The one timer of the process. It calls `tick`, which does all that is overdue and returns when to wake next
 * (absolute, monotonic milliseconds; Infinity if nothing is due).
 */
export class Timer {
  readonly #tick: (nowMs: number) => number;
  #handle: ReturnType<typeof setTimeout> | null = null;
  #atMs = Infinity;
  #isStopped = false;

  constructor(tick: (nowMs: number) => number) {
    this.#tick = tick;
  }

  /** Sees to it that `tick` is called at `atMs` or before. A later wake-up than the one set changes nothing. */
  wakeBy(atMs: number): void {
    if (this.#isStopped || atMs >= this.#atMs) return;
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#atMs = atMs;
    this.#handle = setTimeout(() => this.#fire(), Math.max(0, Math.ceil(atMs - monotonicMs())));
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#handle !== null) clearTimeout(this.#handle);
    this.#handle = null;
  }

  #fire(): void {
    this.#handle = null;
    this.#atMs = Infinity;
    const nowMs = monotonicMs();
    this.wakeBy(Math.min(this.#tick(nowMs), nowMs + tickMsMax));
  }
}

/** Who carries out what. */
export type EffectHandlers = Readonly<{
  sessions: Sessions;
  writer: { bury(letters: readonly DeadLetter[]): void };
  source: { open(last: Uint8Array | undefined): void; close(): unknown };
  notice: (notice: Notice) => void;
  end: (outcome: Outcome) => void;
}>;

/** Carries out one effect of the core. No rule of the queue stands here: each case is one call. */
export function carryOut(effect: Effect, hands: EffectHandlers): void {
  switch (effect.kind) {
    case "lease":
      return hands.sessions.get(effect.session)?.lease(effect);
    case "keep":
      return hands.sessions.get(effect.session)?.send({ kind: "keep", leases: effect.leases });
    case "covered":
      return hands.sessions.get(effect.session)?.send({ kind: "saved", through: effect.through });
    case "drain":
      return hands.sessions.get(effect.session)?.send({ kind: "drain" });
    case "close":
      return hands.sessions.close(effect.session, effect.how);
    case "bury":
      return hands.writer.bury(effect.letters);
    case "open source":
      return hands.source.open(effect.last);
    case "close source":
      return void hands.source.close();
    case "notice":
      return hands.notice(effect.notice);
    case "end":
      return hands.end(effect.outcome);
    default:
      return effect satisfies never;
  }
}

/** What the driver needs of the core. */
export interface Core {
  apply(event: RunEvent, nowMs: number): void;
  tick(nowMs: number): number;
  takeEffects(): Effect[];
}

/** What the driver calls. */
interface DriverHooks {
  carryOut(effect: Effect): void;
  /** A turn is over: the core has nothing left to ask for until it is told more. Pull the source, arm the timer. */
  onTurn(nowMs: number, wakeAtMs: number): void;
  /** The core threw, or an effect did: what is in memory can no longer be trusted. Called once. */
  onFault(error: unknown): void;
}

/**
 * The one place that calls the core. Events are applied as they come; effects are taken once per turn of the
 * event loop, so that the many small answers of one turn make few large leases.
 *
 *          start          apply                 setImmediate
 *     HELD -------> IDLE ---------> SCHEDULED ----------------> effects until there are none ---> IDLE
 *       '-------------'------------------'------- fault, halt ------> HALTED
 *
 * HELD: events are applied, effects wait: nothing may be handed out before the first save.
 * HALTED: for good; nothing reaches the core any more.
 */
export class Driver {
  readonly #core: Core;
  readonly #hooks: DriverHooks;
  #at: "held" | "idle" | "scheduled" | "halted" = "held";
  /** When the core wants its next tick; -Infinity until its first. */
  #wakeAtMs = -Infinity;

  constructor(core: Core, hooks: DriverHooks) {
    this.#core = core;
    this.#hooks = hooks;
  }

  get isHalted(): boolean {
    return this.#at === "halted";
  }

  start(): void {
    if (this.#at === "held") this.#at = "idle";
    this.wake();
  }

  /**
   * Tells the core. What is overdue is judged first: after a stall the core must see by how much its tick is late
   * before it hears from those whose bytes were waiting.
   */
  apply(event: RunEvent): void {
    if (this.isHalted) return;
    const nowMs = monotonicMs();
    try {
      if (nowMs >= this.#wakeAtMs) this.#wakeAtMs = this.#core.tick(nowMs);
      this.#core.apply(event, nowMs);
    } catch (error) {
      return this.#fault(error);
    }
    this.wake();
  }

  /** Does what is overdue; its effects follow in a turn of their own. Returns when the core wants to wake next. */
  tick(nowMs: number): number {
    if (this.isHalted) return Infinity;
    if (nowMs < this.#wakeAtMs) return this.#wakeAtMs;
    this.wake();
    try {
      return (this.#wakeAtMs = this.#core.tick(nowMs));
    } catch (error) {
      this.#fault(error);
      return Infinity;
    }
  }

  /** Sees to it that effects are taken in this turn of the event loop. */
  wake(): void {
    if (this.#at !== "idle") return;
    this.#at = "scheduled";
    setImmediate(() => this.turn());
  }

  /** Takes effects and has them carried out, until there are none; at once, where a turn of its own is too late. */
  turn(): void {
    if (this.isHalted || this.#at === "held") return;
    this.#at = "scheduled"; // what is applied meanwhile belongs to this turn
    const nowMs = monotonicMs();
    try {
      this.#carryOutAll(nowMs);
      if (this.isHalted) return;
      this.#at = "idle";
      this.#hooks.onTurn(nowMs, this.#wakeAtMs);
    } catch (error) {
      this.#fault(error);
    }
  }

  /**
   * Asks the core something: `otherwise` if it is halted, or throws.
   */
  ask<T>(question: () => T, otherwise: T): T {
    if (this.isHalted) return otherwise;
    try {
      return question();
    } catch (error) {
      this.#fault(error);
      return otherwise;
    }
  }

  /** Nothing reaches the core from now on. */
  halt(): void {
    this.#at = "halted";
  }

  #carryOutAll(nowMs: number): void {
    for (;;) {
      this.#wakeAtMs = this.#core.tick(nowMs);
      const effects = this.#core.takeEffects();
      if (effects.length === 0) return;
      for (const effect of effects) {
        if (this.isHalted) return;
        this.#hooks.carryOut(effect);
      }
    }
  }

  #fault(error: unknown): void {
    if (this.isHalted) return;
    this.halt();
    this.#hooks.onFault(error);
  }
}
