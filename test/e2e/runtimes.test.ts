import t from "tap";
import { portOf, runtimes, Scenario } from "./harness.ts";

type Runtime = keyof typeof runtimes;
const pairs: readonly (readonly [Runtime, Runtime])[] = [
  ["binary", "deno"],
  ["deno", "bun"],
  ["bun", "binary"],
  ["deno", "deno"],
];

for (const [masterRuntime, slaveRuntime] of pairs) {
  t.test(`a master under ${masterRuntime}, a slave under ${slaveRuntime}`, async (t) => {
    const scenario = new Scenario();
    t.teardown(() => scenario.end());
    const master = scenario.master(["jobs=500", "--log-level", "debug"], runtimes[masterRuntime]);
    const slave = scenario.slave(
      await portOf(master),
      ["--procs", "2", "--log-level", "debug"],
      runtimes[slaveRuntime],
    );
    t.equal(await master.ended, 0, master.stderr);
    t.equal(await slave.ended, 0, slave.stderr);
    t.same(scenario.records().lost(500), []);
    t.equal(scenario.records().repeated, 0);
    t.same(scenario.workerRuntimes(), [slaveRuntime], "the runtime that answered");
  });
}

t.test("one master, slaves of all runtimes", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const master = scenario.master(["jobs=5000", "pause=2"]);
  const port = await portOf(master);
  for (const command of Object.values(runtimes)) scenario.slave(port, ["--procs", "1"], command);
  t.equal(await master.ended, 0, master.stderr);
  t.same(scenario.records().lost(5000), []);
  t.equal(scenario.records().repeated, 0);
  t.same(scenario.workerRuntimes(), ["binary", "bun", "deno"]);
});
