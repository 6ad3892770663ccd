import t from "tap";
import type { MasterLink } from "../../src/link/link.ts";
import { Sessions } from "../../src/master/sessions.ts";

const intro = {
  slaveId: "s",
  name: "web1",
  version: "1",
  procs: 1,
  plugin: null,
  runtime: "none",
  features: [],
};

/** Sessions of a master with a heartbeat of 1 s, and why each of its links was closed. */
function open() {
  const closed: string[] = [];
  const sessions = new Sessions({
    plugin: { name: "x.ts", hash: new Uint8Array(32) },
    heartbeatMs: 1_000,
    tell: () => {},
    log: () => {},
    onEvent: () => {},
  });
  const link = {
    tick: () => Infinity,
    close: async (reason: string) => void closed.push(reason),
  } as unknown as MasterLink;
  sessions.accept(link, intro);
  return { sessions, closed, link, fromMs: performance.now() };
}

t.test("who never says ready is given up after three heartbeats", async (t) => {
  const { sessions, closed, fromMs } = open();
  for (let ms = 0; ms < 3_000; ms += 500) sessions.tick(fromMs + ms - 1);
  t.same(closed, []);
  sessions.tick(fromMs + 3_000);
  t.match(closed, [/silent/]);
});

t.test("after a stall of the master, its ready may still be in the socket", async (t) => {
  const { sessions, closed, link, fromMs } = open();
  sessions.tick(fromMs);
  const wakeAtMs = sessions.tick(fromMs + 60_000);
  t.same(closed, []);
  t.ok(wakeAtMs > fromMs + 60_000 && wakeAtMs < fromMs + 61_000, "it looks again soon");
  link.onMessage({ kind: "ready", credit: 1, held: [] });
  sessions.tick(wakeAtMs);
  t.same(closed, []);

  const other = open();
  other.sessions.tick(other.fromMs);
  other.sessions.tick(other.sessions.tick(other.fromMs + 60_000));
  t.match(other.closed, [/silent/]);
});
