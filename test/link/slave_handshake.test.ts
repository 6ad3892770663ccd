import t from "tap";
import { SlaveHandshake } from "../../src/link/slave_handshake.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { encodeHello, encodeWelcome, type Proof, Secret } from "../../src/protocol/handshake.ts";
import { introduction, welcome } from "../protocol/samples.ts";
import { token } from "./harness.ts";

const secret = new Secret(token);
const proof: Proof = {
  masterNonce: new Uint8Array(32).fill(1),
  slaveNonce: new Uint8Array(32).fill(2),
  role: "slave",
  certificateHash: new Uint8Array(0),
};

function begin(): SlaveHandshake {
  const handshake = new SlaveHandshake({
    where: "10.0.0.5:5050",
    secret,
    role: "slave",
    nonce: proof.slaveNonce,
    info: encode(introduction),
  });
  handshake.push(encodeHello(proof.masterNonce, secret));
  return handshake;
}

t.test("a WELCOME may come byte by byte, and what is behind it is kept", async (t) => {
  const bytes = encodeWelcome(proof, encode(welcome), secret);
  const handshake = begin();
  for (const byte of bytes.subarray(0, -1)) t.notOk(handshake.push(Uint8Array.of(byte)).welcome);
  const step = handshake.push(Uint8Array.of(bytes.at(-1)!, 7, 8));
  t.same(step.welcome, welcome);
  t.same([...step.rest], [7, 8]);
});

t.test("the longest WELCOME, byte by byte, is not copied at each byte", async (t) => {
  const args = Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [`a${index}`, "x".repeat(65_000)]),
  );
  const bytes = encodeWelcome(proof, encode({ ...welcome, args }), secret);
  const handshake = begin();
  const startMs = performance.now();
  const piece = new Uint8Array(1);
  for (const byte of bytes.subarray(0, -1)) {
    piece[0] = byte;
    handshake.push(piece);
  }
  t.same(handshake.push(bytes.subarray(-1)).welcome?.args, args);
  // Copied at each, it would be half a terabyte.
  t.ok(performance.now() - startMs < 10_000);
});

t.test("a welcome that the protocol does not allow is said to be that of the master", async (t) => {
  const bytes = encodeWelcome(proof, encode({ ...welcome, epoch: "one" }), secret);
  t.throws(() => begin().push(bytes), {
    message: "Cannot join the master at 10.0.0.5:5050: its welcome is not what the protocol allows: " +
      "Cannot accept this message: welcome.epoch is no whole number; use one release on both machines",
    final: true,
    cause: { message: /epoch is no whole number/ },
  });
});
