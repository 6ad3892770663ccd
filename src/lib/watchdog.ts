import { Worker } from "node:worker_threads";
import { setInterval } from "./clock.ts";
import { awakeLateMs } from "./lag_guard.ts";
import { type OwnFile, ownUid } from "./own_file.ts";

/** What the main thread tells its watchdog thread, as numbers in shared memory. */
export const watchSlots = {
  /** Counts up with every call of a handler: tells one that hangs from the next one. */
  begun: 0,
  /** Seq of the first job of the call that is on the stack; -1 while there is none. */
  onStack: 1,
  /** Number of the latest start note. */
  note: 2,
  /** Set by the watchdog once it put `onStack` on record; the main thread takes it back. */
  recorded: 3,
  /** How long this process has stood still, as `LagGuard` counts it: the watchdog looks, for the main thread may be busy. */
  sleptMs: 4,
  /** The time of the patient clock that the main thread may go by until the next look. */
  mostMs: 5,
  /** How many jobs that call takes. */
  onStackJobs: 6,
} as const;

/** What the main thread tells of its event loop, as numbers in shared memory. */
const loopSlots = {
  /** Counts up as it turns. */
  turns: 0,
  /** What the main thread does: an index of `doings`. */
  doing: 1,
  /** How long a stop may take, in milliseconds. */
  graceMs: 2,
  /** Number of the signal that was heard and asks for a stop; 0 until one does. */
  asked: 3,
} as const;

const doings = ["its top level", "getJobs, cursor, onFinish, or a timer of its own"] as const;

/** What the main thread and its watchdog share. */
export function makeWatch(): Float64Array {
  const slots = Object.keys(watchSlots).length;
  const watch = new Float64Array(new SharedArrayBuffer(slots * Float64Array.BYTES_PER_ELEMENT));
  watch[watchSlots.onStack] = -1;
  watch[watchSlots.onStackJobs] = 1;
  watch[watchSlots.mostMs] = Infinity;
  return watch;
}

/** As `LagGuard.time`. The watchdog writes what it reads first last: so it is never early by more than a look may be late. */
export function awakeMs(watch: Float64Array, nowMs: number): number {
  const mostMs = watch[watchSlots.mostMs]!;
  return Math.min(nowMs - watch[watchSlots.sleptMs]!, mostMs);
}

type WatchdogOptions = Readonly<{
  /** The process that this one must not outlive; undefined if there is none. */
  parentPid?: number;
  /** How a loop that stands still is told on stderr. */
  loop?: Readonly<{ watch: Float64Array; isJson: boolean; isTerminal: boolean }>;
  /** Removed when that process is gone, if it is still what was made. */
  folder?: OwnFile | null | undefined;
  /** Of `makeWatch`, in a process that runs handlers. */
  watch?: Float64Array | undefined;
  /** Where, and at which byte, a call that lasts is recorded. */
  record?: Readonly<{ file: OwnFile; offset: number }> | undefined;
}>;

/**
 * Starts a thread that ends this process within a second of its parent's death, also while the main thread loops:
 * SIGKILL to its process group, since nobody is left to tell. Its source is text, for a compiled binary has no file to load it from.
 * It also records which job's handler call has been on the stack for some 100 ms, so that a call that never returns
 * is known by its job.
 *
 * On Windows a parent's death shows nowhere; there the closed socket ends the process.
 */
export function startWatchdog(options: WatchdogOptions): void {
  // Threads have clocks of their own, which began at a time that all agree on.
  const clock = { originMs: performance.timeOrigin, lateMs: awakeLateMs };
  const workerData = { ...options, uid: ownUid(), slots: watchSlots, loopSlots, doings, clock };
  if (options.watch !== undefined) options.watch[watchSlots.mostMs] = performance.now() + awakeLateMs;
  const thread = new Worker(source, { eval: true, workerData, env: {}, stdin: false });
  thread.unref();
  thread.on("error", () => {});
  thread.on("exit", () => {
    if (options.watch !== undefined) options.watch[watchSlots.mostMs] = Infinity;
  });
}

/**
 * Watches the event loop of a master, where a plugin that loops for ever would leave it deaf and dumb: after 10 s that is
 * said, and a stop that is asked for is bounded all the same.
 *
 * A signal to a process with a listener only wakes the loop. So where the loop has stood still for a second, the
 * thread has the system forget each listener once its signal came (SA_RESETHAND, by Bun's FFI, on Linux): a second signal
 * then ends the process at once, and the thread sees that a first one came, and sends the second when the grace is over.
 * What was saved stands. Once the loop turns again, all is as before; who handles a signal listens anew (`renewListener`).
 * Of a signal that was heard before the loop stood still, the thread is told: it ends the process in every runtime.
 */
export class LoopWatch {
  readonly #watch = new Float64Array(new SharedArrayBuffer(8 * Object.keys(loopSlots).length));

  readonly #options: Readonly<{ isJson: boolean; isTerminal: boolean }>;

  /** The plugin is about to be loaded. */
  constructor(options: Readonly<{ isJson: boolean; isTerminal: boolean; graceMs: number }>) {
    this.#options = options;
    this.#watch[loopSlots.graceMs] = options.graceMs;
    // In Deno a thread or a timer keeps the event loop, and a top-level await that nothing ends would go on for ever.
    if (process.versions.deno === undefined) this.#start();
  }

  /** The plugin is loaded. */
  loaded(graceMs: number): void {
    this.#watch[loopSlots.doing] = 1;
    this.#watch[loopSlots.graceMs] = graceMs;
    if (process.versions.deno !== undefined) this.#start();
  }

  /** This signal was heard, and stops the run: should the loop stand still from now on, it is for the grace at most. */
  stopping(signal: number): void {
    this.#watch[loopSlots.asked] = signal;
  }

  #start(): void {
    startWatchdog({ loop: { ...this.#options, watch: this.#watch } });
    const timer = setInterval(() => this.#watch[loopSlots.turns]!++, loopTurnMs);
    (timer as { unref?: () => void }).unref?.();
  }
}

/** How often a loop says that it turns. */
const loopTurnMs = 250;

const source = `
const { workerData } = require("node:worker_threads");
const fs = require("node:fs");
const { parentPid, folder, uid, watch, record, slots, loop, loopSlots, doings, clock } = workerData;
let begun = -1;
let fd = -1;
// Something else may be at its path by now.
function isSame(stats, { dev, ino }) {
  return stats.dev === dev && stats.ino === ino && (uid === undefined || stats.uid === uid);
}
function openRecord(file) {
  if (!isSame(fs.lstatSync(file.path), file)) return -1;
  const { O_RDWR, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = fs.constants;
  const opened = fs.openSync(file.path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  if (isSame(fs.fstatSync(opened), file)) return opened;
  fs.closeSync(opened);
  return -1;
}
function removeFolder() {
  const stats = fs.lstatSync(folder.path);
  if (!stats.isDirectory() || !isSame(stats, folder)) return;
  for (const name of fs.readdirSync(folder.path)) {
    if (/^(?:s|\\d+\\.(?:note|last))$/.test(name)) fs.unlinkSync(folder.path + "/" + name);
  }
  fs.rmdirSync(folder.path);
}
function watchCall({ file, offset }) {
  const was = begun;
  begun = watch[slots.begun];
  const seq = watch[slots.onStack];
  if (begun !== was || seq < 0 || watch[slots.recorded] !== 0) return;
  // Of several jobs in one call each is suspect: the note has them all.
  if (watch[slots.onStackJobs] !== 1) return;
  const note = watch[slots.note];
  watch[slots.recorded] = 1;
  if (watch[slots.begun] !== begun || watch[slots.note] !== note) return;
  if (fd < 0) fd = openRecord(file);
  if (fd >= 0) fs.writeSync(fd, new Float64Array([note, seq]), 0, 16, offset);
}
function lookAtClock() {
  const nowMs = performance.timeOrigin + performance.now() - clock.originMs;
  const awakeMs = Math.min(nowMs - watch[slots.sleptMs], watch[slots.mostMs]);
  watch[slots.sleptMs] = nowMs - awakeMs;
  watch[slots.mostMs] = awakeMs + clock.lateMs;
}
function checkParent() {
  if (process.ppid === parentPid) return;
  // Another process may just be writing into it.
  for (let tries = 0; folder && tries < 5; tries++) {
    try {
      removeFolder();
      break;
    } catch {}
  }
  // What handlers started goes too: it is in the group that this process leads, if it leads one.
  try { process.kill(-process.pid, "SIGKILL"); } catch {}
  process.kill(process.pid, "SIGKILL");
}
const tickMs = 500, stillMs = 1000, tellMs = 10000, leastMs = 5000;
const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
const resetHand = 0x80000000, flagsAt = 136;
let turns = -1, still = 0, isTold = false, isForgetful = false, isEnding = false, libc, asked;
function watchLoop({ watch }) {
  const now = watch[loopSlots.turns];
  if (now !== turns) {
    if (isForgetful) setForgetful(false);
    turns = now;
    still = 0;
    isTold = isForgetful = false;
    asked = undefined;
    return;
  }
  still += tickMs;
  if (still >= stillMs && !isForgetful) isForgetful = setForgetful(true);
  if (still >= tellMs && !isTold) {
    isTold = true;
    say("The event loop stands still since " + still / 1000 + " s: the plugin (" + doings[watch[loopSlots.doing]] +
      ") does not give control back. Nothing is handed out or saved meanwhile; what was saved stands. " +
      (isForgetful ? "A signal ends the wait" : "SIGKILL ends it"));
  }
  const graceMs = watch[loopSlots.graceMs], heard = watch[loopSlots.asked];
  // Our own last steps may take a moment, however short the grace.
  if (heard !== 0 && still >= Math.max(graceMs, leastMs)) return end(nameOf(heard));
  if (isForgetful) obey(graceMs);
}
function nameOf(number) {
  return Object.keys(signals).find((name) => signals[name] === number);
}
function end(name) {
  const why = "the plugin did not give control back within the grace: the process ends. What was saved stands";
  if (!isEnding) say(name + " came, and " + why);
  isEnding = true;
  // It may take two: by the first one the system forgets the listener.
  process.kill(process.pid, isForgetful ? name : "SIGKILL");
}
// A signal whose listener is forgotten came, and nobody has handled it.
function obey(graceMs) {
  const caught = BigInt("0x" + /SigCgt:\\s*(\\w+)/.exec(fs.readFileSync("/proc/self/status", "latin1"))[1]);
  const came = Object.keys(signals).find((name) => listened.has(name) && !(caught >> BigInt(signals[name] - 1) & 1n));
  if (came === undefined) return;
  asked = asked ?? { sinceMs: still };
  if (still - asked.sinceMs >= graceMs) end(came);
}
const listened = new Set();
function setForgetful(isOn) {
  if (process.platform !== "linux" || process.versions.bun === undefined) return false;
  const { dlopen, ptr } = require("bun:ffi");
  const names = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];
  for (const name of names) {
    if (libc) break;
    try { libc = dlopen(name, { sigaction: { args: ["i32", "ptr", "ptr"], returns: "i32" } }).symbols; } catch {}
  }
  if (!libc) return false;
  for (const name of Object.keys(signals)) {
    const action = new DataView(new ArrayBuffer(256));
    const bytes = new Uint8Array(action.buffer);
    if (libc.sigaction(signals[name], null, ptr(bytes)) !== 0 || action.getBigUint64(0, true) < 2n) continue;
    listened.add(name);
    const flags = action.getUint32(flagsAt, true);
    action.setUint32(flagsAt, isOn ? (flags | resetHand) >>> 0 : (flags & ~resetHand) >>> 0, true);
    libc.sigaction(signals[name], ptr(bytes), null);
  }
  return true;
}
function say(msg) {
  const time = new Date();
  const line = loop.isJson
    ? JSON.stringify({ level: "warn", time: time.toISOString(), msg })
    : "[" + time.toTimeString().slice(0, 8) + "] WARN: " + msg;
  try { fs.writeSync(2, (loop.isTerminal ? "\\r\\x1b[K" : "") + line + "\\n"); } catch {}
}
setInterval(() => {
  if (parentPid !== undefined && process.platform !== "win32") checkParent();
  if (watch) lookAtClock();
  if (record) try { watchCall(record); } catch {}
  if (loop) try { watchLoop(loop); } catch {}
}, watch ? 100 : tickMs);
`;
