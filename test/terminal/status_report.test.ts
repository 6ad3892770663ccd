import t from "tap";
import { noStatus } from "../kit/status.ts";
import type { SlaveRow, Snapshot } from "../../src/observe/events.ts";
import { snapshotLines } from "../../src/terminal/status_report.ts";

const slave = (session: number): SlaveRow => ({
  session,
  name: `slave ${session}`,
  mode: "open",
  inFlight: 0,
  settled: 0,
  failures: 0,
  heardMs: 0,
  workers: 1,
  version: "1",
  ratePerSecond: 0,
  waitsFor: "",
});

const snapshot: Snapshot = {
  ...noStatus,
  key: "posts",
  runId: "",
  plugin: "posts.ts",
  version: "1",
  address: { host: "127.0.0.1", port: 5050 },
  jobsMax: 10,
  slaves: 20,
  reason: { code: "slaves_busy" },
  failures: Array.from({ length: 9 }, (_, at) => ({ message: `fault ${at}`, count: 1, differ: false })),
  dead: 9,
  savedAgoMs: 0,
  warning: { message: "a warning", agoMs: 0 },
  sessions: Array.from({ length: 20 }, (_, at) => slave(at + 1)),
};

t.test("however small the screen, the report fits and its first line stays", async (t) => {
  for (let rows = 1; rows <= 40; rows++) {
    const lines = snapshotLines(snapshot, 39, rows);
    t.ok(lines.length <= rows, `${lines.length} lines in ${rows}`);
    t.equal(lines[0], "posts: slaves busy");
  }
  t.match(snapshotLines(snapshot, 79, 20).at(-1), /^ {4}and 16 more$/);
  t.match(snapshotLines(snapshot, Infinity).at(-1), /slave 20/);
});
