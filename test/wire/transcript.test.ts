import t from "tap";
import type { SlaveMessage } from "../../src/protocol/messages.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import { authFor, type House, Mailbox, openHouse, type Raw } from "../link/harness.ts";

// A slave's side of the wire as bytes, and what a master is to make of it: fed whole, and one byte at a time.

const bytesOf = (...messages: readonly SlaveMessage[]): Uint8Array =>
  Buffer.concat(messages.map(encodeMessage));
const lease = { masterId: "master-1", number: 1 };
const ready: SlaveMessage = { kind: "ready", credit: 2, held: [{ lease, jobs: [0, 3] }] };
const answer: SlaveMessage = {
  kind: "answer",
  number: 1,
  lease,
  credit: 2,
  done: [0, 2],
  skipped: [],
  failed: [{ seq: 2, how: "threw", message: "\u202eno\n", stack: "", durationMs: 0 }],
  crash: null,
  released: [],
};

const asides: readonly SlaveMessage[] = [
  { kind: "excused", jobs: [0, 2] },
  { kind: "again", count: 2 },
  { kind: "late", errors: [{ seq: 1, message: "\u202eno" }, { seq: null, message: "" }], count: 9 },
  { kind: "notice", text: "worker 123 is in setup since 12 s" },
  { kind: "notice", text: "" },
  { kind: "leaving" },
];
/** Tells why the connection will end, so it is no message of the session. */
const bye: SlaveMessage = { kind: "bye", reason: "drained" };

/** What is sent after WELCOME, which messages arrive, and how the session ends (by itself, or with the test). */
const transcripts: readonly (readonly [
  what: string,
  bytes: Uint8Array,
  heard: readonly SlaveMessage[],
  end: RegExp | null,
])[] = [
  ["an ordinary session", bytesOf(ready, { kind: "beat" }, answer, { kind: "leaving" }), [
    ready,
    { kind: "beat" },
    answer,
    { kind: "leaving" },
  ], null],
  ["what is told beside the answers", bytesOf(ready, ...asides, bye), [ready, ...asides], null],
  ["the same answer twice is two messages", bytesOf(ready, answer, answer), [ready, answer, answer], null],
  [
    "garbage behind a message",
    Buffer.concat([bytesOf(ready), Uint8Array.of(0, 0, 0, 1, 0xff)]),
    [ready],
    /indefinite/,
  ],
  [
    "a frame of 4 GiB behind a message",
    Buffer.concat([bytesOf(ready), Uint8Array.of(255, 255, 255, 255)]),
    [ready],
    /4294967295 bytes/,
  ],
  [
    "an unknown kind",
    Buffer.concat([bytesOf(ready), Uint8Array.of(0, 0, 0, 8), Buffer.from("a1646b696e646178", "hex")]),
    [ready],
    /kind/,
  ],
  ["a second handshake", Buffer.from("taskmaster"), [], /bytes: at most/],
  ["an HTTP request", Buffer.from("GET / HTTP/1.1\r\n\r\n"), [], /1195725856 bytes/],
];

async function play(
  bytes: Uint8Array,
  feed: (raw: Raw, bytes: Uint8Array) => Promise<void>,
  count: number,
  ends: boolean,
) {
  const house: House = await openHouse();
  const raw = await house.knock();
  raw.socket.setNoDelay(true);
  await feed(raw, authFor(await raw.bytes(50)));
  await raw.greeting();
  const session = await house.sessions.next();
  const heard = new Mailbox<SlaveMessage>();
  session.link.onMessage = heard.put;
  await feed(raw, bytes);
  const messages: SlaveMessage[] = [];
  while (messages.length < count) messages.push(await heard.next());
  const reason = ends ? await session.closed.next() : null;
  const all = heard.all.length;
  await house.close();
  return { messages, reason, all };
}

const whole = async (raw: Raw, bytes: Uint8Array) => void raw.socket.write(bytes);
const byByte = async (raw: Raw, bytes: Uint8Array) => {
  for (const byte of bytes) {
    if (raw.socket.destroyed) return;
    await new Promise<void>((sent) => raw.socket.write(Uint8Array.of(byte), () => sent()));
    await new Promise((turn) => setImmediate(turn));
  }
};

t.test("a transcript means the same however its bytes arrive", async (t) => {
  for (const [what, bytes, heard, end] of transcripts) {
    for (const [how, feed] of [["whole", whole], ["by the byte", byByte]] as const) {
      const played = await play(bytes, feed, heard.length, end !== null);
      t.same(played.messages, heard, `${what}, ${how}`);
      t.equal(played.all, heard.length, "and nothing else");
      if (end) t.match(played.reason, end);
    }
  }
});
