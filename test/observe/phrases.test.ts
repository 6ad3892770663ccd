import t from "tap";
import type { RunReason } from "../../src/observe/events.ts";
import { reasonInWords } from "../../src/observe/phrases.ts";

const words: readonly (readonly [RunReason, string])[] = [
  [{ code: "waiting_for_slaves" }, "waiting for slaves"],
  [
    { code: "waiting_for_slaves", what: "worker 7 is in setup since 12 s" },
    "waiting for slaves: worker 7 is in setup since 12 s",
  ],
  [
    { code: "source_silent", source: "getJobs", forMs: 12_400 },
    "source slow: getJobs gives nothing since 12 s",
  ],
  [{ code: "waiting_for_user", what: "onFinish runs", forMs: 31_000 }, "onFinish runs since 31 s"],
  [
    { code: "paced", startsPerSecond: 4.25, message: "429" },
    "throttled: 4.3 starts/s, since more fail with: 429",
  ],
  [{ code: "window_full", limit: "bytes" }, "window full (--size-bytes)"],
  [{ code: "rate_limited", perSecond: 100 / 60 }, "throttled: --rate 100/m"],
  [{ code: "rate_limited", perSecond: 0.5 }, "throttled: --rate 30/m"],
  [{ code: "in_flight_limited", jobs: 7 }, "throttled: --max-in-flight 7"],
  [{ code: "throttled", message: "replica lag" }, "throttled: replica lag"],
  [{ code: "ended", outcome: "no room" }, "too many dead letters"],
];
for (const [reason, phrase] of words) {
  t.test(`reasonInWords() of ${JSON.stringify(reason)}`, async (t) => t.equal(reasonInWords(reason), phrase));
}

t.test("a reason of a later version is shown by its code", async (t) => {
  t.equal(reasonInWords({ code: "lunch\u001b[2J" } as never), "lunch\\e[2J");
});
