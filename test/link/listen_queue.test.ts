import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import t from "tap";
import { connectionsMax } from "../../src/lib/limits.ts";
import { HandshakeQueue, handshakesMax, placesFor } from "../../src/link/listen.ts";
import { Secret } from "../../src/protocol/handshake.ts";
import { introduction, welcome } from "../protocol/samples.ts";
import { authFor, token } from "./harness.ts";

/** A connection without a network: what the master wrote, and what it is made to hear. */
class FakeSocket extends Duplex {
  written = Buffer.alloc(0);
  setNoDelay = () => this;
  destroySoon = () => void this.destroy();
  override _read() {}
  override _write(chunk: Buffer, _encoding: unknown, done: () => void) {
    this.written = Buffer.concat([this.written, chunk]);
    done();
  }
  get wasGreeted(): boolean {
    return this.written.length > 0;
  }
}

/** A handshake queue, a clock that stands still, and who got in. */
function open(placesMax?: number) {
  const clock = { ms: 1_000_000 };
  const entered: string[] = [];
  const queue = new HandshakeQueue({
    secret: new Secret(token),
    welcome: () => welcome,
    nowMs: () => clock.ms,
    log: () => {},
    onSession: (_link, intro) => entered.push(intro.slaveId),
    ...(placesMax === undefined ? {} : { placesMax }),
  });
  const knock = () => {
    const socket = new FakeSocket();
    queue.admit(socket as unknown as Socket);
    return socket;
  };
  return { queue, clock, entered, knock };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test("a flood fills all places, and a real slave gets one all the same", async (t) => {
  const { queue, clock, entered, knock } = open();
  const flood = Array.from({ length: connectionsMax }, knock);
  t.equal(flood.filter(({ destroyed }) => destroyed).length, 0);
  const slave = knock();
  t.notOk(slave.destroyed);
  t.ok(flood[handshakesMax]!.destroyed, "the one that waited longest made room");
  t.equal(flood.filter(({ destroyed }) => destroyed).length, 1);
  queue.tick(clock.ms);
  clock.ms += 500;
  queue.tick(clock.ms);
  t.ok(slave.wasGreeted);
  slave.push(authFor(slave.written.subarray(0, 50)));
  await turn();
  t.same(entered, [introduction.slaveId]);
  queue.close();
});

t.test("sessions are never ended for a stranger", async (t) => {
  const { queue, entered, knock } = open();
  for (let count = 0; count < connectionsMax; count++) {
    const slave = knock();
    slave.push(authFor(slave.written.subarray(0, 50)));
    if (count % 32 === 31) await turn();
  }
  t.equal(entered.length, connectionsMax);
  t.ok(knock().destroyed);
  queue.close();
});

t.test("five seconds in all: the wait for a greeting counts", async (t) => {
  const { queue, clock, knock } = open();
  const first = knock();
  const crowd = Array.from({ length: handshakesMax - 1 }, knock);
  const waiting = knock();
  queue.tick(clock.ms);
  for (let looks = 0; looks < 12; looks++) queue.tick(clock.ms += 250);
  t.ok(waiting.wasGreeted && first.destroyed, "greeted in the first one's place");
  clock.ms += 250;
  crowd.forEach((socket) => socket.destroy());
  await turn();
  for (let looks = 0; looks < 6; looks++) queue.tick(clock.ms += 250);
  t.notOk(waiting.destroyed, "it is 4.75 s");
  queue.tick(clock.ms += 250);
  t.ok(waiting.destroyed);
  queue.close();
});

t.test("after a stall of the master, who proves the token was not late", async (t) => {
  const { queue, clock, entered, knock } = open();
  const slave = knock();
  const silent = knock();
  queue.tick(clock.ms);
  clock.ms += 60_000;
  queue.tick(clock.ms);
  t.notOk(slave.destroyed || silent.destroyed, "what they said may wait in the socket");
  slave.push(authFor(slave.written.subarray(0, 50)));
  await turn();
  t.same(entered, [introduction.slaveId]);
  queue.tick(clock.ms += 250);
  t.ok(silent.destroyed, "one look later it is judged");
  queue.close();
});

t.test("after a stall of the master nobody is crowded out by those who knocked meanwhile", async (t) => {
  const { queue, clock, knock } = open();
  const greeted = Array.from({ length: handshakesMax }, knock);
  queue.tick(clock.ms);
  clock.ms += 3_000;
  queue.tick(clock.ms);
  knock();
  t.notOk(greeted[0]!.destroyed);
  queue.tick(clock.ms += 250);
  t.ok(greeted[0]!.destroyed);
  queue.close();
});

t.test("with few places too, a real slave takes that of a stranger", async (t) => {
  const { queue, clock, entered, knock } = open(10);
  const flood = Array.from({ length: 10 }, knock);
  t.equal(flood.filter(({ wasGreeted }) => wasGreeted).length, 5, "half of them are greeted");
  const slave = knock();
  t.notOk(slave.destroyed);
  t.equal(flood.filter(({ destroyed }) => destroyed).length, 1);
  queue.tick(clock.ms);
  clock.ms += 500;
  queue.tick(clock.ms);
  slave.push(authFor(slave.written.subarray(0, 50)));
  await turn();
  t.same(entered, [introduction.slaveId]);
  queue.close();
});

t.test("connections leave descriptors for everything else", async (t) => {
  t.equal(placesFor(Infinity), connectionsMax);
  t.equal(placesFor(1_024), 896);
  t.equal(placesFor(64), 32);
});
