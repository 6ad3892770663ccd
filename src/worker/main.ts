import { monotonicMs, setInterval } from "../base/clock.ts";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { endProcess, guardExits } from "../base/exit_guard.ts";
import type { Log } from "../base/log.ts";
import { makeWatch, startWatchdog } from "../base/watchdog.ts";
import { isOwnFolder, isThere } from "../base/own_file.ts";
import { takeStart, type WorkerLog, type WorkerStart } from "../base/worker_start.ts";
import { recordOffset } from "../base/start_note.ts";
import { callSupervisor, notProved, type WorkerLink } from "../link/local_link.ts";
import { stderrLog } from "./stderr_log.ts";
import { WorkerSession } from "./worker_session.ts";

/** Every so often a worker that says nothing else says that its event loop turns. */
const beatMs = 250;

export type WorkerProcessOptions = Readonly<{
  /** The supervisor's process: this one must not outlive it. */
  parentPid: number;
  /** Where `ctx.log` goes, made for what the supervisor says of it. @default plain lines on stderr */
  log?: (how: WorkerLog | null) => Log;
}>;

/**
 * The worker process: connects to the supervisor that its standard input names, loads the plugin, runs jobs until it is
 * told to quit, and ends the process. It returns at once: a promise that is awaited at the top level would keep the
 * runtime from saying that nothing is left to wait for. Only a supervisor starts it.
 *
 * @throws {Error} if that names no supervisor.
 */
export function runWorker(options: WorkerProcessOptions): void {
  const start = takeStart();
  delete process.env.TASKMASTER_TOKEN;
  offerToBeKilled();
  // Ctrl-C and a stopping service reach the supervisor, and only that stops its workers.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  const watch = makeWatch();
  const { note, folder, last } = start;
  startWatchdog({
    parentPid: options.parentPid,
    folder,
    watch,
    record: note === null ? undefined : { file: note, offset: recordOffset },
  });
  const socket = connect(start.address);
  let isClosed = false;
  /** From the supervisor's proof on; nothing is said before. */
  let link: WorkerLink | null = null;
  guardExits((end): number => session.endedEarly(end), { signals: "sent" });
  const session = new WorkerSession({
    send: (message) => link?.send(message),
    hasUnsent: () => isClosed || (link?.queuedBytes ?? 0) > 0,
    leave: (code) => {
      void (link?.close("the worker leaves") ?? Promise.resolve()).then(() => endProcess(code));
    },
    letGo: () => {
      socket.unref();
      beats.unref();
    },
    keep: () => void socket.ref(),
    nowMs: monotonicMs,
    watch,
    note,
    last,
    log: options.log?.(start.log) ?? stderrLog,
  });
  const closed = () => {
    isClosed = true;
    session.orphaned();
  };
  const beats = setInterval(() => link?.tick(monotonicMs()), beatMs);
  callSupervisor(socket, {
    ...start,
    isInPlace: () => isInPlace(start),
    options: { nowMs: monotonicMs, heartbeatMs: beatMs },
    onLink: (made) => {
      link = made;
      link.onMessage = (message) => session.receive(message);
      link.onClose = closed;
      session.hello();
    },
    onEnd: (reason) => reason === notProved ? session.misled(reason) : closed(),
  });
}

/** Nobody but this user can make a socket in a folder that is his alone, nor connect to the one that was there. */
function isInPlace({ socket, folder }: WorkerStart): boolean {
  return socket === null || (isThere(socket) && folder !== null && isOwnFolder(folder));
}

/**
 * Where memory is scarce, Linux ends the process with the most of it; this one, and what it starts, count for half of
 * all memory more: a worker is replaced, its supervisor is not.
 */
function offerToBeKilled(): void {
  try {
    writeFileSync("/proc/self/oom_score_adj", "500");
  } catch {
    // another system, or it counts for more already
  }
}
