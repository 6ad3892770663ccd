import t from "tap";
import { pretendCollector } from "../lib/pretend_collector.ts";
import { ids, start } from "./harness.ts";

const weight = "x".repeat(100_000);

t.test("a master has the buffers of its jobs collected once they are many", async (t) => {
  const pretended = pretendCollector(t);
  const { master, join } = await start(t, {
    *getJobs() {
      for (const { id } of ids(200)) yield { id, weight };
    },
  });
  t.equal(pretended.collections, 0, "not before there are any");
  const slave = await join({ credit: 4 });
  t.equal((await slave.work()).length, 200);
  t.match(await master.finished, { outcome: { kind: "complete" } });
  const { collections } = pretended;
  t.ok(
    collections >= 1 && collections <= 5,
    `20 MB of jobs, looked at each MiB: ${collections} collections`,
  );
});

t.test("cursors are buffers too", async (t) => {
  const pretended = pretendCollector(t);
  const { master, join } = await start(t, { getJobs: () => ids(200), cursor: () => weight });
  const slave = await join({ credit: 4 });
  t.equal((await slave.work()).length, 200);
  t.match(await master.finished, { outcome: { kind: "complete" } });
  t.ok(pretended.collections >= 1, `20 MB of cursors: ${pretended.collections} collections`);
});
