import t from "tap";
import { AwakeClock, awakeLateMs, StallWatch } from "../../src/lib/clock.ts";

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

t.test("an awake clock goes on while it is looked at, and stands still while nobody can", async (t) => {
  const clock = new AwakeClock();
  t.equal(clock.at(1_000), 1_000, "nobody has looked yet");
  for (let ms = 1_000; ms <= 2_000; ms += 100) t.equal(clock.look(ms), ms);
  t.equal(clock.at(2_150), 2_150);
  t.equal(clock.at(2_000 + awakeLateMs), 2_000 + awakeLateMs, "a look may be late");
  t.equal(clock.at(9_000), 2_000 + awakeLateMs, "right already before the next look");
  t.equal(clock.look(9_000), 2_000 + awakeLateMs);
  t.equal(clock.at(9_100), 2_100 + awakeLateMs, "and it goes on");
  t.equal(clock.look(9_100), 2_100 + awakeLateMs);
  t.equal(clock.look(70_000), 2_100 + 2 * awakeLateMs, "each time");
});
