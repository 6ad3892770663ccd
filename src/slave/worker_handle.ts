import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, readSync } from "node:fs";
import type { Alone } from "../core/types.ts";
import { setTimeout } from "../lib/clock.ts";
import type { LogSettings } from "../lib/log.ts";
import { invariant } from "../lib/errors.ts";
import { type OwnFile, readWhole } from "../lib/own_file.ts";
import { intersect, numbersOf, type Ranges, RangeSet, subtract, unite } from "../lib/ranges.ts";
import {
  brokenExitCode,
  cutOffExitCode,
  encodeStart,
  noteFileBytes,
  readNote,
  type StartNote,
} from "../lib/worker_start.ts";
import { makeWorkerSecret } from "../link/local_link.ts";
import { FrameReader } from "../protocol/frames.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/messages.ts";
import { parseWorkerMessage } from "../protocol/parse.ts";
import { childEnvironment, type SpawnCommand } from "./spawn_self.ts";
import { Speed } from "./speed.ts";
import type { WorkerSocket } from "./worker_socket.ts";

/** Jobs that may have been running when the worker that left this note died. */
export function suspectsOf(note: StartNote | null, concurrency: number): Ranges {
  if (note === null) return [];
  const [from, to] = note.ahead;
  if (note.onStack === null) return unite(note.running, from < to ? [from, to] : []);
  const onStack = [note.onStack, note.onStack + 1];
  // One at a time: those before the one on the stack have ended.
  if (concurrency === 1) return onStack;
  const before = note.onStack >= from && note.onStack < to ? [from, note.onStack + 1] : onStack;
  return unite(note.running, before);
}

/**
 * Jobs that had ended in a worker that died before it said how: it begins jobs in order, so they are those before what
 * its note names. They are run again.
 *
 * @param unanswered Jobs of its slices, in the order in which it got them.
 */
export function endedOf(
  note: StartNote | null,
  concurrency: number,
  suspects: Ranges,
  unanswered: readonly Ranges[],
): Ranges {
  if (note === null) return [];
  const [from, to] = note.ahead;
  const next = concurrency === 1 && note.onStack !== null ? note.onStack : from;
  const named = unite(note.running, [next, Math.max(to, next + 1)]);
  const at = unanswered.findLastIndex((jobs) => intersect(named, jobs).length > 0);
  if (at < 0) return [];
  const before = unanswered.slice(0, at).reduce<Ranges>(unite, []);
  return subtract(unite(before, intersect(unanswered[at]!, [0, next])), suspects);
}

/** Most ranges of jobs remembered; beyond it all are forgotten. */
const rememberedMax = 4_096;

/**
 * Deaths that nobody is suspected of: the worker died before it noted what it began, or its note was overwritten, or
 * what it sent was refused once its jobs had ended. The first such death says nothing of a job that waited there. One that
 * was there twice is suspect: so whatever ends workers is found, and no worker is replaced for it for ever.
 */
export class UnexplainedDeaths {
  readonly #met = new RangeSet();

  /**
   * Who is suspect of a worker's death: those that its note names, unless all of them were answered.
   *
   * @param unanswered Jobs of its slices, in the order in which it got them: it begins with the first slice.
   */
  explain(noted: Ranges, unanswered: readonly Ranges[]): Ranges {
    const first = unanswered[0];
    if (first === undefined || unanswered.some((jobs) => intersect(noted, jobs).length > 0)) return noted;
    const again = intersect(first, this.#met.ranges);
    if (this.#met.ranges.length > 2 * rememberedMax) this.#met.clear();
    this.#met.addAll(first);
    return again;
  }
}

/** How a process died, in words. */
export function deathReason(code: number | null, signal: string | null): string {
  if (signal !== null) return `killed by ${signal}`;
  // A worker that fails says why: unless that failed too.
  const more = code === brokenExitCode
    ? ", or changed built-in objects, such as Array.prototype, so that the worker itself failed"
    : "";
  return `handler exited (${code})${more}`;
}

/** Why a worker is killed: it is charged with the timeout of some jobs, or each of several suspects is to run alone. */
export type Verdict = Readonly<{ timedOut: Ranges; suspects: Ranges; reason: string }>;

/** What the supervisor needs of a worker's process. */
interface HandledProcess {
  readonly pid: number;
  readonly isCongested: boolean;
  /** It can note what it begins. */
  readonly hasNotes: boolean;
  send(message: SupervisorMessage): void;
  kill(): void;
  readNote(): StartNote | null;
}

/**
 * One worker as its supervisor sees it, from spawn to death; a replacement is another one.
 *
 *     STARTING -- loaded --> LOADED -- setup --> PREPARING -- prepared --> READY
 *         '---------------------'------------------'----------------------'----- quit --> LEAVING
 *
 * A worker takes jobs only when it is READY, has no overdue job, and is neither sick nor condemned.
 */
class Handle {
  readonly id: number;
  readonly process: HandledProcess;
  readonly #speed = new Speed();
  state: "starting" | "loaded" | "preparing" | "ready" | "leaving" = "starting";
  /** Since when the worker is in this state. */
  sinceMs: number;
  /** The runtime that runs the worker, with its version. */
  runtime = "";
  /** Jobs that run in it at once. Valid once it was told to set up. */
  concurrency = 1;
  /** The worker was told to quit when it was ready, so what its jobs left behind may still go on in it. */
  mayRest = false;
  /** How long what its jobs left behind may go on after it was told to quit. */
  restMs = 0;
  /** Jobs given and not ended, also those whose lease is lost. */
  held = 0;
  /** Whether the worker runs a job that wants the worker, or the slave, for itself. */
  alone: Alone = "no";
  /** What the worker said last of an error outside of a job, or of a plugin that does not load. */
  lastSentence: string | null = null;
  /** The plugin does not load in it, or `setup` threw. */
  isUnloadable = false;
  /** The worker found other plugin code than the first worker did, and ran none of it. */
  isChanged = false;
  /** The worker has ended a job. */
  hasAnswered = false;
  heardAtMs: number;
  /** When the worker last ended a job, or was given one while it had none. */
  movedAtMs: number;
  /** The worker was asked for the jobs that it had not begun, because it was stuck, and has not moved since. */
  isWithdrawn = false;
  /** Probes in a row that failed in it: what `setup` opened may be broken. */
  failedProbes = 0;
  /** Why the worker gets no more jobs and is replaced once it runs none; null if it is well. */
  sickness: string | null = null;
  /** Jobs that ran into the timeout, and since when. */
  overdue: ReadonlyMap<number, number> = new Map();
  /** Why its supervisor killed it; null if it did not. */
  verdict: Verdict | null = null;

  constructor(id: number, process: HandledProcess, nowMs: number) {
    this.id = id;
    this.process = process;
    this.sinceMs = this.heardAtMs = this.movedAtMs = nowMs;
  }

  get takesJobs(): boolean {
    return this.state === "ready" && this.overdue.size === 0 && this.verdict === null &&
      this.sickness === null;
  }

  /** Jobs a millisecond. */
  perMs(nowMs: number): number {
    return this.#speed.perMs(this.held > 0 ? nowMs - this.movedAtMs : 0);
  }

  heard(nowMs: number): void {
    this.heardAtMs = nowMs;
  }

  greeted(runtime: string): void {
    this.runtime = runtime;
  }

  /** The worker loaded the plugin. Returns false if that does not matter any more: it was told to quit. */
  loaded(nowMs: number): boolean {
    return this.#enter("starting", "loaded", nowMs);
  }

  /** Tells a worker that loaded the plugin to set up, and one that did so before of another timeout. */
  setUp(setup: Extract<SupervisorMessage, { kind: "setup" }>, nowMs: number): void {
    if (this.state === "starting" || this.state === "leaving") return;
    this.#enter("loaded", "preparing", nowMs);
    this.concurrency = setup.concurrency;
    this.process.send(setup);
  }

  /** `setup` ended well. Returns false if that does not matter any more: the worker was told to quit. */
  prepared(nowMs: number): boolean {
    return this.#enter("preparing", "ready", nowMs);
  }

  /** Tells the worker to quit, and to wait at most `waitMs` for what its jobs left behind. */
  quit(waitMs: number, nowMs: number): void {
    this.process.send({ kind: "quit", waitMs: Math.floor(waitMs), isSick: this.sickness !== null });
    this.mayRest = this.state === "ready";
    this.restMs = waitMs;
    this.#enter(this.state, "leaving", nowMs);
  }

  /** Nothing goes on any more in a worker that was told to quit. */
  rested(): void {
    this.mayRest = false;
  }

  #enter(from: Handle["state"], to: Handle["state"], nowMs: number): boolean {
    if (this.state !== from) return false;
    this.state = to;
    this.sinceMs = nowMs;
    return true;
  }

  /** The worker was given a slice of so many jobs. */
  give(jobs: number, alone: Alone, nowMs: number): void {
    invariant(this.takesJobs, "Cannot give jobs to a worker: it takes none");
    invariant(alone === "no" || this.held === 0, "Cannot give a worker a job alone: it runs others");
    if (this.held === 0) this.movedAtMs = nowMs;
    this.held += jobs;
    this.alone = alone;
  }

  /** So many jobs left the worker: `ended` of them were run, in `busyMs`; the others it had not begun. */
  answered(jobs: number, ended: number, busyMs: number, nowMs: number): void {
    this.held -= jobs;
    invariant(this.held >= 0, "Cannot take jobs from a worker: it has fewer");
    if (this.held === 0) this.alone = "no";
    if (ended > 0 || this.held === 0) {
      this.movedAtMs = nowMs;
      this.isWithdrawn = false;
    }
    if (ended > 0) {
      this.hasAnswered = true;
      this.#speed.observe(ended, busyMs);
    }
  }

  /** Asks for the jobs that the worker has not begun. */
  withdraw(): void {
    if (this.held > 0) this.process.send({ kind: "withdraw" });
  }

  /** Asks a stuck worker for the jobs that it has not begun. Until it moves it gets no more than it runs at once. */
  rescue(): void {
    this.isWithdrawn = true;
    this.withdraw();
  }

  setOverdue(jobs: Ranges, nowMs: number): void {
    const overdue = new Map<number, number>();
    for (const seq of numbersOf(jobs)) overdue.set(seq, this.overdue.get(seq) ?? nowMs);
    this.overdue = overdue;
  }

  /** Something threw outside of a job, or the plugin is unloadable. */
  broke(sentence: string, isUnloadable: boolean): void {
    this.lastSentence = sentence;
    this.isUnloadable ||= isUnloadable;
  }

  /** The worker refused the plugin, whose code is other than that of the first worker. */
  changed(): void {
    this.isChanged = true;
  }

  /** A job succeeded in it. */
  succeeded(): void {
    this.failedProbes = 0;
  }

  /** A probe failed in it. */
  failedProbe(): void {
    this.failedProbes++;
  }

  /** From now on the worker gets no jobs, and hands back what it has not begun. */
  fallSick(reason: string): void {
    this.sickness = reason;
    this.withdraw();
  }

  /** Kills the worker. */
  condemn(verdict: Verdict): void {
    invariant(this.verdict === null, "Cannot condemn a worker: it is condemned already");
    this.verdict = verdict;
    this.process.kill();
  }
}

/** Only the methods of a handle change its fields: the compiler refuses all else. */
export type WorkerHandle = Readonly<Handle>;
export const WorkerHandle: new (id: number, process: HandledProcess, nowMs: number) => WorkerHandle = Handle;

/** After its process ended, how long a worker's socket may still hold bytes of it. */
const lateBytesMs = 2_000;
/** After its socket ended, how long its process may take to. */
const lateExitMs = 2_000;

/** How to start a worker, whichever it is. */
export type Launch = Readonly<{
  command: SpawnCommand;
  /** Added to its environment, and to that of what its handlers start. */
  env: Readonly<Record<string, string>>;
  log: LogSettings | null;
}>;

/**
 * The supervisor's end of a worker's connection. Its `tick` is never called: a worker that takes no bytes is busy
 * with a handler, not gone.
 */
interface WorkerChannel {
  send(message: SupervisorMessage): void;
  close(reason: string): unknown;
  readonly isCongested: boolean;
  readonly hasRefused: boolean;
  onMessage: (message: WorkerMessage) => void;
  onHeard: () => void;
  onClose: (reason: string) => void;
}

/**
 * `hasNotes`: it could note what it began, so a null note means that nothing began. `isKilled`: its supervisor ended it.
 */
export type Death = Readonly<{
  reason: string;
  note: StartNote | null;
  hasNotes: boolean;
  isKilled: boolean;
}>;

type WorkerHooks = Readonly<{
  onMessage: (message: WorkerMessage) => void;
  onHeard: () => void;
  /** The last call: its process ended, and all it ever said was passed on. */
  onDied: (death: Death) => void;
}>;

/**
 * One worker process, from spawn to death.
 *
 *     SPAWNED -- hello --> CONNECTED
 *        '---------------------'------- exit, and end of its socket ---> DEAD
 *
 * The process leads a group of its own. What it said before it died is read to the end before the death is told: answers in its socket, then its last words.
 */
export class WorkerProcess {
  readonly id: number;
  readonly hasNotes: boolean;
  readonly secret: Uint8Array = makeWorkerSecret();
  readonly #child: ChildProcess;
  readonly #hooks: WorkerHooks;
  /** Open from before it starts: who takes the folder over later changes nothing in them. */
  #noteFd = -1;
  #lastFd = -1;
  #link: WorkerChannel | null = null;
  #isLinkClosed = false;
  /** Why its connection ended before its process did, in words; null if it did not. */
  #cutOff: string | null = null;
  /** It is killed because its connection ended. */
  #isUseless = false;
  #exit: string | null = null;
  #isKilled = false;
  #isDead = false;
  /** Resolves when it is dead. */
  readonly dead: Promise<void>;
  #resolveDead: () => void = () => {};

  /** @throws {Error} if no note can be written: the folder is gone, another one is in its place, or its disk is full. */
  constructor(
    id: number,
    workerSocket: WorkerSocket,
    launch: Launch,
    hooks: WorkerHooks,
  ) {
    this.id = id;
    this.#hooks = hooks;
    this.dead = new Promise((resolve) => this.#resolveDead = resolve);
    const [note, last] = this.#makeFiles(workerSocket);
    this.hasNotes = note !== null;
    this.#child = this.#spawn(launch);
    const { address, socket, folder } = workerSocket;
    this.#tell(
      encodeStart({ address, worker: id, secret: this.secret, socket, folder, note, last, log: launch.log }),
    );
    this.#child.once("error", (error) => this.#exited(`cannot be started: ${error.message}`));
    this.#child.once("exit", (code, signal) => {
      if (code === cutOffExitCode) this.#cutOff ??= "its connection to the supervisor ended while it ran";
      const isByItself = !this.#isUseless && code !== cutOffExitCode;
      this.#exited(isByItself ? deathReason(code, signal) : this.#cutOff!);
    });
  }

  #spawn({ command: { command, args }, env }: Launch): ChildProcess {
    try {
      return spawn(command, [...args], {
        // A process group of its own: Ctrl-C reaches the whole foreground group.
        detached: true,
        // Whatever a plugin prints goes to stderr; stdout is for events.
        stdio: ["pipe", 2, 2],
        windowsHide: true,
        env: childEnvironment("worker", env),
      });
    } catch (error) {
      this.#closeFiles();
      throw error;
    }
  }

  /** For its notes and its last words. */
  #makeFiles(workerSocket: WorkerSocket): readonly [note: OwnFile | null, last: OwnFile | null] {
    const note = workerSocket.makeFile(this.id, "note", noteFileBytes);
    if (note === null) return [null, null];
    this.#noteFd = note.fd;
    try {
      const last = workerSocket.makeFile(this.id, "last", 0)!;
      this.#lastFd = last.fd;
      return [note.file, last.file];
    } catch (error) {
      this.#closeFiles();
      throw error;
    }
  }

  /** What it must know reaches it alone; its standard input ends behind that. */
  #tell(start: string): void {
    const { stdin } = this.#child;
    // It may be dead already, or never have been started.
    stdin?.on("error", () => {});
    stdin?.end(start);
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  get wasConnected(): boolean {
    return this.#link !== null;
  }

  get isConnected(): boolean {
    return this.#link !== null && !this.#isLinkClosed;
  }

  /** It takes bytes as fast as it is given them. */
  get isCongested(): boolean {
    return !this.isConnected || this.#link!.isCongested;
  }

  /** Its hello came over this link. */
  connected(link: WorkerChannel): void {
    this.#link = link;
    link.onHeard = () => this.#hooks.onHeard();
    link.onMessage = (message) => this.#hooks.onMessage(message);
    link.onClose = (reason) => {
      this.#isLinkClosed = true;
      if (this.#exit !== null) return this.#died();
      this.#cutOff = link.hasRefused
        ? `what it sent was refused: ${reason}`
        : `its connection to the supervisor ended while it ran, as if a handler had closed it (${reason})`;
      this.#isUseless = link.hasRefused;
      // It is exiting, most likely, and how is worth knowing; a process without its socket is of no use otherwise.
      setTimeout(() => {
        this.#isUseless = true;
        this.kill();
      }, lateExitMs).unref();
    };
  }

  send(message: SupervisorMessage): void {
    if (this.isConnected) this.#link!.send(message);
  }

  /** With all that its handlers started, unless that has left its process group. */
  kill(): void {
    if (this.#exit !== null) return;
    this.#isKilled = true;
    try {
      // There is a group of that number only if the worker leads it.
      if (this.pid > 0) process.kill(-this.pid, "SIGKILL");
    } catch {
      // It leads none; and there are none on Windows.
    }
    this.#child.kill("SIGKILL");
  }

  /** What may be running in it; of a process that lives on, a glance. */
  readNote(): StartNote | null {
    if (this.#noteFd < 0) return null;
    return readNote((offset, length) => {
      const bytes = new Uint8Array(length);
      readSync(this.#noteFd, bytes, 0, length, offset);
      return bytes;
    });
  }

  #exited(reason: string): void {
    if (this.#exit !== null) return;
    this.#exit = reason;
    if (this.#link === null || this.#isLinkClosed) this.#died();
    else setTimeout(() => this.#died(), lateBytesMs).unref();
  }

  #died(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    if (this.#link !== null && !this.#isLinkClosed) void this.#link.close("its process ended");
    for (const message of this.#lastWords()) this.#hooks.onMessage(message);
    const note = this.readNote();
    this.#closeFiles();
    const isKilled = this.#isKilled;
    this.#hooks.onDied({ reason: this.#exit!, note, hasNotes: this.hasNotes, isKilled });
    this.#resolveDead();
  }

  /** What a process that exited by itself had not yet written to its socket. */
  #lastWords(): WorkerMessage[] {
    if (this.#lastFd < 0) return [];
    const words: WorkerMessage[] = [];
    try {
      for (const body of new FrameReader().push(readWhole(this.#lastFd))) {
        words.push(parseWorkerMessage(body));
      }
    } catch {
      // Death cut it short: what is not said counts as not answered.
    }
    return words;
  }

  #closeFiles(): void {
    for (const fd of [this.#noteFd, this.#lastFd]) if (fd >= 0) closeSync(fd);
    this.#noteFd = this.#lastFd = -1;
  }
}
