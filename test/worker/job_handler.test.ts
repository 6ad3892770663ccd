import t from "tap";
import { Handler } from "../../src/plugin/invoke.ts";
import type { Plugin } from "../../src/plugin/types.ts";
import { withTimeout } from "../../src/worker/job_handler.ts";

/** How an attempt ends whose handler blocks for so long and then behaves so, with 100 ms to do it. */
async function outcome(blockedMs: number, then: () => unknown): Promise<string> {
  let clockMs = 0;
  const handleJob = () => {
    clockMs += blockedMs;
    return then();
  };
  const handler = new Handler({ handleJob } as Plugin, { args: {}, log: () => {} });
  const attempt = withTimeout(handler, 100, () => clockMs).run("job", 1, 1);
  const result = attempt.kind === "pending" ? await attempt.ended : attempt;
  return result.kind === "failed" ? result.how : result.kind;
}

t.test("who blocks past the timeout is charged, however it goes on", async (t) => {
  const ways: Record<string, () => unknown> = {
    "returns": () => {},
    "is async": async () => {},
    "awaits what is there": async () => await null,
    "awaits a timer": () => new Promise((resolve) => setTimeout(resolve, 1)),
    "rejects": async () => {
      throw new Error("boom");
    },
  };
  for (const [way, then] of Object.entries(ways)) {
    t.equal(await outcome(100, then), "timed out", way);
    t.equal(await outcome(99, then), way === "rejects" ? "threw" : "done", `${way}, in time`);
  }
});
