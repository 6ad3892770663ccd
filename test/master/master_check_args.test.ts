import t from "tap";
import { readdirSync } from "node:fs";
import { ids, start } from "./harness.ts";

const many = (count: number, value = "") =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`a${index}`, value]));

t.test("arguments that no slave could be told are refused before anything is opened", async (t) => {
  const stateDir = t.testdir();
  const refused: [Record<string, string>, RegExp][] = [
    [many(1_001), /^Cannot start with 1001 arguments: a run takes at most 1000; put them in a file/],
    [{ table: "x".repeat(65_537) }, /"table": it has 65537 characters, .* at most 65536; put it in a file/],
    [many(16, "x".repeat(65_536)), /each slave is told \d{7} bytes long, .* at most 1048576; put them/],
    [many(6, "\u20ac".repeat(60_000)), /at most 1048576/],
  ];
  for (const [args, message] of refused) {
    await t.rejects(start(t, { getJobs: () => ids(1) }, { stateDir, args }), {
      name: "UsageError",
      exitCode: 2,
      message,
    });
  }
  t.same(readdirSync(stateDir), []);
});

t.test("as many, and as long, as may be reach a slave", async (t) => {
  for (const args of [many(1_000), many(15, "x".repeat(65_536))]) {
    const { join } = await start(t, { getJobs: () => ids(1) }, { args });
    const slave = await join();
    t.equal(Object.keys(slave.welcome.args).length, Object.keys(args).length);
    await slave.work();
  }
});
