import { setTimeout } from "../base/clock.ts";
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, readSync } from "node:fs";
import { type OwnFile, readWhole } from "../base/own_file.ts";
import { noteFileBytes, readNote, type StartNote } from "../base/start_note.ts";
import { makeWorkerSecret } from "../link/local_link.ts";
import { FrameReader } from "../protocol/frames.ts";
import { parseWorkerMessage } from "../protocol/parse.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/worker_messages.ts";
import { cutOffExitCode, encodeStart, type WorkerLog } from "../base/worker_start.ts";
import type { Door } from "./door.ts";
import { childEnvironment, type Command } from "./self.ts";
import { deathReason } from "./suspects.ts";

/** After its process ended, how long a worker's socket may still hold bytes of it. */
const lateBytesMs = 2_000;
/** After its socket ended, how long its process may take to. */
const lateExitMs = 2_000;

/** How to start a worker, whichever it is. */
export type Launch = Readonly<{
  command: Command;
  /** Added to its environment, and to that of what its handlers start. */
  env: Readonly<Record<string, string>>;
  log: WorkerLog | null;
}>;

/**
 * The supervisor's end of a worker's connection. Its `tick` is never called: a worker that takes no bytes is busy
 * with a handler, not gone.
 */
export interface WorkerLink {
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

export type WorkerHooks = Readonly<{
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
  #link: WorkerLink | null = null;
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
    door: Door,
    launch: Launch,
    hooks: WorkerHooks,
  ) {
    this.id = id;
    this.#hooks = hooks;
    this.dead = new Promise((resolve) => this.#resolveDead = resolve);
    const [note, last] = this.#makeFiles(door);
    this.hasNotes = note !== null;
    this.#child = this.#spawn(launch);
    const { address, socket, folder } = door;
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
  #makeFiles(door: Door): readonly [note: OwnFile | null, last: OwnFile | null] {
    const note = door.makeFile(this.id, "note", noteFileBytes);
    if (note === null) return [null, null];
    this.#noteFd = note.fd;
    try {
      const last = door.makeFile(this.id, "last", 0)!;
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
  connected(link: WorkerLink): void {
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
    const file = new Uint8Array(noteFileBytes);
    readSync(this.#noteFd, file, 0, file.byteLength, 0);
    return readNote(file);
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
