import t from "tap";
import { RateMeter } from "../../src/terminal/rate_meter.ts";

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

t.test("RateMeter covers one long gap between samples", async (t) => {
  const meter = new RateMeter(5_000);
  meter.sample(0, 0);
  meter.sample(3_000, 30_000);
  t.equal(meter.perSecond, 100);
});
