import { closeSync, fstatSync, openSync, writeSync } from "node:fs";
import { constants, devNull } from "node:os";
import { holdNextTick } from "./clock.ts";
import { reported } from "./text.ts";

/** What ends the process although the program has not ended. */
export type EarlyEnd = Readonly<{
  /** As a subject: `process.exit(0)`, `an empty event loop`. */
  how: string;
  /** `file:line:column` of the call, where the stack tells. */
  where: string | undefined;
  /** The exit code that was asked for; undefined if none was. */
  code: number | undefined;
}>;

/**
 * Says why the process ends: synchronously, since nothing else of it runs any more. Returns what it exits with.
 */
type LastWord = (end: EarlyEnd) => number;

/** `signals`: whether the process may send itself signals that end it. A worker may: they cost its job, as a crash does. */
type GuardOptions = Readonly<{ signals: "seen" | "sent" }>;

type Listener = (...values: unknown[]) => void;
type Exits = Record<"exit" | "reallyExit" | "abort" | "kill" | "_kill" | "execve", Listener>;

/** The parts of `process` that end it; which of them there are depends on the runtime. */
const exits = process as unknown as Exits & { _exiting?: boolean };
const deno = (globalThis as { Deno?: { exit: Listener; kill: Listener } }).Deno;
/** As they were before any plugin was loaded. */
const real = pick(exits, ["exit", "reallyExit", "abort", "kill", "_kill", "execve"]);
const realDeno = deno && { exit: deno.exit, kill: deno.kill };
const remove = { off: process.off, removeListener: process.removeListener };
const removeAll = process.removeAllListeners;
const setCapture = process.setUncaughtExceptionCaptureCallback;
const write = writeSync;

/** Signals that end no process by themselves. */
const harmless: ReadonlySet<string> = new Set(
  ["SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"],
);

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

let lastWord: LastWord | null = null;
let goesOn: () => boolean = () => false;
let letGoOfNextTick = () => {};
/** What the program exits with, once it has ended. */
let endCode: number | null = null;
/** What the process exits with, once it does. */
let leaveCode: number | null = null;
/** Listeners of this program that nobody may take away. */
const kept: [event: string, listener: Listener][] = [];
/** Those of the runtime itself: without them, Node hears no signal. */
let runtimes: [event: string, listener: Listener][] = [];

/**
 * From now on the process exits with 0 only if `endProcess` says so. Whatever else ends it, such as `process.exit()` in
 * a plugin, or an event loop with nothing left to wait for, first has `word` say its last word. Call this
 * before any code of a plugin is loaded.
 *
 *     OFF -- guardExits --> GUARDING -- programEnded(code) --> ENDED: any exit is with this code
 *      '---- releaseExits ----'
 *
 * Not seen are SIGKILL from outside, a crash of the runtime, and what a plugin does by machine code.
 */
export function guardExits(word: LastWord, options: GuardOptions = { signals: "seen" }): void {
  const isFirst = lastWord === null;
  lastWord = word;
  if (!isFirst) return;
  process.exitCode = 1;
  replaceExits();
  if (options.signals === "seen") replaceSignals();
  replaceRemovals();
  replaceCapture();
  letGoOfNextTick = holdNextTick();
  keepListener("beforeExit", onEmpty);
  keepListener("exit", onExit);
}

/** Another one says the last word from now on: it knows more. */
export function changeLastWord(word: LastWord): void {
  if (lastWord !== null) lastWord = word;
}

/** The program has ended: what still happens in this process changes its exit code no more. */
export function programEnded(code: number): void {
  endCode ??= code;
}

/** Ends the process: the program's own way. Listeners to `exit` are called, and change nothing. */
export function endProcess(code: number): never {
  programEnded(code);
  return leave(endCode!);
}

/** Takes the guard off again, for a program that goes on when ours has ended. */
export function releaseExits(): void {
  if (lastWord === null) return;
  lastWord = null;
  process.exitCode = undefined;
  Object.assign(process, real);
  if (deno !== undefined) Object.assign(deno, realDeno);
  for (const name of ["off", "removeListener", "removeAllListeners"]) Reflect.deleteProperty(process, name);
  process.setUncaughtExceptionCaptureCallback = setCapture;
  letGoOfNextTick();
  for (const [event, listener] of kept.splice(0)) process.off(event, listener);
}

/** Listens to an event of `process`, also after a plugin took all listeners away. */
export function keepListener(event: string, listener: Listener): void {
  process.prependListener(event as "exit", listener);
  if (lastWord !== null) kept.push([event, listener]);
}

/**
 * Listens anew to what is listened to already: the system may have forgotten a signal's handler as it came. Only under
 * Bun, where the watchdog has it do so; in Deno a listener that is added by one hears the same signal again, for ever.
 */
export function renewListener(event: string, listener: Listener): void {
  if (process.versions.bun === undefined) return;
  remove.off.call(process, event, listener);
  process.prependListener(event as "exit", listener);
}

/** Writes to a file at once; what cannot be written within a second is lost. */
export function writeNow(fd: 1 | 2, text: string): void {
  let rest: Uint8Array = Buffer.from(text);
  for (let tries = 0; rest.length > 0 && tries < 100;) {
    try {
      rest = rest.subarray(write(fd, rest));
    } catch (error) {
      // A pipe whose reader is slow; of any other fault there is nobody left to tell.
      if ((error as { code?: unknown }).code !== "EAGAIN") return;
      tries++;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

/**
 * A plugin may have closed stdout or stderr. The next file or socket to be opened would get that number (and keep it in
 * Bun, which never closes these), and what is printed would be written into it, be it the state: the null device takes it
 * instead. To be called before files are opened.
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

/** The one that captures uncaught exceptions keeps them from all listeners: it becomes a listener like any other. */
function replaceCapture(): void {
  let captures: ((error: Error) => void) | null = null;
  process.setUncaughtExceptionCaptureCallback = (callback) => {
    if (captures !== null) process.off("uncaughtException", captures);
    captures = callback;
    if (callback !== null) process.on("uncaughtException", callback);
  };
}

/** Listeners that a plugin took away are there again. */
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

/** A signal to this process itself, or its group, that nothing here listens to ends it. To others it is sent as ever. */
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

/** The runtime exits: told to by a name of `exit` that was taken before the guard, or with nothing left to do. */
function onExit(code: unknown): void {
  if (leaveCode === null) early({ how: `an exit with code ${code}`, from: onExit, code });
}

/**
 * From now on this is asked first when nothing is left to wait for. It returns true if it has begun something, so that the
 * process goes on.
 */
export function askWhenEmpty(ask: () => boolean): void {
  goesOn = ask;
}

function onEmpty(): void {
  if (goesOn()) return;
  early({ how: "an empty event loop", from: onEmpty, code: undefined });
}

type Exiting = Readonly<{
  how: string;
  /** Was called to end the process. */
  from: Listener;
  code: unknown;
  /** Done when all else is. */
  last?: () => void;
}>;

function early({ how, from, code, last }: Exiting): never {
  if (endCode === null && leaveCode === null && lastWord !== null) {
    const word = lastWord;
    // Whatever goes wrong from here on, it is no success.
    leaveCode = 1;
    try {
      leaveCode = word({ how, where: callerOf(from), code: typeof code === "number" ? code : undefined });
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
  // Deno's `reallyExit` calls `Deno.exit`, which is replaced.
  if (realDeno !== undefined) realDeno.exit(leaveCode);
  real.reallyExit!.call(process, leaveCode);
  throw new Error("Cannot be reached: the process has exited");
}

/** Calls who listens to the end of the process. What they do, throw or exit with changes nothing any more. */
function listenersTo(code: number): void {
  try {
    exits._exiting = true;
  } catch {
    // Some runtime may not let it be set; it is a courtesy to libraries.
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

/** Where a function was called from, as far as the stack tells: the first place that is no part of this program. */
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
    // A plugin may have replaced what makes stacks.
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
