import t from "tap";
import { web1 as intro } from "../kit/fake_slave.ts";
import type { MasterLink } from "../../src/link/link.ts";
import { Hub } from "../../src/observe/hub.ts";
import { Sessions } from "../../src/master/sessions.ts";

/** Sessions of a master with a heartbeat of 1 s, and why each of its links was closed. */
function open(argsBytes = 0) {
  const closed: string[] = [];
  const logs: string[] = [];
  const sessions = new Sessions({
    plugin: { name: "x.ts", hash: new Uint8Array(32) },
    heartbeatMs: 1_000,
    argsBytes,
    tell: () => {},
    hub: new Hub((level, message) => logs.push(`${level} ${message}`)),
  });
  const link = {
    tick: () => Infinity,
    hasRefused: false,
    hasHeardBye: false,
    close: async (reason: string) => {
      closed.push(reason);
      link.onClose(reason);
    },
    onClose: (_reason: string) => {},
  } as unknown as MasterLink;
  sessions.accept(link, intro);
  return { sessions, closed, logs, link, fromMs: performance.now() };
}

t.test("who never says ready is given up after three heartbeats", async (t) => {
  const { sessions, closed, fromMs } = open();
  for (let ms = 0; ms < 3_000; ms += 500) sessions.tick(fromMs + ms - 1);
  t.same(closed, []);
  sessions.tick(fromMs + 3_000);
  t.same(closed, ['it said no "ready" in time']);
});

t.test("a WELCOME of many arguments may take as long as a link of 10 KB/s needs", async (t) => {
  const { sessions, closed, fromMs } = open(100_000);
  for (let ms = 0; ms < 13_000; ms += 500) sessions.tick(fromMs + ms - 1);
  t.same(closed, []);
  sessions.tick(fromMs + 13_000);
  t.match(closed, [/no "ready" in time/]);
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
  t.match(other.closed, [/no "ready" in time/]);
});

t.test("a slave that breaks a rule is a warning, and what it said before `ready` is not shown", async (t) => {
  const early = open();
  early.link.onMessage({ kind: "notice", text: "worker 1 is in setup since 12 s" });
  t.same(early.logs, [
    `warn Slave 'web1' broke the protocol, and was closed: it said "notice" before "ready".`,
  ]);

  const late = open();
  late.link.onMessage({ kind: "ready", credit: 1, held: [] });
  late.link.onMessage({ kind: "late", errors: [{ seq: 1, message: "no" }], count: 0 });
  t.match(
    late.logs.at(-1),
    /warn .*broke the protocol, and was closed: it counted fewer late errors than it named/,
  );

  const unread = open();
  Object.assign(unread.link, { hasRefused: true });
  unread.link.onClose("Cannot accept this message: credit.credit is missing");
  t.match(unread.logs, [
    /warn .*broke the protocol, and was closed: Cannot accept this message: credit.credit/,
  ]);

  const gone = open();
  gone.link.onClose("it said: Drained.");
  t.same(gone.logs, ["info Slave 'web1' left: it said: Drained."]);
});
