import t from "tap";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { encode } from "../../src/protocol/cbor.ts";
import type { MasterMessage } from "../../src/protocol/messages.ts";
import { Proxy } from "../kit/proxy.ts";
import { FakeMaster } from "./fake_master.ts";
import { type Lines, ownTemporaryFolder, slaveOf } from "./slave_harness.ts";

t.jobs = 1;
const temporary = ownTemporaryFolder();
t.teardown(() => rmSync(temporary, { recursive: true, force: true }));

const lease = (number: number, seq: number, count = 1): MasterMessage => ({
  kind: "lease",
  number,
  seq,
  count,
  attempt: 1,
  alone: "no",
  probe: false,
  jobs: new Uint8Array(Buffer.concat(Array.from({ length: count }, () => encode({})))),
});

/** What a master does that it must not, to a slave with a credit of 3; and how both logs name it. */
const offences: readonly (readonly [string, RegExp, (master: FakeMaster) => void])[] = [
  [
    "more jobs than the slave takes",
    /leased 4 jobs to a slave that holds 0 and said that it takes 3 at most/,
    (master) => {
      master.send(lease(1, 0, 4));
    },
  ],
  ["too many in several leases", /leased 2 jobs to a slave that holds 2 /, (master) => {
    master.send(lease(1, 0, 2));
    master.send(lease(2, 2, 2));
  }],
  ["a number used before", /sent lease 7 behind lease 7: their numbers count up/, (master) => {
    master.send(lease(7, 0));
    master.send(lease(7, 1));
  }],
  ["a number below", /sent lease 6 behind lease 7/, (master) => {
    master.send(lease(7, 0));
    master.send(lease(6, 1));
  }],
  ["keep twice", /said "keep" twice/, (master) => master.send({ kind: "keep", leases: [] })],
  [
    "jobs that cannot be counted",
    /sent a lease of jobs from 9007199254740991 on: no number is beyond that/,
    (master) => master.send(lease(1, Number.MAX_SAFE_INTEGER)),
  ],
  [
    "what is no message of a master",
    /its kind is none of keep, lease/,
    (master) => master.send({ kind: "leaving" } as unknown as MasterMessage),
  ],
  [
    "jobs that are none",
    /sent a lease that cannot be read. Cannot read 2 jobs: there are 1 bytes/,
    (master) => {
      master.send({ ...lease(1, 0, 2), jobs: new Uint8Array(1) } as MasterMessage);
    },
  ],
];

t.test("a master that breaks a rule loses the session, and both logs say which", async (t) => {
  for (const [what, words, offend] of offences) {
    const master = await FakeMaster.start();
    const lines: Lines = [];
    const slave = slaveOf(master, { extraCredit: 2 }, lines);
    await master.until(() => master.said.some((message) => "credit" in message && message.credit === 3));
    offend(master);
    await master.until(() => master.closed === 1);
    t.match(master.closedFor[0], words, `${what}: said to the master`);
    t.match(master.closedFor[0], /^it said: (?:this master|Cannot accept this message)/);
    t.ok(lines.some(({ level, message }) => level === "warn" && words.test(message)), "and logged here");
    await master.until((master) => master.intros.length === 2);
    slave.kill();
    await slave.finished;
    await master.stop();
  }
});

t.test("more bytes than a slave can hold lose the session, whatever its credit is", async (t) => {
  const master = await FakeMaster.start({ releases: false });
  const lines: Lines = [];
  const slave = slaveOf(master, { concurrency: 100 }, lines);
  await master.until(() => master.said.some((message) => "credit" in message && message.credit > 1_000));
  const jobs = new Uint8Array(encode({ do: "hang", more: "x".repeat((1 << 20) - 100) }));
  let sent = 0;
  const sendMore = () => {
    for (let more = 0; more < 4 && master.closed === 0 && !master.link!.isCongested; more++) {
      master.send({ ...lease(++sent, sent), jobs } as MasterMessage);
    }
    if (master.closed === 0 && sent < 400) setTimeout(sendMore, 1);
  };
  sendMore();
  await master.until(() => master.closed === 1);
  t.match(master.closedFor[0], /leased .*B of jobs to a slave that holds 22\dMiB and asked for no more/);
  t.ok(
    master.said.some((message) => message.kind === "credit" && message.credit === 100_100),
    "it had asked for less",
  );
  slave.kill();
  await slave.finished;
  await master.stop();
});

t.test("a master that leases on and reads no answers loses the session: they must not pile up here", async (t) => {
  const master = await FakeMaster.start({ releases: false });
  const proxy = await Proxy.open(master.port);
  const lines: Lines = [];
  const slave = slaveOf(proxy, { concurrency: 20, extraCredit: 100 }, lines);
  await master.until(() => master.said.some((message) => "credit" in message && message.credit >= 120));
  proxy.hold(["up"]);
  const jobs = encode({ do: "throw long" });
  let sent = 0;
  const isOver = () =>
    lines.some(({ message }) => /^The master leased 10 jobs to a slave that holds/.test(message));
  for (const endMs = Date.now() + 20_000; !isOver() && Date.now() < endMs; await sleep(5)) {
    const body = new Uint8Array(Buffer.concat(Array.from({ length: 10 }, () => jobs)));
    if (master.closed === 0) master.send({ ...lease(++sent, 10 * sent, 10), jobs: body } as MasterMessage);
  }
  t.ok(isOver(), `${10 * sent} jobs were leased: ${JSON.stringify(lines)}`);
  t.ok(slave.status().running < 120, "it was not that they ran");
  slave.kill();
  await slave.finished;
  await proxy.close();
  await master.stop();
});

t.test("words without end lose the session; a heartbeat that nobody can mean is not kept", async (t) => {
  const master = await FakeMaster.start({ heartbeatMs: 1 });
  const lines: Lines = [];
  const slave = slaveOf(master, {}, lines);
  await master.until(() => master.isReady);
  for (let said = 0; said < 5_000; said++) master.send({ kind: "saved", through: said });
  await master.until(() => master.closed === 1);
  t.match(master.closedFor[0], /said more beside leases than there can be to say/);
  await master.until((master) => master.intros.length === 2);
  const told = lines.filter(({ message }) => /a beat each 1ms, .* keeps to 50ms/.test(message));
  t.same(told.map(({ level }) => level), ["warn"], "told once");
  const beats = () => master.said.filter(({ kind }) => kind === "beat").length;
  const before = beats();
  await sleep(500);
  t.ok(beats() - before <= 14, "nor does it beat as often");
  slave.kill();
  await slave.finished;
  await master.stop();
});

t.test("a lease before keep loses the session", async (t) => {
  const master = await FakeMaster.start({ keepsLate: true });
  const slave = slaveOf(master);
  await master.until(() => master.isReady);
  master.send(lease(1, 0));
  await master.until(() => master.closed === 1);
  t.match(master.closedFor[0], /sent lease 1 before "keep"/);
  slave.kill();
  await slave.finished;
  await master.stop();
});

t.test("a credit that was lowered while a lease was on its way is no offence", async (t) => {
  const master = await FakeMaster.start();
  const slave = slaveOf(master, { extraCredit: 2 });
  await master.until(() => master.said.some((message) => "credit" in message && message.credit === 3));
  slave.drain();
  await master.until(() => master.said.some(({ kind }) => kind === "leaving"));
  master.send(lease(1, 0, 3));
  t.match(await slave.finished, { exitCode: 0 });
  await master.until(() => master.closed === 1);
  t.match(master.closedFor[0], /^it said: Drained/);
  await master.stop();
});

t.test("who is closed is told why", async (t) => {
  const master = await FakeMaster.start({ heartbeatMs: 300 });
  const lines: Lines = [];
  const slave = slaveOf(master, {}, lines);
  t.teardown(() => slave.kill());
  await master.until(() => master.isReady);
  await master.link!.close("enough", "a reason\nof its own");
  await master.until((master) => master.said.filter(({ kind }) => kind === "ready").length === 2);
  const said = /ended: it said: a reason\\nof its own; connecting again/;
  t.ok(lines.some(({ message }) => said.test(message)));
  slave.kill();
  await slave.finished;
  while (master.closed < 2) await sleep(5);
  t.equal(master.closedFor[1], "it said: Killed");
  await master.stop();
});
