import t from "tap";
import { listen } from "../../src/link/listen.ts";
import { introduction } from "../protocol/samples.ts";
import { authFor, openHouse, Raw, token } from "./harness.ts";

t.test("a connection that proves the token gets a WELCOME, and is a session", async (t) => {
  const house = await openHouse();
  const raw = await house.knock();
  raw.socket.write(authFor(await raw.bytes(50)));
  t.match(await raw.greeting(), { kind: "welcome", insecure: false });
  const { intro, link } = await house.sessions.next();
  t.match(intro, { slaveId: "slave-1", procs: 4 });
  t.match(link.peer, /^127\.0\.0\.1:\d+$/);
  await house.close();
});

t.test("no two greetings have the same nonce, so that no AUTH is of use twice", async (t) => {
  const house = await openHouse();
  const hellos = await Promise.all(
    Array.from({ length: 20 }, async () => await (await house.knock()).bytes(50)),
  );
  t.equal(new Set(hellos.map((hello) => Buffer.from(hello).toString("hex"))).size, 20);
  await house.close();
});

t.test("AUTH may come one byte at a time", async (t) => {
  const house = await openHouse();
  const raw = await house.knock();
  raw.socket.setNoDelay(true);
  for (const byte of authFor(await raw.bytes(50))) {
    await new Promise((sent) => raw.socket.write(Uint8Array.of(byte), sent));
  }
  t.match(await raw.greeting(), { kind: "welcome" });
  await house.close();
});

t.test("whatever is wrong with the proof, the reply is the same", async (t) => {
  const house = await openHouse();
  const other = await house.knock();
  const replayed = authFor(await other.bytes(50));
  const replies: string[] = [];
  const wrong: ((hello: Uint8Array) => Uint8Array)[] = [
    (hello) => authFor(hello, new Uint8Array(32).fill(8)),
    (hello) => authFor(hello, null),
    () => replayed,
    (hello) => authFor(hello).map((byte, index) => index === 90 ? byte ^ 1 : byte),
  ];
  for (const answer of wrong) {
    const raw = await house.knock();
    raw.socket.write(answer(await raw.bytes(50)));
    replies.push(Buffer.from(await raw.bytes(19)).toString("hex"));
    await raw.ended;
    t.equal(raw.received.length, 0);
  }
  t.equal(new Set(replies).size, 1, replies[0]!);
  t.equal(house.sessions.all.length, 0);
  t.same(house.logs.map((line) => line.replace(/\d+\)/, "*)")), [
    "Refused a slave: it does not hold this master's token (127.0.0.1:*)",
  ], "one line for all of them");
  await house.close();
});

t.test("another version is refused, and both are named", async (t) => {
  const house = await openHouse();
  const raw = await house.knock();
  const auth = authFor(await raw.bytes(50));
  auth[13] = 9;
  raw.socket.write(auth);
  t.match(await raw.greeting(), { kind: "error", code: "version", version: 2 });
  t.match(house.logs, [/version 9 of the protocol, this master version 2; use one release/]);
  await house.close();
});

t.test("a master without a token names whose the mistake is, and so does one with a token", async (t) => {
  for (
    const [key, theirs, words] of [
      [null, token, /it proves a token, and this master runs with --insecure/],
      [token, null, /it runs with --insecure, and this master asks for a token/],
      [token, new Uint8Array(32).fill(8), /it does not hold this master's token/],
    ] as const
  ) {
    const house = await openHouse(key);
    const raw = await house.knock();
    raw.socket.write(authFor(await raw.bytes(50), theirs));
    t.match(await raw.greeting(), { kind: "error", code: "token" });
    t.match(house.logs, [words]);
    await house.close();
  }
});

t.test("an introduction that is wrong after a valid proof is refused for good, and the log says why", async (t) => {
  const house = await openHouse();
  const raw = await house.knock();
  raw.socket.write(authFor(await raw.bytes(50), token, undefined, { ...introduction, procs: -1 }));
  t.match(await raw.greeting(), { kind: "error", code: "info" });
  await raw.ended;
  t.match(house.logs, [/says of itself is not .* introduction.procs is -1, not within 0 to 100000 \(127/]);
  t.equal(house.sessions.all.length, 0);
  await house.close();
});

t.test("strangers are closed, and named once if they made a known mistake", async (t) => {
  const house = await openHouse();
  const speak = async (bytes: Uint8Array) => {
    const raw = await house.knock();
    raw.socket.write(bytes);
    await raw.ended;
  };
  await speak(Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
  await speak(Buffer.from("POST /metrics HTTP/1.1\r\n\r\n"));
  await speak(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3));
  await speak(Uint8Array.of(0, 1, 2, 3));
  await speak(Buffer.concat([authFor(await (await house.knock()).bytes(50)), Uint8Array.of(0)]));
  await speak(
    Buffer.concat([Buffer.from("taskmaster"), Uint8Array.of(2, 0, 0, 2), new Uint8Array(5_000).fill(9)]),
  );
  t.match(house.logs, [/HTTP request .* point browsers .* elsewhere/, /TLS connection .* plain port/]);
  t.equal(house.logs.length, 2, "one line each, none for noise");
  house.clock.ms += 10_001;
  await speak(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
  t.equal(house.logs.length, 3, "again after ten seconds");
  await house.close();
});

t.test("connect and close, connect and hold: no noise, and the held one ends after 5 s", async (t) => {
  const house = await openHouse();
  const scan = await house.knock();
  scan.socket.resetAndDestroy();
  const held = await house.knock();
  await held.bytes(50);
  house.clock.ms += 4_999;
  t.ok(house.listener.tick(house.clock.ms) <= house.clock.ms + 1_000, "it wants to be called again");
  house.clock.ms += 1;
  house.listener.tick(house.clock.ms);
  t.match(await held.greeting(), { kind: "error", code: "late" });
  await held.ended;
  t.equal(house.listener.tick(house.clock.ms), Infinity, "nothing is left to do");
  t.same(house.logs, []);
  await house.close();
});

t.test("at most 64 are greeted at once; a crowd holds a real slave up for half a second", async (t) => {
  const house = await openHouse();
  const crowd: Raw[] = [];
  for (let index = 0; index < 64; index++) {
    crowd.push(await house.knock());
    await crowd[index]!.bytes(50);
  }
  const dialed = house.dial();
  const waiting = await house.knock();
  house.listener.tick(house.clock.ms);
  t.equal(waiting.received.length, 0, "no HELLO while 64 have not proved anything");
  house.clock.ms += 500;
  const look = setInterval(() => house.listener.tick(house.clock.ms), 5);
  const { link } = await dialed;
  t.equal((await house.sessions.next()).intro.slaveId, "slave-1", "the oldest made room");
  t.match(await crowd[0]!.greeting(), { kind: "error", code: "busy" });
  clearInterval(look);
  await link.close("done");
  await house.close();
});

t.test("listen() says what to do when it cannot", async (t) => {
  const house = await openHouse();
  const { host, port } = house.listener.address;
  const options = {
    host,
    port,
    token,
    welcome: () => t.fail() as never,
    nowMs: () => 0,
    log: () => {},
    onSession() {},
  };
  await t.rejects(listen(options), {
    name: "ConnectError",
    exitCode: 5,
    message: /the port is taken; is another master running\? Choose another port with --host\./,
  });
  await t.rejects(listen({ ...options, host: "203.0.113.1" }), { message: /no such address/ });
  await t.rejects(listen({ ...options, host: "nowhere.invalid" }), {
    message: /nowhere\.invalid:\d+: there is no host of that name; use 0\.0\.0\.0, or an address/,
  });
  await t.rejects(listen({ ...options, token: new Uint8Array(8) }), RangeError);
  await house.close();
  await t.rejects(Raw.connect(port), { code: "ECONNREFUSED" });
});

t.test("close() ends the handshakes under way, not the sessions", async (t) => {
  const house = await openHouse();
  const inside = await house.enter();
  const { link } = await house.sessions.next();
  const outside = await house.knock();
  await outside.bytes(50);
  await house.listener.close();
  t.match(await outside.greeting(), { kind: "error", code: "ending" });
  link.send({ kind: "dismiss" });
  t.equal((await inside.bytes(4))[3]! > 0, true, "a session still speaks");
  await house.close();
});
