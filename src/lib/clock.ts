/**
 * Clocks, timers and randomness as they were when this process started. A plugin may replace the globals, as test
 * helpers do (`performance.now = () => 0`, fake timers); this program must not be affected. So every file imports them
 * from here, which a test checks, and this file is evaluated before any plugin is loaded.
 *
 * They have the names of the globals they replace, and shadow them.
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

/** Milliseconds of a monotonic clock, unaffected by changes of the wall clock. */
export const monotonicMs: () => number = performance.now.bind(performance);

/** Milliseconds since 1970. */
export const wallMs: () => number = Date.now.bind(Date);

const OwnDate = Date;

/** Wall-clock time, or `ms` since 1970, in ISO 8601. */
export function isoTime(ms: number = wallMs()): string {
  return new OwnDate(ms).toISOString();
}

/** Wall-clock time in the local time zone: `19:44:49`. */
export function timeOfDay(ms: number = wallMs()): string {
  return new OwnDate(ms).toTimeString().slice(0, 8);
}

/** `ms` as a duration that other processes accept: 0 if a broken clock made it negative, infinite or NaN. */
export function elapsed(ms: number): number {
  return ms >= 0 && ms < Infinity ? ms : 0;
}

/**
 * Ignores assignments to `process.nextTick` from now on. The runtime's own sockets and streams call it by that name, so
 * a fake one that waits for a fake clock would stop all communication of this process. Returns a function that undoes
 * this.
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
