import t, { type Test } from "tap";
import { frame, introduction } from "../protocol/samples.ts";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { encodeHello, encodeRefusal, Secret } from "../../src/protocol/handshake.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import { directions, Proxy } from "../kit/proxy.ts";
import { optionsOf, pathOf } from "../certificates/certificates.ts";
import { authFor, Raw } from "../link/harness.ts";
import { FakeSlave, type FakeSlaveOptions } from "../kit/fake_slave.ts";
import { randomFrom } from "../kit/random.ts";
import { portOf, probePlugin } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import type { Told } from "../kit/program.ts";
import { heartbeat, row, type Stage, token } from "./stage.ts";

// Of tables A, B and E of docs/reliability.md, what needs a peer that speaks the protocol and breaks its rules.

t.jobs = 3;

const join = (port: number, options: Partial<FakeSlaveOptions> = {}) =>
  FakeSlave.join({ host: "127.0.0.1", port }, { token, credit: 2, ...options });

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const noise = (bytes: number, seed: number) => {
  const random = randomFrom(seed);
  return Buffer.from(Array.from({ length: bytes }, () => random(256)));
};

/** What a session may say that no message is, and the reason for which its master ends it. */
const hostile: readonly (readonly [what: string, bytes: Uint8Array, reason: RegExp])[] = [
  ["a frame of 16 MiB and a byte", hex("01000001"), /a frame of 16777217 bytes: at most 16777216/],
  ["a frame of 4 GiB", hex("ffffffff 00"), /a frame of 4294967295 bytes: at most 16777216/],
  ["a stream of random bytes", noise(4_096, 9), /a frame of \d+ bytes: at most 16777216/],
  ["random bytes in a frame", frame(noise(4_096, 11)), /Cannot accept these bytes/],
  ["depth", frame(hex(`${"81".repeat(33)} 00`)), /more than 32 levels/],
  ["an array's length", frame(hex("9a ffffffff")), /more items announced than bytes/],
  ["a map's length", frame(hex("ba ffffffff")), /more items announced than bytes/],
  ["a text's length", frame(hex("7a ffffffff 61")), /a string longer than the bytes/],
  ["a bignum of 1,025 bytes", frame(hex(`c3 59 0401 ${"ff".repeat(1_025)}`)), /the wrong thing behind a tag/],
  ["a packed table", frame(hex("d8 33 84 81 61 61 80 80 e0")), /the tag 51/],
  ["a record", frame(hex("d9 dfff 83 19 e000 81 61 61 01")), /the tag 57343/],
  ["a RegExp", frame(hex("d8 1b 83 66 526567457870 64 28612b29 60")), /the tag 27/],
  ["an Error", frame(hex("d8 1b 83 65 4572726f72 61 61 f6")), /the tag 27/],
  ["an array of indefinite length", frame(hex("9f 00 ff")), /an indefinite or reserved length/],
  ["a text of indefinite length", frame(hex("7f 61 61 ff")), /an indefinite or reserved length/],
  [
    "bytes behind a beat",
    frame(Buffer.concat([encodeMessage({ kind: "beat" }).subarray(4), hex("00")])),
    /1 bytes behind the item/,
  ],
  ["a key __proto__", frame(hex("a1 69 5f5f70726f746f5f5f a0")), /the key __proto__/],
  [
    "a beat with a key __proto__",
    frame(hex("a2 646b696e64 6462656174 69 5f5f70726f746f5f5f a0")),
    /__proto__/,
  ],
];

row("A17: a slave of another protocol version is refused, and both versions are named", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = await portOf(master);
  const raw = await Raw.connect(port);
  const auth = authFor(await raw.bytes(50), token);
  auth[13] = 3;
  raw.socket.write(auth);
  t.match(await raw.greeting(), { kind: "error", code: "version", version: 2 });
  await raw.ended;
  await master.printed(/it speaks version 3 of the protocol, this master version 2/);
  t.same(master.events("joined"), []);
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
});

row("A17: a slave at a master of another version exits 5, naming both", async (t, stage) => {
  let told = Buffer.alloc(0);
  const newer = createServer((socket) => {
    const hello = encodeHello(new Uint8Array(32), new Secret(token));
    hello[13] = 3;
    socket.write(hello);
    socket.on("error", () => {}).on("data", (bytes: Buffer) => told = Buffer.concat([told, bytes]));
  });
  t.teardown(() => newer.close());
  await new Promise<void>((resolve) => newer.listen(0, "127.0.0.1", resolve));
  const slave = stage.hand((newer.address() as AddressInfo).port);
  t.equal(await slave.ended, 5);
  t.match(slave.stderr, /version 3 of the protocol, this side version 2/);
  t.same([...told], [...encodeRefusal("version")], "it told the master so, and no more");
});

row("B2: resets: both ends clean up once, and nothing is run again", async (t, stage) => {
  const master = stage.scripted("20*gate:a,300*wait:2,20*gate:b,100*wait:2", heartbeat);
  const proxy = await Proxy.open(await portOf(master));
  t.teardown(() => proxy.close());
  const slave = stage.hand(proxy.port, ["--concurrency", "20"]);
  await until(() => stage.entries("B").length === 20, "the first twenty begun");
  for (let resets = 1; resets <= 3; resets++) {
    proxy.reset();
    await until(() => master.events("joined").length === resets + 1, `it came back ${resets} times`);
    stage.open(resets === 1 ? "a" : "b");
  }
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0, slave.stderr);
  t.equal(master.events("left").length, 4, "each session ended once");
  // a lease that was under way at a reset is handed out again, and was never begun
  t.match(master.ending(), { handedOut: 440, done: 440, dead: 0 });
  t.equal(stage.records().repeated, 0);
  for (const { stderr } of [master, slave]) t.notMatch(stderr, /ERROR|unexpected|\n {4}at /);
});

row("B2: resets in mid-handshake leave no word in the log", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = await portOf(master);
  for (const bytes of [0, 1, 18, 50]) {
    const raw = await Raw.connect(port);
    const auth = authFor(await raw.bytes(50), token);
    await new Promise((sent) => raw.socket.write(auth.subarray(0, bytes), sent));
    raw.socket.resetAndDestroy();
    await raw.ended;
  }
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
  t.notMatch(master.stderr, /WARN|ERROR/);
});

row(
  "B9, B10, B11, E3: frames too long, cut off, random, and bombs: each ends its own session, and nothing else",
  async (t, stage) => {
    const attacks = [...hostile, [
      "a frame that FIN cuts off",
      hex("000000ff a1"),
      /its connection closed without a word/,
    ]] as const;
    const master = stage.scripted(attacks.map((_, number) => `gate:${number}`).join());
    const port = await portOf(master);
    const slave = stage.hand(port);
    const left = () => master.events("left");
    for (const [number, [what, bytes, reason]] of attacks.entries()) {
      await until(() => stage.entries("B", number).length === 1, `job ${number} begun`);
      const raw = await Raw.connect(port);
      // It names no plugin: one of another would be refused.
      raw.socket.write(authFor(await raw.bytes(50), token, undefined, { ...introduction, plugin: null }));
      t.match(await raw.greeting(), { kind: "welcome" }, what);
      raw.socket.write(encodeMessage({ kind: "ready", credit: 0, held: [] }));
      await raw.bytes(4);
      raw.socket.write(bytes);
      if (number === hostile.length) raw.socket.end();
      await raw.ended;
      await until(() => left().length === number + 1, `the session with ${what} ended`);
      t.match(left()[number], { slave: /^web1/, reason }, what);
      stage.open(String(number));
    }
    t.equal(await master.ended, 0, master.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.equal(left().length, attacks.length + 1, "of the slave at work there was one session, to the end");
    t.match(master.ending(), { handedOut: attacks.length, done: attacks.length, dead: 0, repeated: 0 });
    t.equal(stage.records().repeated, 0);
    for (const { stderr } of [master, slave]) t.notMatch(stderr, /ERROR|unexpected|\n {4}at /);
  },
);

row(
  "B6: a slave that is back before its old connection died: what it names moves, the rest is requeued at once",
  async (t, stage) => {
    const master = stage.scripted("2*ok,2*ok", ["--size", "2"]);
    const port = await portOf(master);
    const old = await join(port, { slaveId: "s1" });
    const lease = await old.lease();
    t.match(lease, { seq: 0, count: 2 });
    const other = await join(port);
    await other.take("keep");
    const name = { masterId: old.welcome.masterId, number: lease.number };
    const beganMs = performance.now();
    const back = await join(port, { slaveId: "s1", credit: 1, held: [{ lease: name, jobs: [0, 1] }] });
    t.match(await back.take("keep"), { leases: [{ lease: name, jobs: [0, 1] }] });
    await old.closed;
    const moved = await other.lease();
    t.match(moved, { seq: 1, count: 1 }, "the job that it did not name");
    t.ok(performance.now() - beganMs < 1_000, "at once");
    // What the old connection still said would count for nothing: the lease is the new session's.
    back.answer(lease, { done: [0, 1], credit: 2 });
    other.answer(moved);
    void back.work();
    void other.work();
    t.equal(await master.ended, 0, master.stderr);
    t.match(master.ending(), { handedOut: 4, done: 4, repeated: 1 }, "the one that moved to another");
  },
);

row(
  "B7: answers sent twice, for a lease unknown or another's, for jobs beyond it: nothing changes",
  async (t, stage) => {
    const master = stage.scripted("4*ok", [
      "--checkpoint",
      "50ms",
      "--attempts",
      "1",
      "--status-interval",
      "100ms",
    ]);
    const port = await portOf(master);
    const one = await join(port, { name: "one" });
    const two = await join(port, { name: "two" });
    const mine = await one.lease();
    const yours = await two.lease();
    t.same([mine.seq, mine.count, yours.seq, yours.count], [0, 2, 2, 2]);
    const { masterId } = one.welcome;
    const failed = { how: "fatal", message: "forged", stack: "", durationMs: 1 } as const;
    let sent = 0;
    const forge = (parts: Parameters<FakeSlave["answer"]>[1]) => {
      sent++;
      one.answer(mine, { done: [], ...parts });
    };
    // Of nothing that it holds: another session's lease, one never made, another master's, one of jobs it never had.
    for (
      const lease of [
        { masterId, number: yours.number },
        { masterId, number: 999 },
        { masterId: "another", number: mine.number },
      ]
    ) {
      forge({ lease, done: [0, 4] });
      forge({ lease, skipped: [0, 4] });
      forge({ lease, failed: [2, 3].map((seq) => ({ ...failed, seq })) });
      forge({ lease, crash: { suspects: [2, 3], reason: "forged" } });
      forge({ lease, released: [2, 4] });
    }
    forge({ done: [2, 4] });
    forge({ failed: [{ ...failed, seq: 3 }] });
    forge({ done: [1_000, 2_000] });
    for (let through = 0; through < sent;) ({ through } = await one.take("saved"));
    t.match(await stage.state(), { handedOut: 4, done: 0, skipped: 0, dead: 0, strandedCount: 4 });

    one.answer(mine, { done: [0, 1] });
    one.answer(mine, { done: [0, 1] });
    one.answer(mine, { failed: [{ ...failed, seq: 0 }], done: [] });
    sent += 3;
    for (let through = 0; through < sent;) ({ through } = await one.take("saved"));
    t.match(await stage.state(), { done: 1, dead: 0, strandedCount: 3 }, "once, and as it was said first");
    t.same([master.events("left"), master.events("dead")], [[], []], "stale is no offence");
    one.answer(mine, { done: [1, 2] });
    two.answer(yours);
    t.equal(await master.ended, 0, master.stderr);
    t.match(master.ending(), { handedOut: 4, done: 4, skipped: 0, dead: 0, repeated: 0 });
  },
);

row("B7: an answer for a lease that was lost, and leased again, is stale", async (t, stage) => {
  const master = stage.scripted("2*ok", ["--checkpoint", "50ms"]);
  const port = await portOf(master);
  const first = await join(port, { slaveId: "first" });
  const lost = await first.lease();
  const { masterId } = first.welcome;
  void first.link.close("gone");
  const second = await join(port);
  const held = await second.lease();
  t.match(held, { seq: 0, count: 2 });
  // Back as the same slave, with its old lease: it was handed on.
  const held0 = [{ lease: { masterId, number: lost.number }, jobs: [0, 2] }];
  const late = await join(port, { slaveId: "first", held: held0 });
  t.match(await late.take("keep"), { leases: [] });
  late.answer(lost);
  await late.take("saved");
  t.match(await stage.state(), { done: 0, strandedCount: 2 });
  second.answer(held);
  t.equal(await master.ended, 0, master.stderr);
  t.match(master.ending(), { handedOut: 2, done: 2, repeated: 2 });
});

/** A slave at the end of a link of two seconds each way and a thousand bytes a second. */
async function serveSlowly(
  t: Test,
  stage: Stage,
  jobs: readonly string[],
  tls: Readonly<Record<"master" | "slave", readonly string[]>> = { master: [], slave: [] },
): Promise<Told> {
  const serving = stage.masterOf(probePlugin, [...jobs, ...tls.master]);
  const proxy = await Proxy.open(await portOf(serving));
  t.teardown(() => proxy.close());
  proxy.set(directions, { latencyMs: 2_000, bytesPerSecond: 1_000 });
  const working = stage.hand(proxy.port, tls.slave, probePlugin);
  t.equal(await serving.ended, 0, serving.stderr);
  t.equal(await working.ended, 0, working.stderr);
  t.equal(serving.events("joined").length, 1, "one session did it all");
  t.notMatch(working.stderr, /again/, "and its first attempt to join was good");
  t.equal(stage.records().repeated, 0);
  return serving.ending();
}

row.long(
  "B16: over 2 s each way and 1 KB/s a slave joins, and a job that takes longer than three heartbeats arrives",
  async (t, stage) => {
    const told = await serveSlowly(t, stage, ["jobs=2", "bytes=20000"]);
    t.match(told, { handedOut: 2, done: 2, dead: 0, repeated: 0 });
  },
);

row.long("B16: the same link with TLS, which takes longer than a plain handshake may", async (t, stage) => {
  const tls = { master: optionsOf("master", stage.folder), slave: ["--tls-ca", pathOf("ca")] };
  const told = await serveSlowly(t, stage, ["jobs=6"], tls);
  t.match(told, { handedOut: 6, done: 6, dead: 0, repeated: 0 });
});
