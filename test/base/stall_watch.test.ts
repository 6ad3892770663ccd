import t from "tap";
import { StallWatch } from "../../src/base/stall_watch.ts";

t.test("a tick in time calls nobody's lateness in question", async (t) => {
  const stalls = new StallWatch();
  t.equal(stalls.judgeFrom(1_000_000), -Infinity, "nothing was asked for yet");
  stalls.expect(1_000_000, 1_000_250);
  t.equal(stalls.judgeFrom(1_001_250), -Infinity, "a second late is chance");
});

t.test("after a stall nobody is judged for a moment, once", async (t) => {
  const stalls = new StallWatch();
  stalls.expect(0, 250);
  t.equal(stalls.judgeFrom(1_251), 1_501);
  t.equal(stalls.judgeFrom(1_300), 1_501, "the moment does not move");
  stalls.expect(1_300, 1_500);
  t.ok(stalls.judgeFrom(1_501) <= 1_501);
});

t.test("a tick was due within a second, whatever was asked for", async (t) => {
  const stalls = new StallWatch();
  stalls.expect(0, Infinity);
  t.equal(stalls.judgeFrom(2_000), -Infinity);
  t.equal(stalls.judgeFrom(2_001), 2_251);
});
