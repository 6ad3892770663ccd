import t from "tap";
import { noStatus } from "../kit/status.ts";
import type { MasterEvent } from "../../src/observe/events.ts";
import { Hub, type RunView } from "../../src/observe/hub.ts";

const started: Extract<MasterEvent, { kind: "started" }> = {
  kind: "started",
  key: "posts",
  runId: "r1",
  resumed: null,
  statePath: "/posts.state",
  address: { host: "127.0.0.1", port: 5050 },
  fingerprint: null,
};

function listening() {
  const lines: string[] = [];
  const events: MasterEvent[] = [];
  const hub = new Hub((level, message) => lines.push(`${level}: ${message}`), (event) => events.push(event));
  return { hub, lines, events };
}

t.test("a warning of any part reaches the log and all who listen; the log's other lines only the log", async (t) => {
  const { hub, lines, events } = listening();
  hub.opened(started);
  hub.log("warn", "Cannot save the state: no space.");
  hub.log("error", "Cannot write dead letters.");
  hub.log("info", "A slave waits.");
  hub.pluginLog("warn", "a slow row");
  t.same(lines, [
    "warn: Cannot save the state: no space.",
    "error: Cannot write dead letters.",
    "info: A slave waits.",
    "warn: a slow row",
  ]);
  t.same(events.slice(1).map(({ kind }) => kind), ["warning", "warning", "log", "log"]);
});

t.test("what happens before the start is heard after it; the log has it at once", async (t) => {
  const { hub, lines, events } = listening();
  hub.warn("The lock was left behind.");
  t.same(lines, ["warn: The lock was left behind."]);
  t.same(events, []);
  hub.opened(started);
  t.same(events.map(({ kind }) => kind), ["started", "warning"]);
});

t.test("a row a slave: its workers, jobs in flight, rate, failures, and when it was heard", async (t) => {
  const { hub } = listening();
  let settled = 0;
  const core = { ...noStatus, reason: { code: "source_slow" } as const };
  const view: RunView = {
    status: () => ({ ...core, settledNow: settled, slaves: 1 }),
    sessions: () => [
      { session: 7, name: "web1", mode: "open", inFlight: 3, settled, failures: 2, heardMs: 40 },
    ],
    reason: ({ reason }) => reason,
    waitsFor: () => "",
    about: {
      key: "posts",
      runId: "r1",
      plugin: "posts.ts",
      version: "1",
      address: started.address,
      jobsMax: 10,
    },
  };
  hub.watch(view);
  hub.emit({ kind: "joined", session: 7, slave: "web1", procs: 4, version: "1.2", plugin: null });
  for (let nowMs = 0; nowMs <= 4_000; nowMs += 1_000) {
    settled += 50;
    hub.tick(nowMs);
  }
  const { ratePerSecond, sessions } = hub.snapshot(4_000);
  t.equal(ratePerSecond, 50);
  t.same(sessions, [{
    session: 7,
    name: "web1",
    mode: "open",
    inFlight: 3,
    settled,
    failures: 2,
    heardMs: 40,
    workers: 4,
    version: "1.2",
    ratePerSecond: 50,
    waitsFor: "",
  }]);
  hub.emit({ kind: "left", session: 7, slave: "web1", reason: "it drained", isOffence: false });
  t.match(hub.snapshot(4_000).sessions[0], { workers: 0 }, "nothing is kept of one that left");
});

t.test("late errors are named up to a limit, then only counted, once a second", async (t) => {
  const { hub, lines, events } = listening();
  hub.opened(started);
  for (let seq = 0; seq < 200; seq++) {
    hub.emit({ kind: "late", slave: "web1", errors: [{ seq, message: "Error: no" }], count: 1 });
  }
  const told = events.flatMap((event) => event.kind === "late" ? [event] : []);
  t.ok(told.length < 200 && told.every(({ errors }) => errors.length === 1), `${told.length} are named`);
  hub.tick(Infinity);
  const all = events.flatMap((event) => event.kind === "late" ? [event.count] : []);
  t.equal(all.reduce((sum, count) => sum + count, 0), 200, "each is counted once");
  t.equal(all.length, told.length + 1);
  t.equal(lines.filter((line) => line.startsWith("warn")).length, 1, "the log says it once");
  t.equal(hub.late.count, 200);
});
