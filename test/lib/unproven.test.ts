import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { UnprovenConnections, type UnprovenLimits } from "../../src/lib/unproven.ts";

/** A server that admits who connects, and what dials it: both ends, once it has. */
async function serve(t: { teardown(end: () => void): void }, limits: UnprovenLimits) {
  const strangers = new UnprovenConnections(limits);
  const folder = mkdtempSync(join(tmpdir(), "tm-"));
  const server = createServer((socket) => strangers.admit(socket.resume()));
  await new Promise<void>((resolve) => server.listen(join(folder, "s"), resolve));
  const ends: Socket[] = [];
  t.teardown(() => {
    for (const socket of ends) socket.destroy();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const dial = async () => {
    const there = connect(join(folder, "s")).on("error", () => {}).resume();
    const [here] = await once(server, "connection") as [Socket];
    ends.push(here, there);
    return { here, there };
  };
  return { strangers, dial };
}

t.test("beyond the limit a new connection takes the place of the one that has waited longest", async (t) => {
  const { strangers, dial } = await serve(t, { connectionsMax: () => 3 });
  const all = [await dial(), await dial(), await dial(), await dial()];
  const isOpen = () => all.map(({ here }) => !here.destroyed);
  t.same(isOpen(), [false, true, true, true]);
  strangers.proved(all[1]!.here);
  all.push(await dial());
  t.same(isOpen(), [false, true, true, true, true], "who is known does not count");
  all[2]!.there.destroy();
  await once(all[2]!.here, "close");
  all.push(await dial());
  t.same(isOpen(), [false, true, false, true, true, true], "nor who has gone");
  strangers.close();
  t.same(isOpen(), [false, true, false, false, false, false]);
});

t.test("who does not show in time who it is, is cut off", async (t) => {
  const { strangers, dial } = await serve(t, { connectionsMax: () => 9, msMax: 100 });
  const [stranger, known] = [await dial(), await dial()];
  strangers.proved(known.here);
  const begunMs = performance.now();
  await once(stranger.there, "close");
  t.ok(performance.now() - begunMs > 90);
  t.notOk(known.here.destroyed);
});
