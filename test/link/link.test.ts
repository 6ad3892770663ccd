import t from "tap";
import type { SlaveMessage } from "../../src/protocol/messages.ts";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { SocketLink, UnfinishedFrames } from "../../src/link/link.ts";
import { encodeMessage, parseMasterMessage, parseSlaveMessage } from "../../src/protocol/parse.ts";
import { type House, Mailbox, openHouse, type Raw, type Session } from "./harness.ts";

async function entered(): Promise<
  { house: House; raw: Raw; session: Session; heard: Mailbox<SlaveMessage> }
> {
  const house = await openHouse();
  const raw = await house.enter();
  const session = await house.sessions.next();
  const heard = new Mailbox<SlaveMessage>();
  session.link.onMessage = heard.put;
  return { house, raw, session, heard };
}

const ready: SlaveMessage = { kind: "ready", credit: 1, held: [] };
const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test("messages arrive whole: many in one segment, one in many", async (t) => {
  const { house, raw, heard } = await entered();
  const sent: SlaveMessage[] = [ready, { kind: "credit", credit: 5 }, { kind: "beat" }, { kind: "leaving" }];
  raw.socket.write(Buffer.concat(sent.map(encodeMessage)));
  for (const message of sent) t.same(await heard.next(), message);
  raw.socket.setNoDelay(true);
  for (const byte of encodeMessage(ready)) {
    await new Promise((written) => raw.socket.write(Uint8Array.of(byte), written));
    await turn();
  }
  t.same(await heard.next(), ready);
  await house.close();
});

t.test("messages that come before onMessage is set are kept, in order", async (t) => {
  const house = await openHouse();
  const raw = await house.enter();
  const { link } = await house.sessions.next();
  const bytesCame = new Promise<void>((resolve) => (link.onHeard = resolve));
  raw.socket.write(Buffer.concat([encodeMessage(ready), encodeMessage({ kind: "beat" })]));
  await bytesCame;
  await turn();
  const heard = new Mailbox<SlaveMessage>();
  link.onMessage = heard.put;
  raw.socket.write(encodeMessage({ kind: "leaving" }));
  t.same([(await heard.next()).kind, (await heard.next()).kind, (await heard.next()).kind], [
    "ready",
    "beat",
    "leaving",
  ]);
  await house.close();
});

t.test("what is sent in one turn leaves in one write", async (t) => {
  const { house, raw, session } = await entered();
  const chunks: number[] = [];
  raw.socket.on("data", (chunk: Uint8Array) => chunks.push(chunk.length));
  for (let through = 0; through < 100; through++) session.link.send({ kind: "saved", through });
  const bytes = session.link.queuedBytes;
  await raw.bytes(bytes);
  t.same(chunks, [bytes]);
  await house.close();
});

t.test("a beat is sent after one heartbeat without sending", async (t) => {
  const { house, raw, session: { link } } = await entered();
  t.equal(link.tick(house.clock.ms), house.clock.ms + 5_000);
  house.clock.ms += 4_999;
  link.tick(house.clock.ms);
  t.equal(link.queuedBytes, 0);
  house.clock.ms += 1;
  t.equal(link.tick(house.clock.ms), house.clock.ms + 5_000);
  t.same(await raw.bytes(encodeMessage({ kind: "beat" }).length), encodeMessage({ kind: "beat" }));
  house.clock.ms += 3_000;
  link.send({ kind: "drain" });
  t.equal(link.tick(house.clock.ms + 2_000), house.clock.ms + 5_000, "whatever is sent puts it off");
  await house.close();
});

t.test("any byte is heard, and when it came", async (t) => {
  const { house, raw, session: { link } } = await entered();
  house.clock.ms = 77_000;
  const heard = new Promise<void>((resolve) => (link.onHeard = resolve));
  raw.socket.write(Uint8Array.of(0));
  await heard;
  t.equal(link.lastHeardMs, 77_000);
  await house.close();
});

const badBytes: readonly (readonly [what: string, bytes: Uint8Array, reason: RegExp])[] = [
  ["a frame over the limit", Uint8Array.of(1, 0, 0, 1), /16777217 bytes/],
  ["random bytes", Uint8Array.of(0, 0, 0, 3, 9, 9, 9), /behind the item/],
  ["a master's message", encodeMessage({ kind: "drain" }), /kind is none of ready/],
  ["an empty frame", Uint8Array.of(0, 0, 0, 0), /end within an item/],
];

t.test("bad bytes cost the session, nothing else, and what came before them counts", async (t) => {
  for (const [what, bytes, reason] of badBytes) {
    const { house, raw, session, heard } = await entered();
    const other = await house.enter();
    const neighbour = await house.sessions.next();
    raw.socket.write(Buffer.concat([encodeMessage(ready), bytes, encodeMessage(ready)]));
    t.match(await session.closed.next(), reason, what);
    await raw.ended;
    t.same(heard.all, [ready], "nothing behind them is looked at");
    neighbour.link.send({ kind: "drain" });
    await other.bytes(4);
    t.equal(neighbour.closed.all.length, 0);
    await house.close();
  }
});

t.test("a frame that began and stands still ends after 30 s; bytes that trickle keep it", async (t) => {
  const { house, raw, session } = await entered();
  const feed = async (byte: number) => {
    const heard = new Promise<void>((resolve) => (session.link.onHeard = resolve));
    raw.socket.write(Uint8Array.of(byte));
    await heard;
  };
  const pass = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 500) session.link.tick(house.clock.ms += 500);
  };
  await feed(0);
  pass(29_500);
  await feed(0);
  pass(29_500);
  t.same(session.closed.all, []);
  pass(500);
  t.match(session.closed.all, [/a frame began and did not go on for 30 s/]);
  await house.close();
});

t.test("a master that was stopped for a minute blames nobody for it", async (t) => {
  const { house, raw, session: { link, closed } } = await entered();
  const heard = new Promise<void>((resolve) => (link.onHeard = resolve));
  raw.socket.write(Uint8Array.of(0));
  await heard;
  link.tick(house.clock.ms);
  house.clock.ms += 60_000;
  link.tick(house.clock.ms);
  t.same(closed.all, []);
  await house.close();
});

t.test("how a session ends is said once", async (t) => {
  const ends: readonly (readonly [string, (raw: Raw) => void, RegExp])[] = [
    ["FIN", (raw) => raw.socket.end(), /ended the connection/],
    ["FIN within a frame", (raw) => raw.socket.end(Uint8Array.of(0, 0, 0, 9, 1)), /ended within a frame/],
    ["RST", (raw) => raw.socket.resetAndDestroy(), /ECONNRESET|ended|gone/],
  ];
  for (const [what, end, reason] of ends) {
    const { house, raw, session: { link, closed } } = await entered();
    end(raw);
    t.match(await closed.next(), reason, what);
    await raw.ended;
    await link.close("again");
    link.send({ kind: "drain" });
    t.equal(link.tick(house.clock.ms), Infinity);
    t.equal(closed.all.length, 1);
    await house.close();
  }
});

t.test("close() sends what is queued, says so at once, and resolves when the connection is gone", async (t) => {
  const { house, raw, session: { link, closed } } = await entered();
  link.send({ kind: "dismiss" });
  const gone = link.close("the run is complete");
  t.same(closed.all, ["the run is complete"], "from within close()");
  t.same(await raw.bytes(encodeMessage({ kind: "dismiss" }).length), encodeMessage({ kind: "dismiss" }));
  await gone;
  await raw.ended;
  await house.close();
});

t.test("who is closed is told why: by close(), by bad bytes, by a frame that stands still", async (t) => {
  const ends: readonly (readonly [string, (house: House, session: Session) => void, RegExp])[] = [
    [
      "close()",
      (_, { link }) => void link.close("for the log", "for the other\nside"),
      /^for the other\\nside$/,
    ],
    ["a long reason", (_, { link }) => void link.close("x".repeat(5_000)), /^x{999}…$/],
  ];
  for (const [what, end, words] of ends) {
    const { house, raw, session } = await entered();
    end(house, session);
    t.match(await byeOf(raw), words, what);
    await raw.ended;
    await house.close();
  }
  for (const [what, bytes, reason] of badBytes) {
    const { house, raw, session } = await entered();
    raw.socket.write(bytes);
    t.match(await byeOf(raw), reason, what);
    t.match(session.closed.all, [reason]);
    await house.close();
  }
  const { house, raw, session } = await entered();
  const heard = new Promise<void>((resolve) => (session.link.onHeard = resolve));
  raw.socket.write(Uint8Array.of(0));
  await heard;
  session.link.tick(house.clock.ms);
  for (let passed = 0; passed < 30_000; passed += 500) session.link.tick(house.clock.ms += 500);
  t.match(await byeOf(raw), /did not go on for 30 s/);
  await house.close();
});

t.test("a goodbye ends the session, with its reason made safe, and nothing behind it counts", async (t) => {
  const { house, raw, session, heard } = await entered();
  raw.socket.write(
    Buffer.concat(
      [ready, { kind: "bye", reason: "no\u202e more" }, ready].map((message) =>
        encodeMessage(message as SlaveMessage)
      ),
    ),
  );
  t.equal(await session.closed.next(), "it said: no\\u202e more");
  await raw.ended;
  t.same(heard.all, [ready]);
  await house.close();
});

/** The reason of the `bye` that comes, behind beats. */
async function byeOf(raw: Raw): Promise<string> {
  for (;;) {
    const length = new DataView((await raw.bytes(4)).buffer).getUint32(0);
    const message = parseMasterMessage(await raw.bytes(length));
    if (message.kind === "bye") return message.reason;
  }
}

t.test("onClose set too late is called all the same", async (t) => {
  const house = await openHouse();
  const { link } = await house.dial();
  const { link: master } = await house.sessions.next();
  const gone = new Promise<void>((resolve) => master.onClose = () => resolve());
  void link.close("bye");
  await gone;
  t.equal(await new Promise((resolve) => (link.onClose = resolve)), "bye");
  await house.close();
});

const lease = (bytes: number) =>
  ({
    kind: "lease",
    number: 1,
    seq: 0,
    count: 1,
    attempt: 1,
    alone: "no",
    probe: false,
    jobs: new Uint8Array(bytes),
  }) as const;

/** Sends to a peer that reads nothing until the system takes no more and `bytes` wait. */
async function fill(session: Session, bytes: number): Promise<void> {
  for (let calm = 0; calm < 3;) {
    const before = session.link.queuedBytes;
    if (before < bytes) session.link.send(lease(256 << 10));
    await new Promise((resolve) => setTimeout(resolve, 5));
    calm = session.link.queuedBytes >= bytes ? calm + 1 : 0;
  }
}

t.test("a reader that stopped: congestion, then a write deadline of 10 s; its neighbour does not notice", async (t) => {
  const { house, raw, session } = await entered();
  const other = await house.enter();
  const neighbour = await house.sessions.next();
  raw.socket.pause();
  await fill(session, 1 << 20);
  t.ok(session.link.isCongested);
  t.ok(session.link.queuedBytes < 2 << 20, "memory stays flat");
  const beganMs = house.clock.ms;
  t.ok(session.link.tick(beganMs) <= beganMs + 10_000);
  while (house.clock.ms < beganMs + 9_500) session.link.tick(house.clock.ms += 500);
  t.same(session.closed.all, []);
  session.link.tick(house.clock.ms = beganMs + 10_000);
  t.match(session.closed.all, [/took no bytes for 10 s/]);
  neighbour.link.send({ kind: "drain" });
  await other.bytes(4);
  await house.close();
});

t.test("a slow reader: onDrain tells when to go on", async (t) => {
  const { house, raw, session } = await entered();
  raw.socket.pause();
  await fill(session, 1 << 20);
  const drained = new Promise<void>((resolve) => (session.link.onDrain = resolve));
  raw.socket.resume();
  await drained;
  t.notOk(session.link.isCongested);
  t.same(session.closed.all, []);
  await house.close();
});

t.test("one message of those queued may be longer than 8 MiB", async (t) => {
  const { house, raw, session } = await entered();
  raw.socket.pause();
  session.link.send({ kind: "beat" });
  session.link.send(lease(9 << 20));
  session.link.send(lease(1 << 20));
  t.same(session.closed.all, []);
  await house.close();
});

t.test("a queue over 8 MiB ends the session at once", async (t) => {
  const { house, raw, session } = await entered();
  raw.socket.pause();
  for (let index = 0; index < 20 && session.closed.all.length === 0; index++) {
    session.link.send(lease(1 << 20));
  }
  t.match(session.closed.all, [/takes no bytes/]);
  t.equal(session.link.queuedBytes > 2 << 20, false, "and is forgotten");
  await house.close();
});

/** Lets time pass for a session whose slave says something every 2.5 s; ends when it does. */
async function passHeard(
  { house, raw, session }: Awaited<ReturnType<typeof entered>>,
  toMs: number,
): Promise<void> {
  while (house.clock.ms < toMs && session.closed.all.length === 0) {
    const heard = new Promise<void>((resolve) => (session.link.onHeard = resolve));
    raw.socket.write(encodeMessage({ kind: "beat" }));
    await heard;
    for (let step = 0; step < 5 && session.closed.all.length === 0; step++) {
      session.link.tick(house.clock.ms += 500);
    }
  }
}

t.test("a link of 10 KB/s keeps its session, though it takes minutes until the system takes more", async (t) => {
  const peer = await entered();
  const { house, raw, session } = peer;
  raw.socket.pause();
  await fill(session, 1 << 20);
  const beganMs = house.clock.ms;
  // The longest piece, and a third of 4 MiB.
  await passHeard(peer, beganMs + (2 ** 20 + 2 ** 22 / 3) / 10);
  t.same(session.closed.all, []);
  const drained = new Promise<void>((resolve) => (session.link.onDrain = resolve));
  raw.socket.resume();
  await drained;
  await house.close();
});

t.test("a reader that stopped, and is heard, is given up after five minutes", async (t) => {
  const peer = await entered();
  const { house, raw, session } = peer;
  raw.socket.pause();
  await fill(session, 1 << 20);
  await passHeard(peer, house.clock.ms + 300_000);
  t.match(session.closed.all, [/took no bytes for 300 s/]);
  await house.close();
});

t.test("unfinished frames of all connections have one bound: the slowest ones go, until there is room", async (t) => {
  const frames = new UnfinishedFrames(100);
  const ended: number[] = [];
  const open = (pace: number) => {
    const one = {
      pace: () => pace,
      end: (reason: string) => {
        t.match(reason, /its own came the slowest/);
        ended.push(pace);
        frames.note(one, 0, 0);
      },
    };
    return one;
  };
  const [quick, slow, slower] = [open(9), open(3), open(1)];
  frames.note(quick, 40, 0);
  frames.note(slower, 30, 0);
  frames.note(slow, 30, 0);
  t.same([ended, frames.bytes], [[], 100], "all that there is room for");
  frames.note(quick, 60, 0);
  t.same([ended, frames.bytes], [[1], 90]);
  frames.note(quick, 101, 0);
  t.same([ended, frames.bytes], [[1, 3, 9], 0], "nobody is spared");
});

t.test("what a session began and did not end is let go with it, and small frames do not count", async (t) => {
  const unfinished = new UnfinishedFrames();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [socket] = (await once(server, "connection")) as [Socket];
  const link = new SocketLink(socket, {
    parse: parseSlaveMessage,
    heartbeatMs: 5_000,
    nowMs: () => performance.now(),
    unfinished,
  });
  let heard = 0;
  link.onHeard = () => heard++;
  const send = async (bytes: Uint8Array) => {
    const before = heard;
    client.write(bytes);
    while (heard === before) await turn();
    await turn();
  };
  await send(Uint8Array.of(0, 1, 0, 0, 1, 2, 3));
  t.equal(unfinished.bytes, 0, "64 KiB announced, and few bytes came");
  await send(new Uint8Array(40_000));
  t.ok(unfinished.bytes >= 40_000 && unfinished.bytes <= 65_540, `${unfinished.bytes}`);
  void link.close("enough");
  t.equal(unfinished.bytes, 0);
  client.destroy();
  server.close();
});
