import t from "tap";
import { Proxy } from "../kit/proxy.ts";
import { until } from "../kit/until.ts";
import { FakeSlave, jobsIn } from "../kit/fake_slave.ts";
import { start, token } from "./harness.ts";

t.test("a slave that reads nothing gets no more leases, and holds up nobody", async (t) => {
  const bytes = new Uint8Array(512 << 10);
  const count = 60;
  const { master, join } = await start(t, {
    getJobs: function* () {
      for (let id = 0; id < count; id++) yield { id, bytes };
    },
  });
  const proxy = await Proxy.open(master.address.port);
  t.teardown(() => proxy.close());
  const slow = await FakeSlave.join({ host: "127.0.0.1", port: proxy.port }, {
    token,
    credit: 1,
    name: "slow",
  });
  const first = await slow.lease();
  proxy.hold(["down"]);
  slow.credit = 1_000;
  slow.answer(first);
  await until(
    () => master.status().done === 1 && master.status().inFlight > 0,
    "one is done, and more under way",
  );
  const quick = await join({ credit: 2, name: "quick" });
  const done = quick.work();
  await until(
    () => master.status().buffered === 0 && master.status().slaves === 2,
    "all is leased to two slaves",
  );
  const { inFlight } = master.status();
  t.ok(
    inFlight >= 2 && inFlight < 40,
    `what is under way to it stays there: ${inFlight} jobs, not all of them`,
  );
  proxy.heal();
  const rest = slow.work();
  const jobs = [...jobsIn(first), ...await done, ...await rest].map((job) => (job as { id: number }).id);
  t.same(jobs.sort((a, b) => a - b), Array.from({ length: count }, (_, id) => id), "each job once");
  t.match((await master.finished).status, { done: count, repeated: 0 });
});
