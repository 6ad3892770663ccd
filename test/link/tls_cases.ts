// How TLS is spoken and refused. A case is a function that throws: Node runs them under tap, Bun and Deno by
// conformance.ts.
import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Server } from "node:net";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { formatFingerprint } from "../../src/lib/bytes.ts";
import { RefusedError } from "../../src/link/dial.ts";
import { type SlaveTls, TlsClient } from "../../src/link/tls.ts";
import { protocolVersion } from "../../src/protocol/handshake.ts";
import { hashOf, type Name, pair, pem } from "../certificates/certificates.ts";
import { welcome } from "../protocol/samples.ts";
import { forgedClient, forgedServer } from "./forged_tls.ts";
import { authFor, openHouse, type Raw, token } from "./harness.ts";

const byCa: SlaveTls = { trust: { kind: "ca", ca: pem("ca") } };
const pinned = (name: Name): SlaveTls => ({ trust: { kind: "pin", hash: hashOf(name) } });
const client = (tls: SlaveTls) => new TlsClient(tls);
const shown = (name: Name) => formatFingerprint(hashOf(name));

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** A man in the middle who ends TLS with a certificate of his own, and passes on all that he reads. */
function relayTo(port: number, name: Name): Server {
  return createTlsServer({ ...pair(name) }, (victim) => {
    const master = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false });
    for (const socket of [victim, master]) socket.on("error", () => {});
    victim.on("close", () => master.destroy());
    master.on("close", () => victim.destroy());
    victim.pipe(master).pipe(victim);
  });
}

function assertLines(lines: readonly string[], patterns: readonly RegExp[]): void {
  assert.equal(lines.length, patterns.length, lines.join("\n"));
  patterns.forEach((pattern, at) => assert.match(lines[at]!, pattern));
}

export const tlsCases: Readonly<Record<string, () => Promise<void>>> = {
  "what is no master is named, whether it speaks TLS or not, and its certificate is trusted": async () => {
    const house = await openHouse(token, pair("master"));
    const http = "HTTP/1.1 400 Bad Request\r\n\r\n";
    const cases: readonly (readonly [Server, RegExp])[] = [
      [
        createServer((socket) => socket.on("error", () => {}).once("data", () => socket.end(http))),
        /an HTTP server/,
      ],
      [
        createTlsServer(pair("master"), (socket) => {
          socket.on("error", () => {}).once("data", () => socket.end(http));
        }),
        /an HTTP server/,
      ],
      // It hangs up on TLS that it did not ask for.
      [
        createServer((socket) =>
          socket.on("error", () => {}).once(
            "data",
            (bytes) => bytes[7] === 47 ? socket.write("S") : socket.destroy(),
          )
        ),
        /a PostgreSQL server/,
      ],
      // It waits for the end of a line.
      [
        createServer((socket) => {
          socket.on("error", () => {}).on(
            "data",
            (bytes) => bytes[0] === 72 && socket.write("-ERR unknown command\r\n"),
          );
        }),
        /a Redis server/,
      ],
      [createServer((socket) => socket.on("error", () => {}).pipe(socket)), /sends back what it is sent/],
      [
        createServer((socket) => socket.on("error", () => {}).resume().write("SSH-2.0-x\r\n")),
        /an SSH server \(SSH-2.0-x\)/,
      ],
    ];
    await Promise.all(cases.map(async ([server, words]) => {
      const port = await listening(server);
      const startMs = performance.now();
      await assert.rejects(house.dial({ port, tls: client(byCa) }), {
        name: "StrangerError",
        message: words,
      });
      assert.ok(performance.now() - startMs < 5_000);
      server.close();
    }));
    assert.deepEqual(house.logs, [], "a master was not asked anything");
    await house.close();
  },

  "a slave joins by the CA and the name, or by the pin whatever CA, name and dates": async () => {
    const cases: readonly (readonly [Name, SlaveTls])[] = [
      ["master", byCa],
      ["master", { trust: { kind: "ca", ca: pem("other_ca") + pem("ca") } }],
      ["master", pinned("master")],
      ["elsewhere", pinned("elsewhere")],
      ["expired", pinned("expired")],
      ["stranger", pinned("stranger")],
    ];
    for (const [name, tls] of cases) {
      const house = await openHouse(token, pair(name));
      const dialed = await house.dial({ tls: client(tls) });
      assert.deepEqual(dialed.welcome, welcome, `${name} by ${tls.trust.kind}`);
      const { link } = await house.sessions.next();
      const got = new Promise((resolve) => (link.onMessage = resolve));
      dialed.link.send({ kind: "ready", credit: 2, held: [] });
      assert.deepEqual(await got, { kind: "ready", credit: 2, held: [] });
      await dialed.link.close("done");
      await house.close();
    }
  },
  "a certificate that is not trusted is refused for good, and the sentence says what was seen": async () => {
    const cases: readonly (readonly [Name, SlaveTls, RegExp])[] = [
      ["elsewhere", byCa, /is for DNS:elsewhere\.example, and not for 127\.0\.0\.1, which this slave dialed/],
      ["stranger", byCa, /\(CN=stranger, issued by CN=other_ca\) is signed by none of --tls-ca/],
      ["master", { trust: { kind: "system" } }, /is signed by none of this system's CAs/],
      ["expired", byCa, /expired at 2021-01-01T00:00:00Z; it is 20\d\d-/],
      ["early", byCa, /is good from 2100-01-01T00:00:00Z on only/],
      [
        "relay",
        pinned("master"),
        new RegExp(`--tls-pin says ${shown("master")}, it showed ${shown("relay")}`),
      ],
    ];
    for (const [name, tls, sentence] of cases) {
      const house = await openHouse(token, pair(name));
      await assert.rejects(house.dial({ tls: client(tls) }), {
        name: "RefusedError",
        final: true,
        exitCode: 5,
        message: sentence,
      }, name);
      assert.equal(house.sessions.all.length, 0);
      await house.close();
    }
  },
  "where the name or the CA is wrong, the fingerprint to compare is named": async () => {
    for (const name of ["elsewhere", "stranger"] as const) {
      const house = await openHouse(token, pair(name));
      await assert.rejects(house.dial({ tls: client(byCa) }), { message: new RegExp(shown(name)) });
      await house.close();
    }
  },
  "a relay with another certificate of the same CA is refused by the proof of the token": async () => {
    const house = await openHouse(token, pair("master"));
    const relay = relayTo(house.listener.address.port, "relay");
    const port = await listening(relay);
    const error = await house.dial({ port, tls: client(byCa) }).catch((error: Error) => error) as Error;
    assert.ok(error instanceof RefusedError);
    assert.match(
      error.message,
      new RegExp(`the tokens differ, or something on the way .* this slave saw ${shown("relay")}`),
    );
    assertLines(house.logs, [/token, or something on the way showed it another certificate/]);
    assert.equal(house.sessions.all.length, 0);
    relay.close();

    const honest = relayTo(house.listener.address.port, "master");
    const { link } = await house.dial({ port: await listening(honest), tls: client(byCa) });
    await link.close("the relay works, with the master's own certificate and key");
    honest.close();
    await house.close();
  },
  "a copied certificate without its key is refused, pinned or not": async () => {
    for (const tls of [byCa, pinned("master")]) {
      const forged = forgedServer(pem("master"), pair("relay").key);
      const house = await openHouse();
      await assert.rejects(house.dial({ port: await listening(forged), tls: client(tls) }), {
        final: true,
        message: /shows a certificate whose key it does not hold/,
      });
      forged.close();
      const real = forgedServer(pem("master"), pair("master").key);
      await assert.rejects(house.dial({ port: await listening(real), tls: client(tls) }), {
        name: "StrangerError",
        message: /no taskmaster master/,
      }, "with the key its TLS is in order");
      real.close();
      await house.close();
    }
  },
  "--tls-ca at a master lets in only slaves with a certificate of that CA": async () => {
    const house = await openHouse(token, { ...pair("master"), ca: pem("ca") });
    const as = (name?: Name) => client({ ...byCa, identity: name && pair(name) });
    const { link } = await house.dial({ tls: as("slave") });
    await link.close("done");
    const cases: readonly (readonly [Name | undefined, RegExp])[] = [
      [undefined, /Refused a slave: it showed no certificate/],
      ["foreign_slave", /Refused a slave: its certificate \(CN=foreign_slave\) is signed by none/],
      ["expired_slave", /Refused a slave: its certificate \(CN=expired_slave\) expired at 2021/],
    ];
    for (const [name, logged] of cases) {
      await assert.rejects(house.dial({ tls: as(name) }), {
        final: true,
        message: /asks for a certificate that one of its CAs signed/,
      }, name ?? "none");
      assert.match(house.logs.at(-1)!, logged);
      house.clock.ms += 10_001;
    }
    assert.equal(house.sessions.all.length, 1);
    await house.close();
  },
  "a copied certificate of a slave without its key gets no greeting": async () => {
    const house = await openHouse(token, { ...pair("master"), ca: pem("ca") });
    const { port } = house.listener.address;
    const hello = await forgedClient(port, pem("slave"), pair("slave").key);
    assert.equal(hello.toString("latin1", 0, 11), "taskmaster\x01", "with the key it gets a HELLO");
    const forged = await forgedClient(port, pem("slave"), pair("foreign_slave").key);
    assert.equal(forged.toString("latin1"), "");
    await house.close();
  },
  "a slave without TLS at a TLS port learns so within two seconds, and the log says which": async () => {
    const house = await openHouse(token, pair("master"));
    const dialed = assert.rejects(house.dial({ tls: undefined }), {
      final: true,
      message: /it speaks TLS; start this slave with the line that the master printed/,
    });
    const look = setInterval(() => house.listener.tick(house.clock.ms += 20), 5);
    await dialed;
    while (house.logs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    clearInterval(look);
    assertLines(house.logs, [/^A slave without TLS came to this master's TLS port: start it with the line/]);
    await house.close();
  },
  "a slave with TLS at a plain port is refused for good, and the log says which": async () => {
    const house = await openHouse();
    await assert.rejects(house.dial({ tls: client(byCa) }), {
      final: true,
      message: /does not speak TLS; start this slave without TLS options, or the master with --tls-cert/,
    });
    while (house.logs.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assertLines(house.logs, [/TLS connection came to the plain port/]);
    await house.close();
  },
  "a network that fails, or a crowd, is no refusal: the slave tries again": async () => {
    const house = await openHouse(token, pair("master"));
    const refused = async (port: number) =>
      (await house.dial({ port, tls: client(byCa) }).catch((error: Error) => error)) as Error;
    for (const bytes of [undefined, Uint8Array.of(0x15, 3, 3, 0, 2, 2, 80)]) {
      const server = createServer((socket) => {
        socket.on("error", () => {});
        if (bytes) socket.end(bytes);
        else socket.destroy();
      });
      const error = await refused(await listening(server));
      assert.ok(error instanceof Error && !(error instanceof RefusedError), error.message);
      server.close();
    }
    await house.close();
    const nobody = await refused(house.listener.address.port);
    assert.ok(!(nobody instanceof RefusedError), "nobody listens");
  },
  "before TLS is spoken the queue's limits hold": async () => {
    const house = await openHouse(token, pair("master"));
    const { clock, listener } = house;
    const silent = await house.knockPlain();
    const begun = await house.knockPlain();
    begun.socket.write(Uint8Array.of(0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3));
    const secured = await house.knock();
    await secured.bytes(50);
    clock.ms += 1_999;
    listener.tick(clock.ms);
    clock.ms += 1;
    listener.tick(clock.ms);
    assert.deepEqual([...await silent.bytes(7)], [0x15, 3, 3, 0, 2, 2, 80], "told that TLS is spoken here");
    assert.ok(!silent.socket.closed);
    // In steps, for a jump would count as a stall of this process.
    for (let step = 0; step < 12; step++) listener.tick(clock.ms += 250);
    await silent.ended;
    for (let step = 0; step < 39; step++) listener.tick(clock.ms += 250);
    assert.ok(!begun.socket.closed, "it speaks TLS, for 14.75 s");
    listener.tick(clock.ms += 250);
    await begun.ended;
    assert.deepEqual(await secured.greeting(), { kind: "error", code: "late", version: protocolVersion });
    await secured.ended;
    assert.equal(listener.tick(clock.ms), Infinity, "nobody waits any more");
    assert.deepEqual(house.logs, [], "and there is nothing to say of it");

    const crowd: Raw[] = [];
    for (let index = 0; index < 64; index++) crowd.push(await house.knockPlain());
    const dialed = house.dial({ tls: client(byCa) });
    const knocked = await house.knockPlain();
    const look = setInterval(() => listener.tick(clock.ms += 10), 5);
    await (await dialed).link.close("the oldest made room");
    clearInterval(look);
    knocked.socket.destroy();
    await house.close();
  },
  "with TLS there are 15 s for the proof, and at a plain port 5 s": async () => {
    for (const [tls, seconds] of [[pair("master"), 15], [undefined, 5]] as const) {
      const house = await openHouse(token, tls);
      const { clock, listener } = house;
      const slow = await house.knock();
      const late = await house.knock();
      const hello = await slow.bytes(50);
      await late.bytes(50);
      for (let look = 1; look < seconds * 4; look++) listener.tick(clock.ms += 250);
      slow.socket.write(authFor(hello, token, tls && hashOf("master")));
      assert.equal((await slow.greeting()).kind, "welcome", `${seconds - 0.25} s after it connected`);
      listener.tick(clock.ms += 250);
      assert.deepEqual(await late.greeting(), { kind: "error", code: "late", version: protocolVersion });
      await late.ended;
      await house.close();
    }
  },
  "only TLS 1.3 is spoken": async () => {
    const house = await openHouse(token, pair("master"));
    const { port } = house.listener.address;
    const error = await new Promise((resolve) => {
      const old = connectTls({ host: "127.0.0.1", port, maxVersion: "TLSv1.2", rejectUnauthorized: false });
      old.on("error", resolve).on("secureConnect", () => resolve("it was let in"));
    });
    assert.match(String((error as { code?: string }).code), /PROTOCOL_VERSION/);
    await house.close();

    const old = createTlsServer({ ...pair("master"), maxVersion: "TLSv1.2" });
    old.on("tlsClientError", (_error, socket) => socket.destroy());
    const other = await openHouse();
    await assert.rejects(other.dial({ port: await listening(old), tls: client(byCa) }), {
      final: true,
      message: /speaks only TLS before 1\.3/,
    });
    old.close();
    await other.close();
  },
  "AUTH within TLS may come one byte at a time, and a greeting of HTTP is named": async () => {
    const house = await openHouse(token, pair("master"));
    const raw = await house.knock();
    for (const byte of authFor(await raw.bytes(50), token, hashOf("master"))) {
      await new Promise((sent) => raw.socket.write(Uint8Array.of(byte), sent));
    }
    assert.equal((await raw.greeting()).kind, "welcome");
    for (const knock of [house.knock, house.knockPlain]) {
      const http = await knock();
      http.socket.resume().write("GET / HTTP/1.1\r\n\r\n");
      await http.ended;
    }
    assertLines(house.logs, [/^An HTTP request came/, /^An HTTP request without TLS came to the TLS port/]);
    await house.close();
  },
  "what cannot be used is refused at the start, with its reason": async () => {
    const wrong: readonly (readonly [Parameters<typeof openHouse>[1], RegExp])[] = [
      [{ ...pair("master"), key: pair("relay").key }, /the private key belongs to another certificate/],
      [{ ...pair("master"), cert: "none" }, /the certificate is not one in PEM form/],
      [{ ...pair("master"), key: pem("master") }, /the private key is not one in PEM form/],
      [{ ...pair("master"), key: "-----BEGIN ENCRYPTED PRIVATE KEY-----" }, /has a passphrase/],
      [{ ...pair("master"), ca: "none" }, /holds no certificate in PEM form/],
    ];
    for (const [tls, message] of wrong) {
      await assert.rejects(openHouse(token, tls), { name: "ConnectError", exitCode: 5, message });
    }
    const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert.throws(() => client({ trust: { kind: "ca", ca: pem("ca") + broken } }), {
      message: /certificate number 2 cannot be read/,
    });
    assert.throws(() => client({ ...byCa, identity: { ...pair("slave"), key: pair("relay").key } }), {
      message: /this slave's certificate: the private key belongs to another/,
    });
  },
};
