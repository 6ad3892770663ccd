import { encode } from "../../src/protocol/cbor.ts";
import { encodeAuth, encodeHello, encodeWelcome, type Proof, Secret } from "../../src/protocol/handshake.ts";
import type { Introduction, MasterMessage, SlaveMessage, Welcome } from "../../src/protocol/messages.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";

/** The exchange that docs/protocol.md shows in hexadecimal. */

const filled = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

export const token: Uint8Array = Uint8Array.from({ length: 16 }, (_, index) => index);
export const proof: Proof = {
  masterNonce: filled(0x11),
  slaveNonce: filled(0x22),
  role: "slave",
  certificateHash: new Uint8Array(0),
};
export const introduction: Introduction = {
  slaveId: "s1",
  name: "web1",
  version: "0.1.0",
  procs: 2,
  plugin: null,
  runtime: "other",
  features: [],
};
export const welcome: Welcome = {
  runId: "r1",
  masterId: "m1",
  key: "posts",
  epoch: 1,
  plugin: { name: "posts.ts", export: "default", hash: filled(0x33) },
  args: {},
  timeoutMs: 0,
  heartbeatMs: 5_000,
  graceMs: 30_000,
  features: [],
};
const jobs: Uint8Array = new Uint8Array(Buffer.concat([encode({ id: 1 }), encode({ id: 2 })]));
const lease = { masterId: "m1", number: 1 };

export const messages: Readonly<Record<string, SlaveMessage | MasterMessage>> = {
  ready: { kind: "ready", credit: 2, held: [] },
  keep: { kind: "keep", leases: [] },
  lease: { kind: "lease", number: 1, seq: 0, count: 2, attempt: 1, alone: "no", probe: false, jobs },
  answer: {
    kind: "answer",
    number: 1,
    lease,
    credit: 2,
    done: [0, 1],
    skipped: [],
    failed: [{ seq: 1, how: "threw", message: "no", stack: "", durationMs: 3 }],
    crash: null,
    released: [],
  },
  saved: { kind: "saved", through: 1 },
  dismiss: { kind: "dismiss" },
  bye: { kind: "bye", reason: "the run is complete" },
};

/** Each step's bytes, by its name in the document. */
export function exampleBytes(): Readonly<Record<string, Uint8Array>> {
  const secret = new Secret(token);
  return {
    hello: encodeHello(proof.masterNonce, secret),
    auth: encodeAuth(proof, encode(introduction), secret),
    welcome: encodeWelcome(proof, encode(welcome), secret),
    ...Object.fromEntries(Object.entries(messages).map(([name, message]) => [name, encodeMessage(message)])),
  };
}
