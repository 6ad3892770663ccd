import t from "tap";
import { HandleJob } from "../../src/plugin/handle_job.ts";
import type { Plugin } from "../../src/plugin/types.ts";
import { withTimeout } from "../../src/worker/running_calls.ts";

/** How an attempt ends whose handler blocks for so long and then behaves so, with 100 ms to do it. */
async function outcome(blockedMs: number, then: () => unknown): Promise<string> {
  let clockMs = 0;
  const handleJob = () => {
    clockMs += blockedMs;
    return then();
  };
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const handler = new HandleJob({ handleJob } as Plugin, { args: {}, log, shared: undefined });
  const slice = { seq: 1, attempt: 1, jobs: ["job"] };
  const attempt = withTimeout(handler, 100, () => clockMs).run(slice, 1, 2);
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
