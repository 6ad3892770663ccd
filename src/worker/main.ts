import { monotonicMs, setInterval } from "../base/clock.ts";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { endProcess, guardExits } from "../base/exit_guard.ts";
import type { Log } from "../base/log.ts";
import { makeWatch, startWatchdog } from "../base/watchdog.ts";
import { workerVariables } from "../base/worker_variables.ts";
import { recordOffset } from "../base/start_note.ts";
import { localLink } from "../link/local_link.ts";
import { stderrLog } from "./stderr_log.ts";
import { WorkerSession } from "./worker_session.ts";

/** Every so often a worker that says nothing else says that its event loop turns. */
const beatMs = 250;

export type WorkerProcessOptions = Readonly<{
  /** The supervisor's process: this one must not outlive it. */
  parentPid: number;
  /** Where `ctx.log` goes. @default plain lines on stderr */
  log?: Log;
}>;

/**
 * The worker process: connects to the supervisor that its environment names, loads the plugin, runs jobs until it is
 * told to quit, and ends the process. It returns at once: a promise that is awaited at the top level would keep the
 * runtime from saying that nothing is left to wait for. Only a supervisor starts it.
 *
 * @throws {Error} if the environment names no supervisor.
 */
export function runWorker(options: WorkerProcessOptions): void {
  const environment = takeEnvironment();
  offerToBeKilled();
  // Ctrl-C and a stopping service reach the supervisor, and only that stops its workers.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  const watch = makeWatch();
  const { note, folder } = environment;
  startWatchdog({
    parentPid: options.parentPid,
    folder,
    watch,
    record: note === undefined ? undefined : { path: note, offset: recordOffset },
  });
  const socket = connect(environment.address);
  let isClosed = false;
  const link = localLink(socket, "worker", { nowMs: monotonicMs, heartbeatMs: beatMs });
  guardExits((end): number => session.endedEarly(end), { signals: "sent" });
  const session = new WorkerSession({
    send: (message) => link.send(message),
    hasUnsent: () => isClosed || link.queuedBytes > 0,
    leave: (code) => {
      void link.close("the worker leaves").then(() => endProcess(code));
    },
    letGo: () => {
      socket.unref();
      beats.unref();
    },
    keep: () => void socket.ref(),
    nowMs: monotonicMs,
    watch,
    notePath: note,
    lastPath: environment.last,
    log: options.log ?? stderrLog,
  });
  link.onMessage = (message) => session.receive(message);
  link.onClose = () => {
    isClosed = true;
    session.orphaned();
  };
  const beats = setInterval(() => link.tick(monotonicMs()), beatMs);
  session.hello(environment.secret);
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

type Environment = Readonly<{
  address: string;
  secret: string;
  folder: string | undefined;
  note: string | undefined;
  last: string | undefined;
}>;

/** Reads what the supervisor told this process, and takes it out of the environment before plugin code runs. */
function takeEnvironment(): Environment {
  const take = (name: string): string | undefined => {
    const value = process.env[name];
    delete process.env[name];
    return value === undefined || value === "" ? undefined : value;
  };
  delete process.env.TASKMASTER_TOKEN;
  const address = take(workerVariables.address);
  const secret = take(workerVariables.secret);
  if (address === undefined || secret === undefined) {
    throw new Error("Cannot run as a worker: only a slave starts workers. Use `taskmaster slave`.");
  }
  return {
    address: address.replace(/^@/, "\0"),
    secret,
    folder: take(workerVariables.folder),
    note: take(workerVariables.note),
    last: take(workerVariables.last),
  };
}
