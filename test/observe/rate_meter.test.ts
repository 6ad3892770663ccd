import t from "tap";
import { RateMeter } from "../../src/observe/rate_meter.ts";

t.test("RateMeter knows no rate before the second sample", async (t) => {
  const meter = new RateMeter();
  t.equal(meter.perSecond, 0);
  meter.sample(5_000, 10);
  t.equal(meter.perSecond, 0, "what was there at first is not counted");
  meter.sample(5_000, 10);
  t.equal(meter.perSecond, 0, "no time went by");
});

t.test("RateMeter covers the last seconds only", async (t) => {
  const meter = new RateMeter(5_000);
  for (let s = 0; s <= 20; s++) meter.sample(s * 100, s * 1_000);
  t.equal(meter.perSecond, 100);
  for (let s = 21; s <= 26; s++) meter.sample(2_000, s * 1_000);
  t.equal(meter.perSecond, 0, "a stall shows after the window, not as a slow decline");
});

t.test("RateMeter leaves out the time in which its process stood still", async (t) => {
  const meter = new RateMeter(5_000);
  for (let s = 0; s <= 10; s++) meter.sample(s * 100, s * 1_000);
  // stopped for a minute, one second after the last sample
  for (let s = 11; s <= 20; s++) {
    meter.sample(s * 100, s * 1_000 + 60_000);
    t.ok(meter.perSecond >= 80 && meter.perSecond <= 100, `${meter.perSecond} at ${s}`);
  }
  t.equal(meter.perSecond, 100);
});
