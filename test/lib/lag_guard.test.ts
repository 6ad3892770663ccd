import t from "tap";
import { awakeLateMs, LagGuard } from "../../src/lib/lag_guard.ts";

t.test("a look in time calls nobody's lateness in question", async (t) => {
  const guard = new LagGuard();
  t.equal(guard.note(1_000_000), 0);
  t.equal(guard.judgeFromMs, -Infinity, "nothing was asked for yet");
  t.equal(guard.time(1_000_000), 1_000_000);
  guard.expect(1_000_250);
  t.equal(guard.note(1_001_250), 0, "a second late is chance");
  t.equal(guard.judgeFromMs, -Infinity);
  t.equal(guard.time(1_001_250), 1_001_250);
  t.ok(guard.mayJudge(1_001_250));
});

t.test("after a lag nobody is judged for a moment, once", async (t) => {
  const guard = new LagGuard();
  guard.expect(250);
  t.equal(guard.note(1_251), 1);
  t.equal(guard.judgeFromMs, 1_501);
  t.notOk(guard.mayJudge(1_500));
  t.ok(guard.mayJudge(1_501));
  t.equal(guard.note(1_300), 0);
  t.equal(guard.judgeFromMs, 1_501, "the moment does not move");
  guard.expect(1_500);
  t.equal(guard.note(1_501), 0);
});

t.test("nobody is judged for no longer than the lag was", async (t) => {
  const guard = new LagGuard(100, 1_000);
  guard.expect(1_000);
  guard.note(1_400);
  t.equal(guard.judgeFromMs, 1_800);
  guard.expect(2_000);
  guard.note(9_000);
  t.equal(guard.judgeFromMs, 10_000);
});

t.test("what is measured on the lag-adjusted clock is later in real time by all lags", async (t) => {
  const guard = new LagGuard(100, 1_000);
  guard.expect(1_000);
  t.equal(guard.note(61_000), 59_900);
  t.equal(guard.time(61_000), 1_100);
  t.equal(guard.realMs(3_000), 62_900);
  t.equal(guard.realMs(1_100), 62_000, "and not before anybody may be judged");
  guard.expect(62_000);
  t.equal(guard.note(63_000), 900);
  t.equal(guard.realMs(4_000), 64_800);
  t.equal(guard.realMs(Infinity), Infinity);
});

t.test("a lag-adjusted clock goes on while it is looked at, and stands still while nobody can", async (t) => {
  const clock = new LagGuard(awakeLateMs);
  t.equal(clock.time(1_000), 1_000, "nobody has looked yet");
  for (let ms = 1_000; ms <= 2_000; ms += 100) t.equal(clock.look(ms), ms);
  t.equal(clock.time(2_150), 2_150);
  t.equal(clock.time(2_000 + awakeLateMs), 2_000 + awakeLateMs, "a look may be late");
  t.equal(clock.time(9_000), 2_000 + awakeLateMs, "right already before the next look");
  t.equal(clock.look(9_000), 2_000 + awakeLateMs);
  t.equal(clock.time(9_100), 2_100 + awakeLateMs, "and it goes on");
  t.equal(clock.look(9_100), 2_100 + awakeLateMs);
  t.equal(clock.look(70_000), 2_100 + 2 * awakeLateMs, "each time");
});

t.test("once the time has come that was asked for, the lag-adjusted clock shows it, however sums are rounded", async (t) => {
  const guard = new LagGuard(100, 1_000);
  let nowMs = 0.1;
  let early = 0;
  for (let i = 0; i < 1_000; i++) {
    guard.expect(nowMs);
    guard.note(nowMs += 300.3 + i / 7);
    const time = guard.time(nowMs) + 2_000 + i / 3;
    guard.expect(guard.realMs(time));
    if (guard.time(guard.realMs(time)) < time) early++;
  }
  t.ok(guard.time(nowMs) < nowMs / 2, "it stood still");
  t.equal(early, 0);
});
