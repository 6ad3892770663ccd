import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import { constants, devNull } from "node:os";
import { holdNextTick } from "./clock.ts";
import { reported } from "./text.ts";

/** An attempt to end the process before the program has ended. */
export type EarlyEnd = Readonly<{
  /** What ends it, as the subject of a sentence: `process.exit(0)`, `an empty event loop`. */
  how: string;
  /** `file:line:column` of the call, if the stack shows it. */
  where: string | undefined;
  /** The requested exit code; undefined if there was none. */
  code: number | undefined;
}>;

/** Reports why the process ends and returns its exit code. Must be synchronous: nothing else runs afterwards. */
type ReportEarlyEnd = (end: EarlyEnd) => number;

/**
 * `signals`: `sent` if the process may send itself deadly signals. A worker may: that costs its job, like any crash.
 */
type GuardOptions = Readonly<{ signals: "seen" | "sent" }>;

type Listener = (...values: unknown[]) => void;
type Exits = Record<"exit" | "reallyExit" | "abort" | "kill" | "_kill" | "execve", Listener>;

/** The functions of `process` that can end it; which of them exist depends on the runtime. */
const exits = process as unknown as Exits & { _exiting?: boolean };
const deno = (globalThis as { Deno?: { exit: Listener; kill: Listener } }).Deno;
/** The originals, saved before any plugin was loaded. */
const real = pick(exits, ["exit", "reallyExit", "abort", "kill", "_kill", "execve"]);
const realDeno = deno && { exit: deno.exit, kill: deno.kill };
const remove = { off: process.off, removeListener: process.removeListener };
const removeAll = process.removeAllListeners;
const setCapture = process.setUncaughtExceptionCaptureCallback;
const write = writeSync;

/** Signals that do not end a process by default. */
const harmless: ReadonlySet<string> = new Set(
  ["SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"],
);

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

let reportEarlyEnd: ReportEarlyEnd | null = null;
let tryToGoOn: () => boolean = () => false;
let releaseNextTick = () => {};
/** Exit code of the program, once it has ended. */
let endCode: number | null = null;
/** Exit code of the process, once it is exiting. */
let leaveCode: number | null = null;
/** Listeners of this program, which no plugin may remove. */
const kept: [event: string, listener: Listener][] = [];
/** Listeners of the runtime itself: without them Node receives no signals. */
let runtimes: [event: string, listener: Listener][] = [];

/**
 * Guards the exit of the process: from now on it exits with 0 only after `endProcess` or `programEnded`. Anything else
 * that ends it, such as `process.exit()` in a plugin or an empty event loop, first calls `report`. Call this before any
 * code of a plugin is loaded.
 *
 *     OFF -- guardExits --> GUARDING -- programEnded(code) --> ENDED: any exit is with this code
 *      '---- releaseExits ----'
 *
 * Not covered: SIGKILL from outside, a crash of the runtime, and native code of a plugin.
 */
export function guardExits(report: ReportEarlyEnd, options: GuardOptions = { signals: "seen" }): void {
  const isFirst = reportEarlyEnd === null;
  reportEarlyEnd = report;
  if (!isFirst) return;
  process.exitCode = 1;
  replaceExits();
  if (options.signals === "seen") replaceSignals();
  replaceRemovals();
  replaceCapture();
  releaseNextTick = holdNextTick();
  keepListener("beforeExit", onEmpty);
  keepListener("exit", onExit);
}

/** Replaces the function that reports an early end, once more is known. */
export function replaceEarlyEndReport(report: ReportEarlyEnd): void {
  if (reportEarlyEnd !== null) reportEarlyEnd = report;
}

/** The program has ended with this exit code: nothing that happens later in this process can change it. */
export function programEnded(code: number): void {
  endCode ??= code;
}

/** Ends the process as the program intends. `exit` listeners are called but cannot change the code. */
export function endProcess(code: number): never {
  programEnded(code);
  return leave(endCode!);
}

/** Removes the guard, for a host program that goes on after ours has ended. */
export function releaseExits(): void {
  if (reportEarlyEnd === null) return;
  reportEarlyEnd = null;
  process.exitCode = undefined;
  Object.assign(process, real);
  if (deno !== undefined) Object.assign(deno, realDeno);
  for (const name of ["off", "removeListener", "removeAllListeners"]) Reflect.deleteProperty(process, name);
  process.setUncaughtExceptionCaptureCallback = setCapture;
  releaseNextTick();
  for (const [event, listener] of kept.splice(0)) process.off(event, listener);
}

/** Adds a listener to `process` that is restored if a plugin removes all listeners. */
export function keepListener(event: string, listener: Listener): void {
  process.prependListener(event as "exit", listener);
  if (reportEarlyEnd !== null) kept.push([event, listener]);
}

/**
 * Adds a listener again, because the system may have dropped the signal's handler when it came. Only under Bun, where
 * `LoopWatch` causes that. In Deno, a listener added while the signal is handled would receive the same signal again,
 * endlessly.
 */
export function renewListener(event: string, listener: Listener): void {
  if (process.versions.bun === undefined) return;
  remove.off.call(process, event, listener);
  process.prependListener(event as "exit", listener);
}

/** Writes to a file descriptor synchronously; what cannot be written within a second is lost. */
export function writeNow(fd: 1 | 2, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  for (let tries = 0; rest.length > 0 && tries < 100;) {
    try {
      rest = rest.subarray(write(fd, rest));
    } catch (error) {
      // A pipe with a slow reader: try again. Any other error cannot be reported to anyone.
      if ((error as { code?: unknown }).code !== "EAGAIN") return;
      tries++;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/**
 * Opens the null device for each standard stream that a plugin closed. Otherwise the next file or socket to be opened
 * would get that number, and whatever is printed would be written into it, even into the state file (Bun never closes
 * these numbers). Call this before files are opened.
 */
export function holdStandardFiles(): void {
  if (process.platform === "win32" || [0, 1, 2].every(isOpen)) return;
  for (;;) {
    const fd = openSync(devNull, "r+");
    if (fd > 2) return closeSync(fd);
  }
}

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
}

function replaceExits(): void {
  replace("exit", (code) => `process.exit(${shown(code)})`);
  replace("reallyExit", (code) => `process.reallyExit(${shown(code)})`);
  replace("execve", (file) => `process.execve(${shown(file)})`);
  if (deno === undefined) return;
  deno.exit = function exit(code) {
    early({ how: `Deno.exit(${shown(code)})`, from: exit, code });
  };
}

function replaceSignals(): void {
  replace("abort", () => "process.abort()");
  replaceKill(exits, "kill", "process.kill");
  replaceKill(exits, "_kill", "process._kill");
  if (deno !== undefined) replaceKill(deno, "kill", "Deno.kill");
}

function replaceRemovals(): void {
  runtimes = ["newListener", "removeListener"].flatMap((event) =>
    process.rawListeners(event as "exit").map((listener): [string, Listener] => [event, listener as Listener])
  );
  for (const name of ["off", "removeListener"] as const) {
    process[name] = function (this: NodeJS.Process, ...args: Parameters<typeof process.off>) {
      remove[name].apply(this, args);
      return restored(this);
    };
  }
  process.removeAllListeners = function (this: NodeJS.Process, ...args: [string?]) {
    removeAll.apply(this, args);
    return restored(this);
  } as typeof process.removeAllListeners;
}

/**
 * Turns the capture callback for uncaught exceptions into a normal listener: it would keep them from all other
 * listeners.
 */
function replaceCapture(): void {
  let captures: ((error: Error) => void) | null = null;
  process.setUncaughtExceptionCaptureCallback = (callback) => {
    if (captures !== null) process.off("uncaughtException", captures);
    captures = callback;
    if (callback !== null) process.on("uncaughtException", callback);
  };
}

/** Adds the kept listeners again that a plugin removed. */
function restored(of: NodeJS.Process): NodeJS.Process {
  for (const [event, listener] of [...runtimes, ...kept]) {
    if (!of.listeners(event as "exit").includes(listener)) of.prependListener(event as "exit", listener);
  }
  return of;
}

function replace(name: "exit" | "reallyExit" | "abort" | "execve", how: (value: unknown) => string): void {
  if (real[name] === undefined) return;
  exits[name] = function ended(value: unknown): void {
    early({ how: how(value), from: ended, code: name.endsWith("xit") ? value : undefined });
  };
}

/**
 * Intercepts deadly signals to this process or its group that have no listener here. Signals to others are sent as
 * usual.
 */
function replaceKill<Name extends "kill" | "_kill">(
  owner: Partial<Record<Name, Listener>>,
  name: Name,
  words: string,
): void {
  const send = owner[name];
  if (send === undefined) return;
  const self = process.pid;
  owner[name] = function kill(this: unknown, pid: unknown, ...rest: unknown[]): unknown {
    const signal = rest[0] ?? "SIGTERM";
    const isGroup = pid === 0 || pid === -self;
    if ((pid !== self && !isGroup) || !isDeadly(signal)) return send.call(this, pid, ...rest);
    const how = `${words}(${isGroup ? pid : "process.pid"}, ${shown(signal)})`;
    return early({ how, from: kill, code: undefined, last: () => isGroup && send.call(this, pid, ...rest) });
  };
}

function isDeadly(signal: unknown): boolean {
  if (signal === 0) return false;
  const name = typeof signal === "number" ? signalNames.get(signal) ?? "" : String(signal);
  if (name === "SIGKILL") return true;
  return /^SIG[A-Z0-9]+$/.test(name) && !harmless.has(name) && process.listenerCount(name) === 0;
}

/** The runtime exits, by a reference to `exit` taken before the guard was set, or with an empty event loop. */
function onExit(code: unknown): void {
  if (leaveCode === null) early({ how: `an exit with code ${code}`, from: onExit, code });
}

/**
 * Sets a function to call when the event loop is empty. If it returns true it has started something, and the process
 * goes on.
 */
export function askWhenEmpty(ask: () => boolean): void {
  tryToGoOn = ask;
}

function onEmpty(): void {
  if (tryToGoOn()) return;
  early({ how: "an empty event loop", from: onEmpty, code: undefined });
}

type Exiting = Readonly<{
  how: string;
  /** The function that was called to end the process. */
  from: Listener;
  code: unknown;
  /** Called after everything else. */
  last?: () => void;
}>;

function early({ how, from, code, last }: Exiting): never {
  if (endCode === null && leaveCode === null && reportEarlyEnd !== null) {
    const report = reportEarlyEnd;
    // If the report itself fails, the exit code must not be 0.
    leaveCode = 1;
    try {
      leaveCode = report({ how, where: callerOf(from), code: typeof code === "number" ? code : undefined });
    } catch (error) {
      writeNow(2, reported(`${how} ended the process (${String(error)})`));
    }
    listenersTo(leaveCode);
    last?.();
  }
  return leave(leaveCode ?? endCode ?? 1);
}

function leave(code: number): never {
  if (leaveCode === null) {
    leaveCode = code;
    listenersTo(code);
  }
  // Deno's `reallyExit` would call `Deno.exit`, which is replaced.
  if (realDeno !== undefined) realDeno.exit(leaveCode);
  real.reallyExit!.call(process, leaveCode);
  throw new Error("Cannot be reached: the process has exited");
}

/** Calls the `exit` listeners. They can no longer change how the process ends. */
function listenersTo(code: number): void {
  try {
    exits._exiting = true;
  } catch {
    // Not writable in some runtimes; libraries only use it as a hint.
  }
  for (const listener of process.rawListeners("exit")) {
    if (listener === onExit) continue;
    try {
      listener.call(process, code);
    } catch (error) {
      const text = error instanceof Error ? error.stack ?? error.message : String(error);
      writeNow(2, reported(`a listener to the end of the process threw, which changes nothing: ${text}`));
    }
  }
}

/** Where a function was called from, if the stack shows it: the first place outside this program. */
function callerOf(callee: Listener): string | undefined {
  try {
    const holder: { stack?: unknown } = {};
    Error.captureStackTrace(holder, callee);
    for (const line of String(holder.stack).split("\n")) {
      if (/\bnode:|\bext:|\bnative:|\$bunfs|~BUN|\bexit_guard\.ts\b/.test(line)) continue;
      const place = /(?:\(|\bat (?:async )?)(?:file:\/\/)?((?:\/|[A-Za-z]:[\\/])[^()]*:\d+(?::\d+)?)\)?$/
        .exec(line);
      if (place !== null) return place[1];
    }
  } catch {
    // A plugin may have replaced `Error.captureStackTrace`.
  }
  return undefined;
}

function shown(value: unknown): string {
  if (value === undefined) return "";
  return typeof value === "string" ? JSON.stringify(value.slice(0, 100)) : String(value);
}

function pick<Name extends keyof Exits>(from: Exits, names: readonly Name[]): Partial<Pick<Exits, Name>> {
  return Object.fromEntries(
    names.filter((name) => typeof from[name] === "function").map((name) => [name, from[name]]),
  ) as Partial<Pick<Exits, Name>>;
}
