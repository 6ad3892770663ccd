/**
 * Clocks, timers and chance as this process began with them. A plugin may put others in their place, as helpers of tests
 * do (`performance.now = () => 0`, fake timers); this program goes on by its own. So every file takes them from here,
 * which a test checks, and this file is evaluated before any plugin is loaded.
 *
 * They have the names of the globals that they stand for, and shadow them.
 */
export const {
  setTimeout,
  clearTimeout,
  setInterval,
  clearInterval,
  setImmediate,
  clearImmediate,
  queueMicrotask,
} = globalThis;

/** A number in [0, 1). */
export const random: () => number = Math.random;

/** Milliseconds of a clock that only goes forward, whatever happens to the wall clock. */
export const monotonicMs: () => number = performance.now.bind(performance);

/** Milliseconds since 1970. */
export const wallMs: () => number = Date.now.bind(Date);

const OwnDate = Date;

/** The time of the wall clock for people, or of `ms` since 1970. */
export function isoTime(ms: number = wallMs()): string {
  return new OwnDate(ms).toISOString();
}

/** The same as the clock on the wall here shows it: `19:44:49`. */
export function timeOfDay(ms: number = wallMs()): string {
  return new OwnDate(ms).toTimeString().slice(0, 8);
}

/** `ms` as what other processes accept for a duration: no clock makes one negative, or no number. */
export function elapsed(ms: number): number {
  return ms >= 0 && ms < Infinity ? ms : 0;
}

/**
 * From now on `process.nextTick` cannot be assigned to, which is ignored: the runtime's own sockets and streams call it by
 * that name, so one that waits for a fake clock to be moved would stop all that this process says and hears. Returns what
 * takes that back.
 */
export function holdNextTick(): () => void {
  const held = Object.getOwnPropertyDescriptor(process, "nextTick");
  const { nextTick } = process;
  Object.defineProperty(process, "nextTick", {
    get: () => nextTick,
    set: () => {},
    configurable: true,
    enumerable: true,
  });
  return () => {
    Reflect.deleteProperty(process, "nextTick");
    if (held !== undefined) Object.defineProperty(process, "nextTick", held);
  };
}

/** By so much later than was asked for, a tick was not late by chance: the process was stopped, or blocked. */
const lateMsMin = 1_000;
/** So long after a stall, what came meanwhile has been read. */
const settleMs = 250;
/** Whoever owns a deadline ticks at least so often, whatever wake-up was asked for. */
const tickMsMax = 1_000;

/**
 * Notices that this process itself was stalled. Then nobody may be called late yet: what came meanwhile is still in
 * the sockets, behind the overdue timer. All times are of one clock that only goes forward.
 */
export class StallWatch {
  #dueAtMs = Infinity;
  #judgeFromMs = -Infinity;

  /** It is `nowMs`, and the next tick was asked for at `wakeAtMs`. */
  expect(nowMs: number, wakeAtMs: number): void {
    this.#dueAtMs = Math.min(wakeAtMs, nowMs + tickMsMax);
  }

  /** From when on others may be called late: in the past, but for a moment after a stall. */
  judgeFrom(nowMs: number): number {
    if (nowMs > this.#dueAtMs + lateMsMin) this.#dueAtMs = this.#judgeFromMs = nowMs + settleMs;
    return this.#judgeFromMs;
  }
}

/** Whoever looks at an awake clock every 0.1 s, and comes later than this, was not late by chance. */
export const awakeLateMs = 250;

/**
 * A clock that stands still while its process does: it was stopped, or the machine slept. What was to take so long has
 * not taken it then. It is right from the moment on in which the process goes on, whatever runs first: ahead of the
 * latest look it only goes by what a look may be late.
 */
export class AwakeClock {
  #sleptMs = 0;
  #mostMs = Infinity;

  /** To be called every 0.1 s, by somebody who is never blocked otherwise. Returns the time. */
  look(nowMs: number): number {
    const awakeMs = this.at(nowMs);
    this.#sleptMs = nowMs - awakeMs;
    this.#mostMs = awakeMs + awakeLateMs;
    return awakeMs;
  }

  /** The time at `nowMs` of a clock that goes on. */
  at(nowMs: number): number {
    return Math.min(nowMs - this.#sleptMs, this.#mostMs);
  }
}

/**
 * Words of one peer that there may be some of, and not more and more: as many as `free` at once, and `perSecond` for as long as
 * it likes. Whoever says more has gone wrong.
 */
export class RateBound {
  readonly #free: number;
  readonly #perSecond: number;
  /** What was said, less what may have been said meanwhile. */
  #words = 0;
  #atMs: number;

  constructor(free: number, perSecond: number, nowMs: number) {
    this.#free = free;
    this.#perSecond = perSecond;
    this.#atMs = nowMs;
  }

  /** Whether it is too much with one more, or with one that costs as much as several. */
  isTooMuch(nowMs: number, words = 1): boolean {
    const allowed = Math.max(0, nowMs - this.#atMs) / 1_000 * this.#perSecond;
    this.#words = Math.max(0, this.#words - allowed) + words;
    this.#atMs = nowMs;
    return this.#words > this.#free;
  }
}
