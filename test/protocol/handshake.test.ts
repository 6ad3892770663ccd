import fc from "fast-check";
import { createHmac, hkdfSync } from "node:crypto";
import t from "tap";
import { encode } from "../../src/protocol/cbor.ts";
import {
  type Auth,
  encodeAuth,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  OtherVersionError,
  type Proof,
  readGreeting,
  Secret,
  type Welcoming,
} from "../../src/protocol/handshake.ts";
import { holds } from "../kit/holds.ts";
import { introduction, welcome } from "./samples.ts";

const token = new Uint8Array(32).fill(1);
const secret = new Secret(token);
const proof: Proof = {
  masterNonce: new Uint8Array(32).fill(2),
  slaveNonce: new Uint8Array(32).fill(3),
  role: "slave",
  certificateHash: new Uint8Array(0),
};
const info = encode(introduction);
const body = encode(welcome);
const limit = 1 << 20;

t.test("the four messages read as they were written", async (t) => {
  const hello = encodeHello(proof.masterNonce, secret);
  t.equal(hello.length, 50);
  t.match(readGreeting(hello, limit), {
    used: 50,
    greeting: { kind: "hello", version: 2, insecure: false, nonce: proof.masterNonce },
  });
  const auth = encodeAuth(proof, info, secret);
  t.match(readGreeting(auth, 1024)?.greeting, { kind: "auth", role: "slave", nonce: proof.slaveNonce, info });
  t.match(readGreeting(encodeWelcome(proof, body, secret), limit)?.greeting, { kind: "welcome", body });
  for (const code of ["token", "version", "malformed", "busy", "late", "ending"] as const) {
    t.match(readGreeting(encodeRefusal(code), limit)?.greeting, { kind: "error", code });
  }
});

t.test("the MAC is HMAC-SHA256 over length-prefixed parts, as documented", async (t) => {
  const key = new Uint8Array(hkdfSync("sha256", token, "taskmaster/1", "auth", 32));
  const part = (bytes: Uint8Array) =>
    Buffer.concat([Uint8Array.of(0, 0, bytes.length >> 8, bytes.length & 255), bytes]);
  const parts = [
    Buffer.from("taskmaster/1"),
    Buffer.from("slave"),
    Uint8Array.of(0, 2),
    proof.masterNonce,
    proof.slaveNonce,
    new Uint8Array(0),
    Uint8Array.of(1),
    info,
  ];
  const mac = createHmac("sha256", key).update(Buffer.concat(parts.map(part))).digest();
  t.same(Buffer.from(secret.mac("slave", proof, info)), mac);
});

t.test("any flipped bit of AUTH or WELCOME is refused", async (t) => {
  const flipped = (bytes: Uint8Array, holds: (bytes: Uint8Array) => boolean) => {
    t.ok(holds(bytes), "untouched it holds");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = bytes.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      if (holds(changed)) t.fail(`bit ${bit} does not matter`);
    }
  };
  const read = <G>(bytes: Uint8Array): G | undefined => {
    try {
      return readGreeting(bytes, limit)?.greeting as G;
    } catch {
      return undefined;
    }
  };
  flipped(encodeAuth(proof, info, secret), (bytes) => {
    const auth = read<Auth>(bytes);
    return auth?.kind === "auth" && !auth.insecure &&
      secret.holds(auth.mac, "slave", { ...proof, slaveNonce: auth.nonce, role: auth.role }, auth.info);
  });
  flipped(encodeWelcome(proof, body, secret), (bytes) => {
    const read_ = read<Welcoming>(bytes);
    return read_?.kind === "welcome" && !read_.insecure &&
      secret.holds(read_.mac, "master", proof, read_.body);
  });
});

t.test("a proof is of one side, one role, one pair of nonces, one certificate and one token", async (t) => {
  const mac = secret.mac("slave", proof, info);
  const other = new Uint8Array(32).fill(9);
  t.ok(secret.holds(mac, "slave", proof, info));
  t.notOk(secret.holds(mac, "master", proof, info), "reflected");
  t.notOk(secret.holds(mac, "slave", { ...proof, role: "control" }, info), "another role");
  t.notOk(secret.holds(mac, "slave", { ...proof, masterNonce: other }, info), "replayed to another HELLO");
  t.notOk(secret.holds(mac, "slave", { ...proof, slaveNonce: other }, info), "another nonce of the slave");
  t.notOk(
    secret.holds(mac, "slave", { ...proof, certificateHash: other }, info),
    "relayed through another certificate",
  );
  t.notOk(new Secret(other).holds(mac, "slave", proof, info), "another token");
  t.notOk(secret.holds(new Uint8Array(32), "slave", proof, info), "no token");
});

t.test("without a token the MAC is zero, and marked", async (t) => {
  const none = new Secret(null);
  const auth = readGreeting(encodeAuth(proof, info, none), limit)?.greeting as Auth;
  t.match(auth, { insecure: true, mac: new Uint8Array(32) });
  t.match(readGreeting(encodeHello(proof.masterNonce, none), limit)?.greeting, { insecure: true });
});

t.test("a token under 128 bits is refused", async (t) => {
  t.throws(() => new Secret(new Uint8Array(15)), /at least 16 are needed; make one with "taskmaster token"/);
  t.doesNotThrow(() => new Secret(new Uint8Array(16)));
});

t.test("another version is told from the header alone", async (t) => {
  const hello = encodeHello(proof.masterNonce, secret);
  hello[13] = 2;
  hello[12] = 1;
  t.throws(() => readGreeting(hello.subarray(0, 18), limit), new OtherVersionError(258));
  t.match(new OtherVersionError(258).message, /version 258 .* version 2/, "both are named");
});

t.test("strangers are known from their first byte, and no length is believed", async (t) => {
  t.throws(() => readGreeting(Buffer.from("G"), limit), { name: "FrameError" });
  t.equal(readGreeting(new Uint8Array(0), limit), undefined);
  t.equal(readGreeting(Buffer.from("taskmast"), limit), undefined);
  const auth = encodeAuth(proof, info, secret);
  auth.set([0, 0, 4, 0], 14);
  t.throws(() => readGreeting(auth.subarray(0, 18), 1024), /1042 bytes: at most 1024/);
  t.throws(() => encodeAuth(proof, new Uint8Array(1024), secret), /use shorter names/);
  t.throws(() => encodeWelcome(proof, new Uint8Array(limit), secret), /use shorter arguments/);
});

t.test("greetings are read one byte at a time as well, and random ones throw FrameErrors", async (t) => {
  const auth = encodeAuth(proof, info, secret);
  for (let length = 0; length < auth.length; length++) {
    t.equal(readGreeting(auth.subarray(0, length), 1024), undefined);
  }
  const header = Buffer.from("taskmaster");
  holds(
    t,
    fc.property(fc.uint8Array({ maxLength: 120 }), (rest) => {
      try {
        readGreeting(Buffer.concat([header, rest]), limit);
        return true;
      } catch (error) {
        return error instanceof Error && ["FrameError", "OtherVersionError"].includes(error.name);
      }
    }),
    { numRuns: 3_000 },
  );
});
