import { Worker } from "node:worker_threads";
import { setInterval } from "./clock.ts";
import { awakeLateMs } from "./lag_guard.ts";
import { type OwnFile, ownUid } from "./own_file.ts";

/** Numbers in shared memory that the main thread and its watchdog thread exchange. */
export const watchSlots = {
  /** Incremented at every handler call, so that a call that hangs can be told from the next one. */
  begun: 0,
  /** Seq of the first job of the handler call that is on the stack; -1 if there is none. */
  onStack: 1,
  /** Number of the latest start note. */
  note: 2,
  /** Set by the watchdog once it has recorded `onStack`; cleared by the main thread. */
  recorded: 3,
  /**
   * How long this process was stopped or asleep, as `LagGuard` measures it. The watchdog measures it, because the main
   * thread may be busy.
   */
  sleptMs: 4,
  /** Upper limit of the lag-adjusted clock until the watchdog's next check. */
  mostMs: 5,
  /** Number of jobs in that call. */
  onStackJobs: 6,
} as const;

/** Numbers in shared memory about the event loop of the main thread. */
const loopSlots = {
  /** Incremented while the loop turns. */
  turns: 0,
  /** What the main thread is doing: an index of `doings`. */
  doing: 1,
  /** Grace of a stop, in milliseconds. */
  graceMs: 2,
  /** Number of the signal that requested a stop; 0 if there was none. */
  asked: 3,
} as const;

const doings = ["its top level", "getJobs, cursor, onFinish, or a timer of its own"] as const;

/** Makes the memory that the main thread shares with its watchdog. */
export function makeWatch(): Float64Array {
  const slots = Object.keys(watchSlots).length;
  const watch = new Float64Array(new SharedArrayBuffer(slots * Float64Array.BYTES_PER_ELEMENT));
  watch[watchSlots.onStack] = -1;
  watch[watchSlots.onStackJobs] = 1;
  watch[watchSlots.mostMs] = Infinity;
  return watch;
}

/**
 * Time of the lag-adjusted clock, as `LagGuard.time`. Reads `mostMs` before `sleptMs`, and the watchdog writes them in
 * the opposite order, so the result is never ahead by more than a check may be late.
 */
export function awakeMs(watch: Float64Array, nowMs: number): number {
  const mostMs = watch[watchSlots.mostMs]!;
  return Math.min(nowMs - watch[watchSlots.sleptMs]!, mostMs);
}

type WatchdogOptions = Readonly<{
  /** The parent process: this process ends when it does. Undefined if there is none. */
  parentPid?: number;
  /** How to report a blocked event loop on stderr. */
  loop?: Readonly<{ watch: Float64Array; isJson: boolean; isTerminal: boolean }>;
  /** Removed when the parent is gone, if the path still belongs to it. */
  folder?: OwnFile | null | undefined;
  /** From `makeWatch`, in a process that runs handlers. */
  watch?: Float64Array | undefined;
  /** File and byte offset where a long handler call is recorded. */
  record?: Readonly<{ file: OwnFile; offset: number }> | undefined;
}>;

/**
 * Starts a thread that ends this process within a second of its parent's death, even while the main thread loops: it
 * sends SIGKILL to the process group, because nobody is left to report to. The thread's source is a string, because a
 * compiled binary has no file to load it from. The thread also records which job's handler call has been on the stack
 * for about 100 ms, so that a call that never returns can be traced to its job.
 *
 * On Windows the parent's death cannot be seen; there the closed socket ends the process.
 */
export function startWatchdog(options: WatchdogOptions): void {
  // Each thread has its own clock, but all know the time its origin stands for.
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
 * Watches the event loop of a master, which a plugin may block for ever. After 10 s that is reported, and a requested
 * stop still ends within its grace.
 *
 * A signal with a listener normally only wakes the loop. If the loop was blocked for a second, the thread makes the
 * system drop each listener when its signal comes (SA_RESETHAND, through Bun's FFI, on Linux). Then a second signal
 * ends the process at once. The thread sees that a first one came, and sends the second itself when the grace is over.
 * The saved state stays valid. When the loop runs again, everything is restored; whoever handles a signal adds its
 * listener again (`renewListener`). For a signal that was received before the loop was blocked, `stopping` tells the
 * thread, which ends the process in every runtime.
 */
export class LoopWatch {
  readonly #watch = new Float64Array(new SharedArrayBuffer(8 * Object.keys(loopSlots).length));

  readonly #options: Readonly<{ isJson: boolean; isTerminal: boolean }>;

  /** Call before the plugin is loaded. */
  constructor(options: Readonly<{ isJson: boolean; isTerminal: boolean; graceMs: number }>) {
    this.#options = options;
    this.#watch[loopSlots.graceMs] = options.graceMs;
    // In Deno a thread or timer keeps the event loop alive, so a top-level await that never ends would hang for ever.
    if (process.versions.deno === undefined) this.#start();
  }

  /** Call when the plugin is loaded. */
  loaded(graceMs: number): void {
    this.#watch[loopSlots.doing] = 1;
    this.#watch[loopSlots.graceMs] = graceMs;
    if (process.versions.deno !== undefined) this.#start();
  }

  /** This signal was received and stops the run: a loop blocked from now on is tolerated for the grace at most. */
  stopping(signal: number): void {
    this.#watch[loopSlots.asked] = signal;
  }

  #start(): void {
    startWatchdog({ loop: { ...this.#options, watch: this.#watch } });
    const timer = setInterval(() => this.#watch[loopSlots.turns]!++, loopTurnMs);
    (timer as { unref?: () => void }).unref?.();
  }
}

/** How often the event loop reports that it turns. */
const loopTurnMs = 250;

const source = `
const { workerData } = require("node:worker_threads");
const fs = require("node:fs");
const { parentPid, folder, uid, watch, record, slots, loop, loopSlots, doings, clock } = workerData;
let begun = -1;
let fd = -1;
// The path may belong to something else by now.
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
  // With several jobs in the call each is a suspect: the start note lists them all.
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
  // Another process may be writing into the folder right now.
  for (let tries = 0; folder && tries < 5; tries++) {
    try {
      removeFolder();
      break;
    } catch {}
  }
  // Handlers' child processes end too: they are in the group that this process leads, if it leads one.
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
  // The program's own last steps may take a moment, however short the grace is.
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
  // May take two signals: the first one makes the system drop the listener.
  process.kill(process.pid, isForgetful ? name : "SIGKILL");
}
// Checks for a signal that came after its listener was dropped, so that nobody has handled it.
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
