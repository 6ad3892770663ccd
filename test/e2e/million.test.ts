import t from "tap";
import { join } from "node:path";
import { root, runtimes } from "../kit/runtimes.ts";
import { Scenario } from "../kit/scenario.ts";

t.test("no fault: a million jobs, and none of them twice", async (t) => {
  const scenario = new Scenario();
  t.teardown(() => scenario.end());
  const jobs = 1_000_000;
  const plugin = join(root, "test", "e2e", "tally.ts");
  const words = [`dir=${scenario.folder}`, `jobs=${jobs}`, "--state-dir", scenario.folder, "--procs", "2"];
  const run = scenario.start(runtimes.binary, ["run", plugin, ...words, "--host", "127.0.0.1:0"]);
  t.equal(await run.ended, 0, run.stderr);
  const counts = scenario.tallies(jobs);
  t.equal(counts.filter((count) => count === 0).length, 0, "none is lost");
  t.equal(counts.filter((count) => count > 1).length, 0, "none is repeated");
});
