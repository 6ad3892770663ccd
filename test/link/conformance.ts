// What every runtime must do alike; run by each of them. Prints the runtime's name and "ok" for each step. With the
// argument "tls", all of it over TLS; with "cases", those of TLS instead.
import { Buffer } from "node:buffer";
import type { MasterMessage } from "../../src/protocol/messages.ts";
import { encodeMessage } from "../../src/protocol/parse.ts";
import process from "node:process";
import { pair } from "../certificates/certificates.ts";
import { Proxy } from "../kit/proxy.ts";
import { tlsCases } from "./tls_cases.ts";
import { type House, openHouse as open, type Raw, type Session } from "./harness.ts";

const runtime = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";

const openHouse = () => process.argv[2] === "tls" ? open(undefined, pair("master")) : open();

async function entered(): Promise<{ house: House; raw: Raw; session: Session }> {
  const house = await openHouse();
  const raw = await house.enter();
  return { house, raw, session: await house.sessions.next() };
}

/** Not every runtime can reset a connection of TLS. */
function reset(raw: Raw): void {
  if ("encrypted" in raw.socket) raw.socket.destroy();
  else raw.socket.resetAndDestroy();
}

function leaseOf(jobs: Uint8Array, count = 1): MasterMessage {
  return { kind: "lease", number: 1, seq: 0, count, attempt: 1, alone: "no", probe: false, jobs };
}

function expect(condition: boolean, what: string): void {
  if (!condition) throw new Error(`${runtime}: ${what}`);
}

const steps: Readonly<Record<string, () => Promise<void>>> = {
  "both ways": async () => {
    const house = await openHouse();
    const { link } = await house.dial();
    const { link: master } = await house.sessions.next();
    const jobs = new Uint8Array(1 << 20).fill(0);
    const answered = new Promise((resolve) => (master.onMessage = resolve));
    link.onMessage = (message) => {
      if (message.kind === "lease" && message.jobs.length === jobs.length) {
        link.send({ kind: "credit", credit: 7 });
      }
    };
    master.send(leaseOf(jobs, jobs.length));
    expect((await answered as { credit: number }).credit === 7, "an answer comes back");
    await link.close("done");
    await house.close();
  },
  "a reset ends a session once": async () => {
    const { house, raw, session } = await entered();
    reset(raw);
    await session.closed.next();
    await session.link.close("again");
    expect(session.closed.all.length === 1, "said once");
    await house.close();
  },
  "a reset while writing": async () => {
    const { house, raw, session } = await entered();
    raw.socket.pause();
    const jobs = new Uint8Array(1 << 20);
    for (let index = 0; index < 6; index++) {
      session.link.send(leaseOf(jobs));
    }
    raw.socket.destroy();
    await session.closed.next();
    await house.close();
  },
  "a FIN ends it": async () => {
    const { house, raw, session } = await entered();
    raw.socket.end(Uint8Array.of(0, 0));
    expect(/within a frame/.test(await session.closed.next()), "and names the cut frame");
    await house.close();
  },
  "what is queued leaves before the end": async () => {
    const { house, raw, session } = await entered();
    const wanted = encodeMessage({ kind: "dismiss" });
    session.link.send({ kind: "dismiss" });
    await session.link.close("complete");
    expect(Buffer.from(await raw.bytes(wanted.length)).equals(wanted), "dismiss came");
    await raw.ended;
    await house.close();
  },
  "a stopped reader is noticed": async () => {
    const house = await openHouse();
    // Deno's sockets of TLS read on when they are paused: the one before them stops.
    const proxy = await Proxy.open(house.listener.address.port);
    await house.enter(proxy.port);
    const session = await house.sessions.next();
    proxy.hold(["down"]);
    const jobs = new Uint8Array(1 << 18);
    for (let calm = 0; calm < 3;) {
      if (session.link.queuedBytes < 1 << 20) {
        session.link.send(leaseOf(jobs));
        calm = 0;
      } else calm++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const endMs = house.clock.ms + 10_500;
    while (house.clock.ms < endMs) session.link.tick(house.clock.ms += 500);
    expect(/took no bytes for 10 s/.test(await session.closed.next()), "after 10 s");
    await proxy.close();
    await house.close();
  },
  "a wrong token, HTTP, a held connection": async () => {
    const house = await openHouse();
    const refused = await house.dial({ token: new Uint8Array(32) }).catch((error: unknown) => error);
    expect((refused as { final?: boolean }).final === true, "refused for good");
    const http = await house.knock();
    http.socket.write("GET / HTTP/1.1\r\n\r\n");
    await http.ended;
    const held = await house.knock();
    await held.bytes(50);
    // what TLS is given
    house.listener.tick(house.clock.ms += 15_000);
    await held.ended;
    expect(house.logs.length === 2, "two lines in the log");
    await house.close();
  },
  "a connection that says nothing, or talks plain where TLS is spoken": async () => {
    const house = await openHouse();
    const silent = await house.knockPlain();
    silent.socket.resume();
    house.listener.tick(house.clock.ms += 5_000);
    await silent.ended;
    const plain = await house.knockPlain();
    plain.socket.write("taskmaster, but not the way it is spoken here");
    await plain.ended;
    await house.close();
  },
  "nobody listens": async () => {
    const house = await openHouse();
    await house.close();
    const failed = await house.dial().catch((error: unknown) => error);
    expect(failed instanceof Error && /ECONNREFUSED/.test(failed.message), "an ordinary error");
  },
};

const chosen = process.argv[2] === "cases" ? tlsCases : steps;
for (const [what, step] of Object.entries(chosen)) {
  await step();
  console.log(`${runtime} ok: ${what}`);
}
