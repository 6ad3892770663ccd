import t from "tap";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { encodeHello, encodeRefusal, Secret } from "../../src/protocol/handshake.ts";
import { authFor, Raw } from "../link/harness.ts";
import { FakeSlave, type FakeSlaveOptions } from "../master/fake_slave.ts";
import { portOf, until } from "./harness.ts";
import { Relay } from "./relay.ts";
import { ending, events, heartbeat, row, token } from "./stage.ts";

// Of tables A and B of docs/reliability.md, what needs a peer that speaks the protocol and breaks its rules.

t.jobs = 3;

const join = (port: number, options: Partial<FakeSlaveOptions> = {}) =>
  FakeSlave.join({ host: "127.0.0.1", port }, { token, credit: 2, ...options });

row("A17: a slave of another protocol version is refused, and both versions are named", async (t, stage) => {
  const master = stage.scripted("3*ok");
  const port = await portOf(master);
  const raw = await Raw.connect(port);
  const auth = authFor(await raw.bytes(50), token);
  auth[13] = 2;
  raw.socket.write(auth);
  t.match(await raw.greeting(), { kind: "error", code: "version", version: 1 });
  await raw.ended;
  await master.printed(/it speaks version 2 of the protocol, this master version 1/);
  t.same(events(master, "joined"), []);
  stage.hand(port);
  t.equal(await master.ended, 0, master.stderr);
});

row("A17: a slave at a master of another version exits 5, naming both", async (t, stage) => {
  let told = Buffer.alloc(0);
  const newer = createServer((socket) => {
    const hello = encodeHello(new Uint8Array(32), new Secret(token));
    hello[13] = 2;
    socket.write(hello);
    socket.on("error", () => {}).on("data", (bytes: Buffer) => told = Buffer.concat([told, bytes]));
  });
  t.teardown(() => newer.close());
  await new Promise<void>((resolve) => newer.listen(0, "127.0.0.1", resolve));
  const slave = stage.hand((newer.address() as AddressInfo).port);
  t.equal(await slave.ended, 5);
  t.match(slave.stderr, /version 2 of the protocol, this side version 1/);
  t.same([...told], [...encodeRefusal("version")], "it told the master so, and no more");
});

row("B2: resets: both ends clean up once, and nothing is run again", async (t, stage) => {
  const master = stage.scripted("20*gate:a,300*wait:2,20*gate:b,100*wait:2", heartbeat);
  const relay = await Relay.to(await portOf(master));
  t.teardown(() => relay.close());
  const slave = stage.hand(relay.port, ["--concurrency", "20"]);
  await until(() => stage.entries("B").length === 20, "the first twenty begun");
  for (let resets = 1; resets <= 3; resets++) {
    relay.reset();
    await until(() => events(master, "joined").length === resets + 1, `it came back ${resets} times`);
    stage.open(resets === 1 ? "a" : "b");
  }
  t.equal(await master.ended, 0, master.stderr);
  t.equal(await slave.ended, 0, slave.stderr);
  t.equal(events(master, "left").length, 4, "each session ended once");
  // a lease that was under way at a reset is handed out again, and was never begun
  t.match(ending(master), { handedOut: 440, done: 440, dead: 0 });
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
    t.match(ending(master), { handedOut: 4, done: 4, repeated: 1 }, "the one that moved to another");
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
    t.same([events(master, "left"), events(master, "dead")], [[], []], "stale is no offence");
    one.answer(mine, { done: [1, 2] });
    two.answer(yours);
    t.equal(await master.ended, 0, master.stderr);
    t.match(ending(master), { handedOut: 4, done: 4, skipped: 0, dead: 0, repeated: 0 });
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
  t.match(ending(master), { handedOut: 2, done: 2, repeated: 2 });
});
