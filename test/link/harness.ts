import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { dial, dialControl, type DialOptions } from "../../src/link/dial.ts";
import type { ControlServerLink, MasterLink } from "../../src/link/link.ts";
import { listen, type Listener } from "../../src/link/listen.ts";
import { type MasterTls, readCertificate, TlsClient } from "../../src/link/tls.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { encodeAuth, type Hello, readGreeting, Secret } from "../../src/protocol/handshake.ts";
import type { Introduction } from "../../src/protocol/messages.ts";
import { introduction, welcome } from "../protocol/samples.ts";

export const token: Uint8Array = new Uint8Array(32).fill(1);

/** A clock that stands still until it is told to go on. */
export class Clock {
  ms = 1_000;
  readonly now = (): number => this.ms;
}

/** Values that come, and who waits for them. */
export class Mailbox<T> {
  readonly all: T[] = [];
  #taken = 0;
  #wake: () => void = () => {};

  readonly put = (value: T): void => {
    this.all.push(value);
    this.#wake();
  };

  /** The next one that was not taken, once it is there. */
  async next(): Promise<T> {
    while (this.#taken >= this.all.length) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.all[this.#taken++]!;
  }
}

export type Session = Readonly<
  { link: MasterLink; intro: Introduction; closed: Mailbox<string> }
>;

export type Control = Readonly<{ link: ControlServerLink; intro: Introduction }>;

export type House = Readonly<{
  listener: Listener;
  clock: Clock;
  sessions: Mailbox<Session>;
  controls: Mailbox<Control>;
  logs: string[];
  dial(options?: Partial<DialOptions>): ReturnType<typeof dial>;
  dialControl(): ReturnType<typeof dialControl>;
  /** A connection, with TLS if that is spoken here, of which every byte is kept. */
  knock(port?: number): Promise<Raw>;
  /** A connection without TLS, whatever is spoken here. */
  knockPlain(): Promise<Raw>;
  /** A connection that did the handshake by hand. */
  enter(port?: number): Promise<Raw>;
  close(): Promise<void>;
}>;

/** A master's door on a free port of loopback. */
export async function openHouse(key: Uint8Array | null = token, tls?: MasterTls): Promise<House> {
  const clock = new Clock();
  const sessions = new Mailbox<Session>();
  const controls = new Mailbox<Control>();
  const logs: string[] = [];
  const raws: Raw[] = [];
  const listener = await listen({
    host: "127.0.0.1",
    port: 0,
    token: key,
    tls,
    welcome: () => welcome,
    nowMs: clock.now,
    log: (_level, message) => logs.push(message),
    onSession(link, intro) {
      const closed = new Mailbox<string>();
      link.onClose = closed.put;
      sessions.put({ link, intro, closed });
    },
    onControl(link, intro) {
      controls.put({ link, intro });
    },
  });
  const certificateHash = tls && readCertificate(tls.cert).hash;
  const { address } = listener;
  const keep = async (connecting: Promise<Raw>) => {
    const raw = await connecting;
    raws.push(raw);
    return raw;
  };
  const knockPlain = () => keep(Raw.connect(address.port));
  const knock = (port = address.port) => keep(tls ? Raw.connectTls(port) : Raw.connect(port));
  const dialing = (options: Partial<DialOptions> = {}): DialOptions => ({
    ...address,
    token: key,
    tls: certificateHash && new TlsClient({ trust: { kind: "pin", hash: certificateHash } }),
    intro: introduction,
    nowMs: clock.now,
    signal: new AbortController().signal,
    ...options,
  });
  return {
    listener,
    clock,
    sessions,
    controls,
    logs,
    knock,
    knockPlain,
    dial: (options) => dial(dialing(options)),
    dialControl: () => dialControl(dialing()),
    async enter(port) {
      const raw = await knock(port);
      raw.socket.write(authFor(await raw.bytes(50), token, certificateHash));
      await raw.greeting();
      return raw;
    },
    async close() {
      for (const raw of raws) raw.socket.destroy();
      for (const { link } of [...sessions.all, ...controls.all]) void link.close("the test is over");
      await listener.close();
    },
  };
}

/** The right answer to a HELLO. */
export function authFor(
  hello: Uint8Array,
  key: Uint8Array | null = token,
  certificateHash: Uint8Array = new Uint8Array(0),
  info: object = introduction,
): Uint8Array {
  const { nonce } = readGreeting(hello, 1024)!.greeting as Hello;
  const proof = {
    masterNonce: nonce,
    slaveNonce: new Uint8Array(32).fill(5),
    role: "slave",
    certificateHash,
  } as const;
  return encodeAuth(proof, encode(info), new Secret(key));
}

/** A connection without any of this project's code on its end. */
export class Raw {
  readonly socket: Socket;
  readonly ended: Promise<void>;
  #received = new Uint8Array(0);
  #wake: () => void = () => {};

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => {
      this.#received = new Uint8Array(Buffer.concat([this.#received, chunk]));
      this.#wake();
    });
    this.ended = new Promise((resolve) =>
      socket.on("close", () => {
        resolve();
        this.#wake();
      })
    );
  }

  static async connect(port: number): Promise<Raw> {
    const socket = connect({ host: "127.0.0.1", port });
    const raw = new Raw(socket);
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return raw;
  }

  /** Trusts everybody: it is the other side that is tested. */
  static async connectTls(port: number, options: { cert?: string; key?: string } = {}): Promise<Raw> {
    const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
    const raw = new Raw(socket);
    await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
    return raw;
  }

  /** All that came and was not taken. */
  get received(): Uint8Array {
    return this.#received;
  }

  /** The next `count` bytes, once they are there. */
  async bytes(count: number): Promise<Uint8Array> {
    while (this.#received.length < count) {
      if (this.socket.closed) throw new Error(`Ended with ${this.#received.length} bytes`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const bytes = this.#received.slice(0, count);
    this.#received = this.#received.slice(count);
    return bytes;
  }

  /** The next message of the handshake. */
  async greeting(): Promise<NonNullable<ReturnType<typeof readGreeting>>["greeting"]> {
    const header = await this.bytes(18);
    const rest = await this.bytes(new DataView(header.buffer).getUint32(14));
    return readGreeting(new Uint8Array(Buffer.concat([header, rest])), 1 << 20)!.greeting;
  }
}
