import t from "tap";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { portOf, root, runtimes, Scenario } from "./harness.ts";

type Runtime = keyof typeof runtimes;
const pairs: readonly (readonly [Runtime, Runtime])[] = [
  ["binary", "deno"],
  ["deno", "bun"],
  ["bun", "binary"],
  ["deno", "deno"],
  ["node", "binary"],
  ["bun", "node"],
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

t.test("the program starts through a symbolic link", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const link = join(scenario.folder, "tm.ts");
  symlinkSync(join(root, "mod.ts"), link);
  // Deno says that the modules which it looks for beside the link are not there.
  for (const runtime of ["bun", "node"] as const) {
    const program = scenario.start([...runtimes[runtime].slice(0, -1), link], ["version"]);
    t.equal(await program.ended, 0, runtime);
    t.match(program.stdout, /^taskmaster \d/, runtime);
  }
});

t.test("the sample plugin runs to its end under Node", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const words = ["--state-dir", scenario.folder, "--host", "127.0.0.1:0", "--attempts", "1", "--procs", "1"];
  const run = scenario.start(runtimes.node, ["run", join(root, "plugins", "posts.ts"), "--json", ...words]);
  t.equal(await run.ended, 0, run.stderr);
  t.match(run.stdout, /"done":100000/);
});

t.test("one master, slaves of all runtimes", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const master = scenario.master(["jobs=5000", "pause=2"]);
  const port = await portOf(master);
  for (const command of Object.values(runtimes)) scenario.slave(port, ["--procs", "1"], command);
  t.equal(await master.ended, 0, master.stderr);
  t.same(scenario.records().lost(5000), []);
  t.equal(scenario.records().repeated, 0);
  t.same(scenario.workerRuntimes(), ["binary", "bun", "deno", "node"]);
});
