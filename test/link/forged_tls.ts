import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
} from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";

// TLS 1.3 (RFC 8446), just enough of it to show a certificate with a key that need not be the certificate's: what no
// library lets one do, and anybody may who has seen a certificate once.

const empty: Buffer = Buffer.alloc(0), zeros: Buffer = Buffer.alloc(32);
const x25519 = 0x001d, aes128 = 0x1301, ecdsaSha256 = 0x0403;

const uint = (value: number, bytes: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, 0, bytes);
  return buffer;
};
/** Bytes behind their length, in so many bytes. */
const vector = (bytes: Buffer, lengthBytes: number) =>
  Buffer.concat([uint(bytes.length, lengthBytes), bytes]);
const message = (type: number, ...parts: Buffer[]) =>
  Buffer.concat([uint(type, 1), vector(Buffer.concat(parts), 3)]);
const hash = (...parts: Buffer[]) => createHash("sha256").update(Buffer.concat(parts)).digest();
const hmac = (key: Buffer, data: Buffer) => createHmac("sha256", key).update(data).digest();

/** HKDF-Expand-Label. */
function derive(secret: Buffer, label: string, context: Buffer, length: number): Buffer {
  const info = Buffer.concat([uint(length, 2), vector(Buffer.from(`tls13 ${label}`), 1), vector(context, 1)]);
  return hmac(secret, Buffer.concat([info, uint(1, 1)])).subarray(0, length);
}

/** The first record under these keys. */
function seal(traffic: Buffer, type: number, data: Buffer): Buffer {
  const inner = Buffer.concat([data, uint(type, 1)]);
  const header = Buffer.concat([uint(23, 1), uint(0x0303, 2), uint(inner.length + 16, 2)]);
  const cipher = createCipheriv(
    "aes-128-gcm",
    derive(traffic, "key", empty, 16),
    derive(traffic, "iv", empty, 12),
  );
  cipher.setAAD(header);
  return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
}

/** What a record holds, and of which type that is; `number` counts the records under these keys from 0. */
function unseal(traffic: Buffer, number: number, record: Buffer): { type: number; data: Buffer } {
  const nonce = Buffer.from(derive(traffic, "iv", empty, 12));
  nonce[11]! ^= number;
  const decipher = createDecipheriv("aes-128-gcm", derive(traffic, "key", empty, 16), nonce);
  decipher.setAAD(record.subarray(0, 5)).setAuthTag(record.subarray(-16));
  const inner = Buffer.concat([decipher.update(record.subarray(5, -16)), decipher.final()]);
  return { type: inner.at(-1)!, data: inner.subarray(0, -1) };
}

/** The X25519 share in the extensions from `at` on; a client's is in a list. */
function shareOf(hello: Buffer, at: number, listBytes: 0 | 2): Buffer {
  while (hello.readUInt16BE(at) !== 51) at += 4 + hello.readUInt16BE(at + 2);
  at += 4 + listBytes;
  while (hello.readUInt16BE(at) !== x25519) at += 4 + hello.readUInt16BE(at + 2);
  return hello.subarray(at + 4, at + 36);
}

/** The session id and the X25519 share of a ClientHello. */
function read(hello: Buffer): { session: Buffer; share: Buffer } {
  let at = 4 + 2 + 32;
  const session = hello.subarray(at + 1, at + 1 + hello[at]!);
  at += 1 + hello[at]!;
  at += 2 + hello.readUInt16BE(at);
  at += 1 + hello[at]! + 2;
  return { session, share: shareOf(hello, at, 2) };
}

function certificateMessage(certificate: string): Buffer {
  const der = Buffer.from(new X509Certificate(certificate).raw);
  return message(11, uint(0, 1), vector(Buffer.concat([vector(der, 3), uint(0, 2)]), 3));
}

/** CertificateVerify, by `key`, of all that was said. */
function signed(side: "server" | "client", said: readonly Buffer[], key: string): Buffer {
  const label = Buffer.from(`TLS 1.3, ${side} CertificateVerify\0`);
  const signature = sign("sha256", Buffer.concat([Buffer.alloc(64, 0x20), label, hash(...said)]), key);
  return message(15, uint(ecdsaSha256, 2), vector(signature, 2));
}

/** Half of a key exchange. */
function offer(): { own: Buffer; agree: (share: Buffer) => Buffer } {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  const prefix = Buffer.from("302a300506032b656e032100", "hex");
  return {
    own: publicKey.export({ format: "der", type: "spki" }).subarray(-32),
    agree: (share) => {
      const key = Buffer.concat([prefix, share]);
      return diffieHellman({
        privateKey,
        publicKey: createPublicKey({ key, format: "der", type: "spki" }),
      });
    },
  };
}

function handshakeSecret(shared: Buffer): Buffer {
  return hmac(derive(hmac(zeros, zeros), "derived", hash(), 32), shared);
}

/** All that the server says up to its Finished, and a first record of data. */
function answer(hello: Buffer, certificate: string, key: string): Buffer {
  const { session, share } = read(hello);
  const { own, agree } = offer();
  const keyShare = Buffer.concat([uint(x25519, 2), vector(own, 2)]);
  const extensions = [uint(43, 2), vector(uint(0x0304, 2), 2), uint(51, 2), vector(keyShare, 2)];
  const serverHello = message(
    2,
    uint(0x0303, 2),
    randomBytes(32),
    vector(session, 1),
    uint(aes128, 2),
    uint(0, 1),
    vector(Buffer.concat(extensions), 2),
  );
  const handshake = handshakeSecret(agree(share));
  const traffic = derive(handshake, "s hs traffic", hash(hello, serverHello), 32);
  const said = [hello, serverHello, message(8, vector(empty, 2))];
  said.push(certificateMessage(certificate));
  said.push(signed("server", said, key));
  said.push(message(20, hmac(derive(traffic, "finished", empty, 32), hash(...said))));
  const main = hmac(derive(handshake, "derived", hash(), 32), zeros);
  const data = seal(derive(main, "s ap traffic", hash(...said), 32), 23, Buffer.from("no HELLO of a master"));
  const record = Buffer.concat([uint(22, 1), uint(0x0303, 2), vector(serverHello, 2)]);
  return Buffer.concat([record, seal(traffic, 22, Buffer.concat(said.slice(2))), data]);
}

/** A server that shows `certificate` and signs with `key`, both PEM of P-256, whether or not they belong together. */
export function forgedServer(certificate: string, key: string): Server {
  return createServer((socket: Socket) => {
    let received = empty;
    let isAnswered = false;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (isAnswered || received.length < 5 || received.length < 5 + received.readUInt16BE(3)) return;
      isAnswered = true;
      socket.write(answer(received.subarray(5, 5 + received.readUInt16BE(3)), certificate, key));
    });
  });
}

function clientHello(own: Buffer): Buffer {
  const list = (value: Buffer, lengthBytes: number) => vector(vector(value, lengthBytes), 2);
  const extensions = [
    ...[uint(43, 2), list(uint(0x0304, 2), 1), uint(10, 2), list(uint(x25519, 2), 2)],
    ...[uint(13, 2), list(uint(ecdsaSha256, 2), 2)],
    ...[uint(51, 2), list(Buffer.concat([uint(x25519, 2), vector(own, 2)]), 2)],
  ];
  const parts = [uint(0x0303, 2), randomBytes(32), vector(empty, 1), vector(uint(aes128, 2), 2)];
  return message(1, ...parts, vector(uint(0, 1), 1), vector(Buffer.concat(extensions), 2));
}

/** One forged client's half of a handshake: records in, answers out. */
class ForgedClient {
  readonly #certificate: string;
  readonly #key: string;
  readonly #exchange = offer();
  readonly #said: Buffer[] = [clientHello(this.#exchange.own)];
  #handshake = empty;
  #traffic = empty;
  #number = 0;
  #flight = empty;
  #isDone = false;

  constructor(certificate: string, key: string) {
    this.#certificate = certificate;
    this.#key = key;
  }

  get hello(): Buffer {
    return Buffer.concat([uint(22, 1), uint(0x0301, 2), vector(this.#said[0]!, 2)]);
  }

  /** What to send, and what the server said once it may say anything. */
  take(record: Buffer): { send?: Buffer; data?: Buffer } {
    if (record[0] === 22) this.#begin(record.subarray(5));
    if (record[0] !== 23) return {};
    const { type, data } = unseal(this.#traffic, this.#number++, record);
    if (this.#isDone) return type === 23 ? { data } : {};
    this.#flight = Buffer.concat([this.#flight, data]);
    return this.#hasFinished() ? { send: this.#answer() } : {};
  }

  #begin(serverHello: Buffer): void {
    this.#said.push(serverHello);
    const extensions = 4 + 2 + 32 + 1 + serverHello[38]! + 2 + 1 + 2;
    const share = serverHello.subarray(serverHello.indexOf(Buffer.from("001d0020", "hex"), extensions) + 4);
    this.#handshake = handshakeSecret(this.#exchange.agree(share.subarray(0, 32)));
    this.#traffic = derive(this.#handshake, "s hs traffic", hash(...this.#said), 32);
  }

  #hasFinished(): boolean {
    for (let at = 0; at + 4 <= this.#flight.length;) {
      const end = at + 4 + this.#flight.readUIntBE(at + 1, 3);
      if (this.#flight[at] === 20) return this.#flight.length >= end;
      at = end;
    }
    return false;
  }

  #answer(): Buffer {
    const own = derive(this.#handshake, "c hs traffic", hash(...this.#said), 32);
    const said = [...this.#said, this.#flight];
    const main = hmac(derive(this.#handshake, "derived", hash(), 32), zeros);
    this.#traffic = derive(main, "s ap traffic", hash(...said), 32);
    this.#number = 0;
    this.#isDone = true;
    said.push(certificateMessage(this.#certificate));
    said.push(signed("client", said, this.#key));
    said.push(message(20, hmac(derive(own, "finished", empty, 32), hash(...said))));
    return seal(own, 22, Buffer.concat(said.slice(-3)));
  }
}

/**
 * Connects to a server of TLS that asks for a certificate, shows `certificate`, and signs with `key`, whether or not
 * they belong together. Resolves with the first bytes that the server sends; empty if it closes instead.
 */
export function forgedClient(port: number, certificate: string, key: string): Promise<Buffer> {
  const client = new ForgedClient(certificate, key);
  const socket = connect({ host: "127.0.0.1", port });
  let received = empty;
  socket.write(client.hello);
  return new Promise((resolve, reject) => {
    socket.on("error", () => {}).on("close", () => resolve(empty));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      try {
        while (received.length >= 5 && received.length >= 5 + received.readUInt16BE(3)) {
          const record = received.subarray(0, 5 + received.readUInt16BE(3));
          received = received.subarray(record.length);
          const { send, data } = client.take(record);
          if (send) socket.write(send);
          if (data) {
            resolve(data);
            socket.destroy();
          }
        }
      } catch (error) {
        reject(error);
      }
    });
  });
}
