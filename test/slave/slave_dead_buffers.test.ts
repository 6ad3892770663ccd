import { rmSync } from "node:fs";
import t from "tap";
import { pretendCollector } from "../lib/pretend_collector.ts";
import { FakeMaster } from "./fake_master.ts";
import { ownTemporaryFolder, slaveOf } from "./slave_harness.ts";

const temporary = ownTemporaryFolder();
t.teardown(() => rmSync(temporary, { recursive: true, force: true }));

t.test("a slave has the buffers of its leases collected once they are many", async (t) => {
  const pretended = pretendCollector(t);
  const master = await FakeMaster.start();
  const slave = slaveOf(master);
  try {
    await master.until(() => master.isReady);
    t.equal(pretended.collections, 0, "not before there are any");
    const job = { weight: "x".repeat(100_000) };
    for (let seq = 0; seq < 160; seq += 20) {
      master.lease(seq / 20 + 1, seq, Array(20).fill(job));
      await master.until(() => master.named("done").length === seq + 20);
    }
    const { collections } = pretended;
    t.ok(collections >= 1, `16 MB of jobs: ${collections} collections`);
  } finally {
    slave.kill();
    await slave.finished;
    await master.stop();
  }
});
