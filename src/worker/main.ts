import { writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { monotonicMs, setInterval, setTimeout } from "../lib/clock.ts";
import { endProcess, guardExits } from "../lib/exit_guard.ts";
import type { Log, LogLevel, LogSettings } from "../lib/log.ts";
import { isOwnFolder, isThere } from "../lib/own_file.ts";
import { printableLines } from "../lib/text.ts";
import { makeWatch, startWatchdog } from "../lib/watchdog.ts";
import { recordOffset, takeStart, type WorkerStart } from "../lib/worker_start.ts";
import {
  callSupervisor,
  type CallSupervisorOptions,
  notProved,
  proofMs,
  type WorkerLink,
} from "../link/local_link.ts";
import { WorkerSession } from "./session.ts";

/** Longest message with its fields. */
const lineCharsMax = 10_000;

/** `ctx.log` of a handler as plain lines on stderr, where no other logger was given. */
function stderrLog(
  level: LogLevel,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
): void {
  if (level === "debug") return;
  const tail = fields === undefined || Object.keys(fields).length === 0 ? "" : ` ${fieldsJson(fields)}`;
  process.stderr.write(`${level} ${printableLines(`${message}${tail}`, lineCharsMax).join("\n    ")}\n`);
}

function fieldsJson(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields);
  } catch {
    return "(fields that cannot be shown)";
  }
}

/** After a call that ended before it was answered, the next one comes this much later. */
const callAgainMs = 10;
/** Every so often a worker that says nothing else says that its event loop turns. */
const beatMs = 250;

type WorkerProcessOptions = Readonly<{
  /** The supervisor's process: this one must not outlive it. */
  parentPid: number;
  /** Where `ctx.log` goes, made for what the supervisor says of it. @default plain lines on stderr */
  log?: (how: LogSettings | null) => Log;
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
  const record = note === null ? undefined : { file: note, offset: recordOffset };
  startWatchdog({ parentPid: options.parentPid, folder, watch, record });
  let socket: Socket;
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
  const call: Call = {
    onSocket: (made) => socket = made,
    onLink: (made) => {
      link = made;
      session.hello();
    },
    onMessage: (message) => session.receive(message),
    onEnd: (reason) => reason === notProved ? session.misled(reason) : closed(),
  };
  callUntilKnown(start, call);
}

/** `onEnd`: nobody is to be called any more. */
type Call =
  & Pick<WorkerLink, "onMessage">
  & Pick<CallSupervisorOptions, "onLink" | "onEnd">
  & Readonly<{ onSocket: (socket: Socket) => void }>;

/**
 * Calls the supervisor, and again if the connection ends before that has sent anything behind its proof: others of the
 * machine may take all the places there are for who is not known yet, and that of this worker among them.
 */
function callUntilKnown(start: WorkerStart, { onSocket, onLink, onMessage, onEnd }: Call): void {
  const untilMs = monotonicMs() + proofMs;
  const again = (reason: string) => {
    const isFinal = reason === notProved || monotonicMs() >= untilMs || !isInPlace(start);
    if (isFinal) onEnd(reason);
    else setTimeout(call, callAgainMs);
  };
  const linked = (link: WorkerLink) => {
    let isKnown = false;
    link.onMessage = (message) => {
      isKnown = true;
      onMessage(message);
    };
    link.onClose = (reason) => isKnown ? onEnd(reason) : again(reason);
    onLink(link);
  };
  const call = () => {
    const socket = connect(start.address);
    onSocket(socket);
    const options = { nowMs: monotonicMs, heartbeatMs: beatMs };
    callSupervisor(socket, {
      ...start,
      isInPlace: () => isInPlace(start),
      options,
      onLink: linked,
      onEnd: again,
    });
  };
  call();
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
