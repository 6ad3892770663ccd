// What a hostile network does to a master's port. No more of the product than what an attacker would have: the layout of
// the handshake, and in some cases the token.
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { encode } from "../../src/protocol/cbor.ts";
import { encodeAuth, type Hello, readGreeting, Secret } from "../../src/protocol/handshake.ts";
import type { Introduction, SlaveMessage } from "../../src/protocol/messages.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import { tokenText } from "../kit/scenario.ts";

/** Of a connection that is no longer wanted or was refused, a new one is made after so long. */
const redialMs = 500;

/** Connections that are kept open, each made anew when it is closed, until `stop`. */
export class Attack {
  readonly #port: number;
  readonly #begin: (socket: Socket, attack: Attack) => void;
  readonly #sockets = new Set<Socket>();
  #isOver = false;
  /** Connections made. */
  made = 0;

  /** @param begin What is done with each connection. */
  constructor(port: number, count: number, begin: (socket: Socket, attack: Attack) => void) {
    this.#port = port;
    this.#begin = begin;
    for (let index = 0; index < count; index++) this.#dial();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  stop(): void {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Calls `work` again and again while the connection is there. */
  every(ms: number, socket: Socket, work: () => void): void {
    const timer = setInterval(work, ms);
    socket.once("close", () => clearInterval(timer));
  }

  #dial(): void {
    if (this.#isOver) return;
    const socket = connect({ host: "127.0.0.1", port: this.#port });
    socket.on("error", () => {});
    socket.once("connect", () => {
      this.made++;
      this.#sockets.add(socket);
      this.#begin(socket, this);
    });
    socket.once("close", () => {
      this.#sockets.delete(socket);
      if (!this.#isOver) setTimeout(() => this.#dial(), redialMs);
    });
  }
}

export const silent = (socket: Socket): void => void socket.resume();

/** The first bytes of an AUTH, one each `ms`. */
export const trickle = (ms: number) => (socket: Socket, attack: Attack): void => {
  socket.resume();
  const words = Buffer.concat([Buffer.from("taskmaster"), Uint8Array.of(2, 0, 0, 2, 0, 0, 3, 0)]);
  let at = 0;
  attack.every(ms, socket, () => socket.write(words.subarray(at % words.length, at++ % words.length + 1)));
};

export const says = (words: Uint8Array) => (socket: Socket): void => {
  socket.resume();
  socket.write(words);
};

/** Opens and closes, as a port scan does. */
export const scan = (socket: Socket): void => void socket.destroy();

/** Proves the token, says `ready`, and then what `then` does. */
export const inside =
  (then: (socket: Socket, attack: Attack) => void, credit = 0) => (socket: Socket, attack: Attack): void => {
    let received = new Uint8Array(0);
    const onData = (chunk: Uint8Array) => {
      received = new Uint8Array(Buffer.concat([received, chunk]));
      if (received.length < 50) return;
      socket.off("data", onData).resume();
      const name = randomBytes(8).toString("hex");
      socket.write(authOf(received.subarray(0, 50), name));
      // Not before the WELCOME, or the master refuses it.
      socket.once("data", () => {
        socket.write(encodeMessage({ kind: "ready", credit, held: [] }));
        then(socket, attack);
      });
    };
    socket.on("data", onData);
  };

function authOf(hello: Uint8Array, name: string): Uint8Array {
  const { nonce } = readGreeting(hello, 1024)!.greeting as Hello;
  const intro: Introduction = {
    slaveId: name,
    name,
    version: "0",
    procs: 1,
    plugin: null,
    runtime: "attack",
    features: [],
  };
  const proof = {
    masterNonce: nonce,
    slaveNonce: randomBytes(32),
    role: "slave",
    certificateHash: new Uint8Array(0),
  } as const;
  return encodeAuth(proof, encode(intro), new Secret(new TextEncoder().encode(tokenText)));
}

/** A frame of 16 MiB, announced; `first` bytes of it, and one more each `ms`. */
export const announce = (first: number, ms: number) =>
  inside((socket, attack) => {
    socket.write(Buffer.concat([Uint8Array.of(1, 0, 0, 0), Buffer.alloc(first)]));
    attack.every(ms, socket, () => socket.write(Uint8Array.of(0)));
  });

/** Valid messages with some bits the other way round. */
export const flipped = inside((socket, attack) => {
  const message: SlaveMessage = { kind: "credit", credit: 3 };
  attack.every(50, socket, () => {
    const bytes = encodeMessage(message);
    bytes[4 + Math.floor(Math.random() * (bytes.length - 4))]! ^= 1 << Math.floor(Math.random() * 8);
    socket.write(bytes);
  });
});

/** Takes two hundred jobs, and reads none of them. */
export const stoppedReader = inside((socket) => void socket.pause(), 200);
