import type { Socket } from "node:net";
import { parseSupervisorMessage, parseWorkerMessage } from "../protocol/parse.ts";
import type { SupervisorMessage, WorkerMessage } from "../protocol/worker_messages.ts";
import { type Link, SocketLink } from "./link.ts";

/** The supervisor's end of the connection to one worker. */
export type SupervisorLink = Link<WorkerMessage, SupervisorMessage>;
/** The worker's end. */
export type WorkerLink = Link<SupervisorMessage, WorkerMessage>;

export type LocalLinkOptions = Readonly<{
  nowMs: () => number;
  /** How often a worker says that its event loop turns. A supervisor sends no beats. @default never */
  heartbeatMs?: number;
}>;

/**
 * The end of `side` over a connected Unix socket or pipe; no handshake, for its folder is the user's own. However much
 * is queued, it is not given up: a supervisor always reads, and a worker reads once its handler lets it.
 */
export function localLink(socket: Socket, side: "supervisor", options: LocalLinkOptions): SupervisorLink;
export function localLink(socket: Socket, side: "worker", options: LocalLinkOptions): WorkerLink;
export function localLink(
  socket: Socket,
  side: "supervisor" | "worker",
  options: LocalLinkOptions,
): SupervisorLink | WorkerLink {
  const { nowMs } = options;
  if (side === "supervisor") {
    return new SocketLink<WorkerMessage, SupervisorMessage>(socket, {
      parse: parseWorkerMessage,
      heartbeatMs: Infinity,
      queueBytesMax: Infinity,
      nowMs,
    });
  }
  const heartbeatMs = options.heartbeatMs ?? Infinity;
  return new SocketLink<SupervisorMessage, WorkerMessage>(socket, {
    parse: parseSupervisorMessage,
    heartbeatMs,
    queueBytesMax: Infinity,
    nowMs,
  });
}
