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

/** `ms` as what other processes accept for a duration: no clock makes one negative, or no number. */
export function elapsed(ms: number): number {
  return ms >= 0 && ms < Infinity ? ms : 0;
}
