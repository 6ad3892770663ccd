import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import t from "tap";
import { RefusedError } from "../../src/link/dial.ts";
import {
  type Auth,
  encodeHello,
  encodeRefusal,
  encodeWelcome,
  readGreeting,
  type RefusalCode,
  Secret,
} from "../../src/protocol/handshake.ts";
import { encode } from "../../src/protocol/cbor.ts";
import { parseSlaveMessage } from "../../src/protocol/parse.ts";
import { pair } from "../certificates/certificates.ts";
import { introduction, welcome } from "../protocol/samples.ts";
import { openHouse, token } from "./harness.ts";

const secret = new Secret(token);

/** A server that is no master: `speak` does what it wants with each connection. */
async function impostor(speak: (socket: Socket) => void) {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    speak(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

t.test("dial() brings the welcome and a link", async (t) => {
  const house = await openHouse();
  const dialed = await house.dial();
  t.same(dialed.welcome, welcome);
  const { link } = await house.sessions.next();
  const got = new Promise((resolve) => (link.onMessage = resolve));
  dialed.link.send({ kind: "ready", credit: 2, held: [] });
  t.same(await got, { kind: "ready", credit: 2, held: [] });
  await dialed.link.close("done");
  const control = await house.dialControl();
  const ask = { kind: "ask", id: 1, command: "status", value: null } as const;
  control.link.send(ask);
  const { link: other } = await house.controls.next();
  t.same(await new Promise((resolve) => other.onMessage = resolve), ask);
  await control.link.close("done");
  await house.close();
});

t.test("insecure both ways works, insecure one way is refused for good", async (t) => {
  const open = await openHouse(null);
  await open.dial().then(({ link }) => link.close("done"));
  await t.rejects(open.dial({ token }), { final: true, message: /it runs with --insecure/ });
  const closed = await openHouse();
  await t.rejects(closed.dial({ token: null }), { final: true, message: /asks for a token/ });
  await open.close();
  await closed.close();
});

t.test("another token is refused for good, and the sentence says what to do", async (t) => {
  const house = await openHouse();
  await t.rejects(house.dial({ token: new Uint8Array(32).fill(9) }), {
    name: "RefusedError",
    final: true,
    exitCode: 5,
    message:
      /the tokens differ; on the master's machine run "taskmaster token --write taskmaster.token", then copy taskmaster.token beside/,
  });
  await t.rejects(house.dial({ token: new Uint8Array(32).fill(9), tokenFrom: "TASKMASTER_TOKEN" }), {
    message:
      /the tokens differ \(here it is that of TASKMASTER_TOKEN\); .* this one, and name it with --token-file$/,
  });
  await house.close();
});

t.test("an introduction that a master would refuse is named here, and nothing is sent", async (t) => {
  const house = await openHouse();
  await t.rejects(house.dial({ intro: { ...introduction, procs: 200_000 } }), {
    exitCode: 5,
    message: /what this slave would say of itself .* introduction.procs is 200000, not within 0 to 100000/,
  });
  await house.close();
});

t.test("a master whose welcome is wrong is told so, and given up", async (t) => {
  const house = await openHouse();
  let toldBye!: (bytes: Uint8Array) => void;
  const told = new Promise<Uint8Array>((resolve) => toldBye = resolve);
  const rogue = await impostor((socket) => {
    const masterNonce = new Uint8Array(32).fill(7);
    socket.write(encodeHello(masterNonce, secret));
    socket.once("data", (bytes: Buffer) => {
      const { nonce } = readGreeting(bytes, 1024)!.greeting as Auth;
      const proof = {
        masterNonce,
        slaveNonce: nonce,
        role: "slave",
        certificateHash: new Uint8Array(0),
      } as const;
      socket.once("data", toldBye);
      socket.write(encodeWelcome(proof, encode({ ...welcome, epoch: "one" }), secret));
    });
  });
  await t.rejects(house.dial({ port: rogue.port }), {
    final: true,
    message: /welcome.epoch is no whole number/,
  });
  t.match(parseSlaveMessage((await told).subarray(4)), { kind: "bye", reason: /welcome.epoch/ });
  rogue.close();
  await house.close();
});

t.test("what each refusal means to a slave", async (t) => {
  const meanings: readonly (readonly [RefusalCode, boolean, RegExp])[] = [
    ["token", true, /tokens differ/],
    ["version", true, /does not speak version 2/],
    ["malformed", false, /could not read/],
    ["busy", false, /as many connections/],
    ["late", false, /too late/],
    ["ending", false, /run is ending/],
    ["info", true, /does not accept what this slave says of itself, and its log says why/],
  ];
  const house = await openHouse();
  for (const [code, isFinal, words] of meanings) {
    const { port, close } = await impostor((socket) => socket.end(encodeRefusal(code)));
    const error = await house.dial({ port }).catch((error: Error) => error) as Error;
    t.equal(error instanceof RefusedError, isFinal, code);
    t.match(error.message, words);
    close();
  }
  await house.close();
});

t.test("a master that does not prove the token gets no slave", async (t) => {
  const house = await openHouse();
  const rogue = await impostor((socket) => {
    socket.write(encodeHello(new Uint8Array(32), secret));
    socket.once("data", () => {
      const proof = {
        masterNonce: new Uint8Array(32),
        slaveNonce: new Uint8Array(32),
        role: "slave",
        certificateHash: new Uint8Array(0),
      } as const;
      socket.write(encodeWelcome(proof, encode(welcome), new Secret(new Uint8Array(32).fill(4))));
    });
  });
  await t.rejects(house.dial({ port: rogue.port }), {
    final: true,
    message: /did not prove that it holds this token/,
  });
  const open = await impostor((socket) => {
    socket.write(encodeHello(new Uint8Array(32), secret));
    const proof = {
      masterNonce: new Uint8Array(32),
      slaveNonce: new Uint8Array(32),
      role: "slave",
      certificateHash: new Uint8Array(0),
    } as const;
    socket.once("data", () => socket.write(encodeWelcome(proof, encode(welcome), new Secret(null))));
  });
  await t.rejects(
    house.dial({ port: open.port }),
    { final: true, message: /did not prove/ },
    "nor one that claims to be insecure only then",
  );
  rogue.close();
  open.close();
  await house.close();
});

t.test("no two attempts have the same nonce, so that no WELCOME is of use twice", async (t) => {
  const nonces = new Set<string>();
  const { port, close } = await impostor((socket) => {
    socket.write(encodeHello(new Uint8Array(32), secret));
    socket.once("data", (auth: Uint8Array) => {
      const read = readGreeting(auth, auth.length)?.greeting;
      if (read?.kind === "auth") nonces.add(Buffer.from(read.nonce).toString("hex"));
      socket.end(encodeRefusal("busy"));
    });
  });
  const house = await openHouse();
  for (let dials = 0; dials < 5; dials++) await t.rejects(house.dial({ port }), /as many connections/);
  t.equal(nonces.size, 5);
  close();
  await house.close();
});

t.test("a master of another version is refused for good, both versions named, and it is told", async (t) => {
  const house = await openHouse();
  let told = Buffer.alloc(0);
  const heard = deferred();
  const newer = await impostor((socket) => {
    const hello = encodeHello(new Uint8Array(32), secret);
    hello[13] = 3;
    socket.write(hello);
    socket.on("data", (chunk: Buffer) => (told = Buffer.concat([told, chunk]))).on(
      "close",
      () => heard.resolve(),
    );
  });
  await t.rejects(house.dial({ port: newer.port }), {
    final: true,
    message:
      /version 3 of the protocol, this side version 2; the release is older here, so copy the newer binary to this machine/,
  });
  await heard.promise;
  t.same([...told], [...encodeRefusal("version")]);
  newer.close();
  await house.close();
});

t.test("what is no master at all is named, and may be tried again, unless it speaks TLS", async (t) => {
  const house = await openHouse();
  const cases: readonly (readonly [string | Uint8Array, RegExp, boolean])[] = [
    ["HTTP/1.1 400 Bad Request\r\n\r\n", /is an HTTP server/, false],
    [Uint8Array.of(0x15, 3, 3, 0, 2, 2, 80), /it speaks TLS; start this slave with/, true],
    ["220 smtp ready", /no taskmaster master/, false],
  ];
  for (const [bytes, words, isFinal] of cases) {
    const other = await impostor((socket) => socket.write(bytes));
    const error = await house.dial({ port: other.port }).catch((error: Error) => error) as Error;
    t.match(error.message, words);
    t.equal(error instanceof RefusedError, isFinal);
    other.close();
  }
  const mute = await impostor((socket) => socket.end());
  await t.rejects(house.dial({ port: mute.port }), {
    message: /ended the connection before it said anything/,
  });
  mute.close();
  await t.rejects(house.dial({ port: mute.port }), { message: /ECONNREFUSED/ });
  await house.close();
});

t.test("a name for people is cut where an introduction would be too long", async (t) => {
  const house = await openHouse();
  const { hash } = introduction.plugin!;
  const plugin = { name: `${"p".repeat(252)}.ts`, export: "iterPosts", hash };
  for (const name of ["x".repeat(300), "\u{1f600}".repeat(128)]) {
    const { link } = await house.dial({ intro: { ...introduction, name, plugin } });
    const { intro } = await house.sessions.next();
    t.same(intro.plugin, plugin, "the plugin's is whole");
    t.ok(intro.name.length > 100 && name.startsWith(intro.name), `${intro.name.length} of ${name.length}`);
    await link.close("done");
  }
  const endless = { name: "\u{1f600}".repeat(128), export: "\u{1f600}".repeat(128), hash };
  await t.rejects(house.dial({ intro: { ...introduction, plugin: endless } }), {
    name: "ConnectError",
    message: /at most 941 .* a shorter name/,
  });
  await house.close();
});

t.test("aborting gives an attempt up", async (t) => {
  const house = await openHouse();
  const silent = await impostor(() => {});
  const controller = new AbortController();
  const dialed = house.dial({ port: silent.port, signal: controller.signal });
  controller.abort();
  await t.rejects(dialed, { message: /given up/ });
  await t.rejects(
    house.dial({ signal: controller.signal }),
    { message: /given up/ },
    "also when it was aborted before",
  );
  silent.close();
  await house.close();
});

function deferred() {
  let resolve!: () => void;
  const promise = new Promise<void>((done) => (resolve = done));
  return { promise, resolve };
}

const http2Settings = Uint8Array.of(0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 128);

/** Servers that wait for their client to speak, or greet in their own way, and what the slave says of them. */
const silentServers: readonly (readonly [string, (socket: Socket) => void, RegExp])[] = [
  [
    "HTTP",
    (socket) =>
      socket.on("data", (bytes) => bytes.includes(10) && socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
    /is an HTTP server/,
  ],
  [
    "PostgreSQL",
    (socket) => socket.once("data", (bytes) => bytes[7] === 47 && socket.write("N")),
    /is a PostgreSQL server/,
  ],
  ["an echo", (socket) => socket.on("data", (bytes) => socket.write(bytes)), /sends back what it is sent/],
  [
    "TLS",
    (socket) => socket.once("data", () => socket.end(Uint8Array.of(0x15, 3, 3, 0, 2, 2, 70))),
    /speaks TLS/,
  ],
  ["SSH", (socket) => socket.write("SSH-2.0-OpenSSH_9.6\r\n"), /is an SSH server \(SSH-2.0-OpenSSH_9.6\)/],
  ["SMTP", (socket) => socket.write("220 mail.example.com ESMTP\r\n"), /is a mail or FTP server/],
  [
    "IMAP",
    (socket) => socket.write("* OK Dovecot ready.\r\n"),
    /is an IMAP server \(\* OK Dovecot ready\.\)/,
  ],
  ["HTTP/2", (socket) => socket.once("data", () => socket.write(http2Settings)), /is an HTTP\/2 server/],
  // It reads bytes before the line as a command of its own, and answers nothing to them.
  [
    "Redis",
    (socket) =>
      socket.on("data", (bytes) => bytes[0]! > 32 && socket.write("-ERR unknown command 'HELP'\r\n")),
    /is a Redis server/,
  ],
  [
    "memcached",
    (socket) => socket.on("data", (bytes) => bytes.includes(10) && socket.write("ERROR\r\n")),
    /is a memcached server/,
  ],
  ["what nobody knows", (socket) => socket.write("READY?\n"), /another protocol \(it began with "READY\?"\)/],
  ["one that hangs up", (socket) => socket.end(), /ended the connection before it said anything/],
];

t.test("what is no master is named within 5 s", async (t) => {
  const house = await openHouse();
  await Promise.all(silentServers.map(async ([what, speak, words]) => {
    const { port, close } = await impostor(speak);
    const startMs = performance.now();
    await t.rejects(house.dial({ port }), { message: words, final: undefined }, what);
    t.ok(performance.now() - startMs < 5_000, `${what}: in time`);
    close();
  }));
  await house.close();
});

t.test("a port that says nothing is told of within 5 s, and waited for, as it may be a master", async (t) => {
  const house = await openHouse();
  const held: Socket[] = [];
  const { port, close } = await impostor((socket) => void held.push(socket));
  const startMs = performance.now();
  const abort = new AbortController();
  const said = await new Promise<string>((resolve) => {
    house.dial({ port, signal: abort.signal, onSilent: resolve }).catch(() => {});
  });
  t.match(
    said,
    /accepts connections, and has said nothing for 2.5 s: a master that is stopped or busy, or something else/,
  );
  t.ok(performance.now() - startMs < 5_000);
  t.notOk(held[0]!.destroyed, "it is still waited for");
  abort.abort();
  for (const socket of held) socket.destroy();
  close();
  await house.close();
});

t.test("one that begins to greet and stops is told of too, and waited for", async (t) => {
  const house = await openHouse();
  for (const greeting of [encodeHello(new Uint8Array(32), secret), Buffer.from("taskmaster")]) {
    const held: Socket[] = [];
    const { port, close } = await impostor((socket) => held.push(socket) && socket.write(greeting));
    const abort = new AbortController();
    const said = await new Promise<string>((resolve) => {
      house.dial({ port, signal: abort.signal, onSilent: resolve }).catch(() => {});
    });
    t.match(said, /began to greet, and has said nothing more for 2.5 s/);
    t.equal(held.length, 1, "nothing else is asked");
    abort.abort();
    for (const socket of held) socket.destroy();
    close();
  }
  await house.close();
});

t.test("what hangs up on all but TLS is named, and a master is not asked that", async (t) => {
  const house = await openHouse();
  const server = createTlsServer({ ...pair("stranger") }, (socket) => socket.on("error", () => {}));
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await t.rejects(house.dial({ port }), {
    name: "StrangerError",
    message: /speaks TLS, and is no taskmaster master/,
  });
  server.close();
  await house.close();
});

t.test("a master that greets late is not taken for something else", async (t) => {
  const house = await openHouse();
  const { port: real } = house.listener.address;
  let isFirst = true;
  const { port, close } = await impostor((socket) => {
    const delayMs = isFirst ? 4_600 : 0;
    isFirst = false;
    setTimeout(() => {
      const master = connect(real, "127.0.0.1");
      socket.pipe(master).on("error", () => socket.destroy());
      master.pipe(socket).on("error", () => master.destroy());
    }, delayMs);
  });
  const said: string[] = [];
  const { link } = await house.dial({ port, onSilent: (sentence) => said.push(sentence) });
  t.equal(said.length, 1);
  t.same(house.logs, [], "what was asked is nothing to the master");
  await link.close("done");
  close();
  await house.close();
});

/** Joins a master whose WELCOME takes 17 s, at 20 KB/s. Begun at once, so that it takes that long beside the other tests. */
async function joinSlowly(): Promise<void> {
  const house = await openHouse();
  const long = {
    ...welcome,
    args: Object.fromEntries(["a", "b", "c", "d", "e", "f"].map((name) => [name, "x".repeat(57_000)])),
  };
  const { port, close } = await impostor(async (socket) => {
    const masterNonce = new Uint8Array(32).fill(7);
    socket.write(encodeHello(masterNonce, secret));
    const bytes = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    const { nonce } = readGreeting(bytes, 1024)!.greeting as Auth;
    const proof = {
      masterNonce,
      slaveNonce: nonce,
      role: "slave",
      certificateHash: new Uint8Array(0),
    } as const;
    const all = encodeWelcome(proof, encode(long), secret);
    for (let at = 0; at < all.length; at += 2_000) {
      socket.write(all.subarray(at, at + 2_000));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });
  const { link } = await house.dial({ port });
  await link.close("done");
  close();
  await house.close();
}
const joinedSlowly = joinSlowly();
joinedSlowly.catch(() => {});

t.test("a WELCOME that takes longer than a handshake may is awaited while it comes", async () =>
  await joinedSlowly);
