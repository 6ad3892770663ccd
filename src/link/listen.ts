import { setImmediate } from "../base/clock.ts";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import { ConnectError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type Role, Secret } from "../protocol/handshake.ts";
import type { Introduction, Welcome } from "../protocol/messages.ts";
import type { MasterLink } from "./link.ts";
import { Lobby } from "./lobby.ts";
import { connectionsAllowed } from "./open_files.ts";
import { type MasterTls, TlsGate } from "./tls_gate.ts";

export type ListenOptions = Readonly<{
  host: string;
  /** 0 for any that is free. */
  port: number;
  /** Null for `--insecure`: nobody proves anything. */
  token: Uint8Array | null;
  /** Undefined: the traffic is not encrypted. */
  tls?: MasterTls | undefined;
  /** What a slave that proved the token is told. */
  welcome: (intro: Introduction) => Welcome;
  nowMs: () => number;
  log: Log;
  /** A session began: its WELCOME is on the way. */
  onSession(link: MasterLink, intro: Introduction, role: Role): void;
}>;

export interface Listener {
  /** The address really bound. */
  readonly address: Readonly<{ host: string; port: number }>;
  /** Stops accepting and ends the handshakes under way; sessions are their owner's to end. */
  close(): Promise<void>;
  /** Ends handshakes that are overdue; returns when to call again, at the latest. */
  tick(nowMs: number): number;
}

/**
 * Listens for slaves and lets those in that prove the token.
 *
 * @throws {ConnectError} if it cannot listen there, or the certificate cannot be used.
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const gate = options.tls && new TlsGate(options.tls);
  const secret = new Secret(options.token);
  const lobby = new Lobby({ ...options, secret, gate, placesMax: connectionsAllowed() });
  const server = createServer((socket) => lobby.admit(socket));
  await bound(server, options);
  // Out of file descriptors: the system keeps who knocks waiting, sessions go on.
  server.on("error", (error) => lobby.acceptFailed(error));
  const { address, port } = server.address() as AddressInfo;
  return {
    address: { host: address, port },
    tick: (nowMs) => lobby.tick(nowMs),
    close: async () => {
      server.close();
      lobby.close();
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

function bound(server: Server, { host, port }: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(cannotListen(host, port, error)));
    server.listen({ host, port, backlog: 511 }, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}

function cannotListen(host: string, port: number, error: NodeJS.ErrnoException): ConnectError {
  const where = `${host}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new ConnectError(
        `Cannot listen on ${where}: the port is taken; is another master running? Choose another port with --host.`,
        { cause: error },
      );
    case "EACCES":
      return new ConnectError(
        `Cannot listen on ${where}: not allowed; choose a port above 1023 with --host.`,
        { cause: error },
      );
    case "EADDRNOTAVAIL":
      return new ConnectError(
        `Cannot listen on ${where}: this machine has no such address; use 0.0.0.0, or one of its own.`,
        { cause: error },
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ConnectError(
        `Cannot listen on ${where}: there is no host of that name; use 0.0.0.0, or an address of this machine.`,
        { cause: error },
      );
    default:
      return new ConnectError(`Cannot listen on ${where}: ${error.message}`, { cause: error });
  }
}
