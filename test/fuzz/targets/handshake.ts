import { createHmac, hkdfSync } from "node:crypto";
import type { Socket } from "node:net";
import { handshakeBytesMax } from "../../../src/lib/limits.ts";
import { isSameBytes } from "../../../src/lib/bytes.ts";
import { type HandshakeOutcome, MasterHandshake } from "../../../src/link/master_handshake.ts";
import { RefusedError, SlaveHandshake } from "../../../src/link/slave_handshake.ts";
import { OtherProtocolError } from "../../../src/link/protocol_sniffer.ts";
import { encode } from "../../../src/protocol/cbor.ts";
import {
  encodeAuth,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  type Proof,
  Secret,
} from "../../../src/protocol/handshake.ts";
import { introduction, welcome } from "../../protocol/samples.ts";
import { amplifyBytes, join, mutateBytes, mutateCbor } from "../mutate.ts";
import { Finding, known, must, quietly, type Target } from "../target.ts";
import { cutUp, planBytes, planned } from "./cuts.ts";

// A byte of flags, two of how it is cut, then what the other side sends. Flags: 1 no token on this side; 2 the length and
// the MAC of the last message are put right, for no mutation would ever hit them.

const token = new Uint8Array(32).fill(0x2a);
const secrets = [new Secret(token), new Secret(null)] as const;
const masterNonce = new Uint8Array(32).fill(0x11), slaveNonce = new Uint8Array(32).fill(0x22);
const proof: Proof = { masterNonce, slaveNonce, role: "slave", certificateHash: new Uint8Array(0) };
const helloBytes = 50, headerBytes = 18;

function settingOf(input: Uint8Array) {
  const flags = input[0] ?? 0;
  return {
    secret: secrets[flags & 1]!,
    isInsecure: (flags & 1) === 1,
    isRepaired: (flags & 2) === 2,
    ...planned(input, 1),
  };
}

/** The MAC as docs/protocol.md defines it, without the product's code. */
function macOf(side: string, slaveNonce: Uint8Array, role: number, payload: Uint8Array): Uint8Array {
  const key = new Uint8Array(hkdfSync("sha256", token, "taskmaster/1", "auth", 32));
  const hmac = createHmac("sha256", key);
  const utf8 = (text: string) => new TextEncoder().encode(text);
  const none = new Uint8Array(0);
  const parts = [
    utf8("taskmaster/1"),
    utf8(side),
    Uint8Array.of(0, 2),
    masterNonce,
    slaveNonce,
    none,
    Uint8Array.of(role),
    payload,
  ];
  for (const part of parts) {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, part.length);
    hmac.update(length).update(part);
  }
  return new Uint8Array(hmac.digest());
}

/** With the right length in its header, and the MAC that its sender would have made. */
function repaired(bytes: Uint8Array, side: "slave" | "master", from: number): Uint8Array {
  const fixed = bytes.slice();
  const macAt = from + headerBytes + (side === "slave" ? 33 : 0);
  if (fixed.length < macAt + 32) return fixed;
  new DataView(fixed.buffer).setUint32(from + 14, fixed.length - from - headerBytes);
  const payload = fixed.subarray(macAt + 32);
  const [nonce, role] = side === "slave"
    ? [fixed.subarray(from + headerBytes, from + headerBytes + 32), fixed[from + headerBytes + 32]!]
    : [slaveNonce, 1];
  fixed.set(macOf(side, nonce, role, payload), macAt);
  return fixed;
}

/** What a connection does to an Arrival, and what the Arrival writes. */
class FakeSocket {
  readonly remoteAddress = "10.0.0.1";
  readonly remotePort = 1;
  readonly written: Uint8Array[] = [];
  isEnded = false;
  #onData: ((chunk: Uint8Array) => void) | null = null;

  setNoDelay(): void {}
  on(event: string, listener: (chunk: Uint8Array) => void): this {
    if (event === "data") this.#onData = listener;
    return this;
  }
  off(event: string): this {
    if (event === "data") this.#onData = null;
    return this;
  }
  write(bytes: Uint8Array): void {
    must(!this.isEnded, "nothing is written behind the end");
    this.written.push(bytes);
  }
  end(bytes: Uint8Array): void {
    this.write(bytes);
    this.isEnded = true;
  }
  destroySoon(): void {}
  /** Whether anybody took it. */
  receive(chunk: Uint8Array): boolean {
    this.#onData?.(chunk);
    return this.#onData !== null;
  }
}

function arrive(pieces: Iterable<Uint8Array>, secret: Secret) {
  const socket = new FakeSocket();
  const outcomes: HandshakeOutcome[] = [];
  const handshake = new MasterHandshake(
    socket as unknown as Socket,
    { secret, nonce: masterNonce, sinceMs: 0, greetedAtMs: 0, gate: undefined },
    (outcome) => outcomes.push(outcome),
  );
  handshake.greet();
  let read = 0;
  for (const piece of pieces) {
    read += piece.length;
    if (!socket.receive(piece)) break;
  }
  return { socket, outcomes, read };
}

export const greetings: Target = {
  name: "greetings",
  subject(input) {
    const { secret, plan, bytes } = settingOf(input);
    quietly(() => arrive(cutUp(bytes, plan), secret));
  },
  check(input) {
    const { secret, isInsecure, isRepaired, plan, bytes } = settingOf(input);
    const sent = isRepaired ? repaired(bytes, "slave", 0) : bytes;
    const { socket, outcomes, read } = arriveChecked(sent, plan, secret);
    const [outcome] = outcomes;
    must(outcomes.length <= 1, "it settles once");
    const [hello, answer, ...more] = socket.written;
    must(hello?.length === helloBytes && more.length === 0, "it says HELLO, and at most one thing more");
    if (outcome === undefined) {
      must(sent.length < handshakeBytesMax && answer === undefined, "it waits for more within 1 KiB");
      return "waits";
    }
    if (outcome.kind === "proved") {
      must(read === sent.subarray(0, read).length && answer === undefined, "the welcome is not said yet");
      const mac = isInsecure
        ? new Uint8Array(32)
        : macOf("slave", sent.subarray(18, 50), sent[50]!, sent.subarray(83, read));
      must(isSameBytes(mac, sent.slice(51, 83)), "the proof holds");
      must((sent[11] === 1) === isInsecure, "both are insecure, or none");
      return `proved as ${outcome.role}\n${outcome.intro.name.length}`;
    }
    must(answer?.length === 19 && socket.isEnded, "whoever is refused is told why, in 19 bytes");
    return outcome.kind === "refused" ? `refused: ${outcome.about}\n${outcome.why ?? ""}` : outcome.kind;
  },
  seeds: () => {
    const info = encode(introduction);
    const auth = encodeAuth(proof, info, secrets[0]);
    const control = encodeAuth(
      { ...proof, role: "control" },
      encode({ ...introduction, plugin: null }),
      secrets[0],
    );
    const insecure = encodeAuth(proof, info, secrets[1]);
    return [
      ...[auth, control, insecure, encodeHello(slaveNonce, secrets[0]), encodeRefusal("token")].flatMap((
        bytes,
      ) => [
        join(Uint8Array.of(0, 0, 0), bytes),
        join(Uint8Array.of(2, 0, 1), bytes),
        join(Uint8Array.of(1, 0, 2), bytes),
      ]),
      ...strangers.map((words) => join(Uint8Array.of(0, 0, 0), words)),
    ];
  },
  mutate: (input, random, other) => mutatePayload(input, random, other, 1 + planBytes + 83),
  amplify: amplifyBytes,
};

function arriveChecked(bytes: Uint8Array, plan: number, secret: Secret) {
  try {
    return arrive(cutUp(bytes, plan), secret);
  } catch (error) {
    if (error instanceof Finding) throw error;
    throw known(error, []);
  }
}

const strangers = [
  "GET / HTTP/1.1\r\n\r\n",
  "\x16\x03\x01\x02\x00\x01\x00\x01",
  "SSH-2.0-OpenSSH_9.6\r\n",
  "",
]
  .map((text) => Uint8Array.from(text, (char) => char.charCodeAt(0)));

function converse(pieces: Iterable<Uint8Array>, secret: Secret) {
  const handshake = new SlaveHandshake({
    where: "10.0.0.1:5050",
    secret,
    role: "slave",
    nonce: slaveNonce,
    info: encode(introduction),
  });
  const sent: Uint8Array[] = [];
  let read = 0;
  for (const piece of pieces) {
    read += piece.length;
    const step = handshake.push(piece);
    if (step.send) sent.push(step.send);
    if (step.welcome) return { sent, welcome: step.welcome, used: read - step.rest.length };
  }
  return { sent, welcome: null, used: read };
}

export const welcomes: Target = {
  name: "welcomes",
  subject(input) {
    const { secret, plan, bytes } = settingOf(input);
    quietly(() => converse(cutUp(bytes, plan), secret));
  },
  check(input) {
    const { secret, isInsecure, isRepaired, plan, bytes } = settingOf(input);
    const heard = isRepaired ? repaired(bytes, "master", helloBytes) : bytes;
    try {
      const { sent, welcome, used } = converse(cutUp(heard, plan), secret);
      must(sent.length <= 1, "it says AUTH once");
      if (welcome === null) return sent.length === 0 ? "waits for HELLO" : "waits for WELCOME";
      const mac = isInsecure
        ? new Uint8Array(32)
        : masterMac(heard.subarray(18, 50), heard.subarray(helloBytes + headerBytes + 32, used));
      must(
        isSameBytes(mac, heard.slice(helloBytes + headerBytes, helloBytes + headerBytes + 32)),
        "the master's proof holds",
      );
      return `welcomed\n${welcome.epoch}`;
    } catch (error) {
      const { message, constructor } = known(error, [RefusedError, OtherProtocolError, Error, Finding]);
      if (error instanceof Finding) throw error;
      const who = error instanceof OtherProtocolError ? "" : "the master at ";
      must(message.startsWith(`Cannot join ${who}10.0.0.1:5050: `), `it says "${message}"`);
      return `${constructor.name}: ${message}`;
    }
  },
  seeds: () => {
    const hello = encodeHello(masterNonce, secrets[0]), insecure = encodeHello(masterNonce, secrets[1]);
    const conversations = [
      join(hello, encodeWelcome(proof, encode(welcome), secrets[0])),
      join(insecure, encodeWelcome(proof, encode(welcome), secrets[1])),
      join(hello, encodeRefusal("busy")),
      join(hello, hello),
      encodeRefusal("token"),
      ...strangers,
    ];
    return conversations.flatMap((bytes) =>
      [0, 1, 2].map((flags) => join(Uint8Array.of(flags, 0, flags), bytes))
    );
  },
  mutate: (input, random, other) =>
    mutatePayload(input, random, other, 1 + planBytes + helloBytes + headerBytes + 32),
  amplify: amplifyBytes,
};

/** As `macOf`, but for the nonce that the master really sent. */
function masterMac(nonce: Uint8Array, body: Uint8Array): Uint8Array {
  if (!isSameBytes(nonce, masterNonce)) {
    return new Secret(token).mac("master", { ...proof, masterNonce: nonce }, body);
  }
  return macOf("master", slaveNonce, 1, body);
}

/** Mostly the CBOR behind the fixed part, which only a repaired proof lets through. */
function mutatePayload(
  input: Uint8Array,
  random: { perMille(times: number): boolean } & Parameters<Target["mutate"]>[1],
  other: Uint8Array,
  at: number,
): Uint8Array {
  if (input.length <= at || random.perMille(400)) return mutateBytes(input, random, other);
  const changed = join(input.subarray(0, at), mutateCbor(input.subarray(at), random, other.subarray(at)));
  changed[0] = random.pick([2, 2, 2, 1, 0]);
  return changed;
}
