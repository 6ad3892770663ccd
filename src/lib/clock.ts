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
