import t from "tap";
import {
  countOf,
  includes,
  intersect,
  RangeSet,
  rangesOf,
  rangesOfSpans,
  subtract,
  unite,
} from "../../src/lib/ranges.ts";
import { Random } from "../sim/random.ts";

/** A set of numbers below 24, as a list. */
function draw(random: Random): number[] {
  return Array.from({ length: 24 }, (_, i) => i).filter(() => random.perMille(400));
}

t.test("set operations agree with those on plain sets", async (t) => {
  const random = new Random(1);
  for (let i = 0; i < 2_000; i++) {
    const a = draw(random);
    const b = draw(random);
    const [ra, rb] = [rangesOf(a), rangesOf(b)];
    const both = rangesOf(a.filter((value) => b.includes(value)));
    const rest = rangesOf(a.filter((value) => !b.includes(value)));
    const all = rangesOf([...a, ...b]);
    const set = new RangeSet(ra);
    set.addAll(rb);
    const isRight = String(intersect(ra, rb)) === String(both) && String(subtract(ra, rb)) === String(rest) &&
      String(unite(ra, rb)) === String(all) && String(set.ranges) === String(all) &&
      countOf(ra) === a.length &&
      a.every((value) => includes(ra, value)) && b.every((value) =>
        a.includes(value) === includes(ra, value)
      );
    if (!isRight) t.fail(`${ra} and ${rb}`);
  }
});

t.test("ranges neither touch nor are empty, whatever the order", async (t) => {
  const set = new RangeSet();
  set.add(5, 7);
  set.add(7, 9);
  set.add(1, 2);
  set.add(4, 4);
  set.add(2, 5);
  t.same(set.ranges, [1, 9]);
  t.equal(set.count, 8);
  t.same(rangesOf([3, 1, 2, 9, 3]), [1, 4, 9, 10]);
  const spans = [{ from: 7, to: 9 }, { from: 1, to: 3 }, { from: 3, to: 4 }, { from: 8, to: 9 }];
  t.same(rangesOfSpans(spans), [1, 4, 7, 9]);
});

t.test("the lowest range is taken first", async (t) => {
  const set = new RangeSet([1, 4, 8, 9]);
  t.same([set.takeFirst(2), set.takeFirst(2), set.takeFirst(2)], [[1, 3], [3, 4], [8, 9]]);
  t.ok(set.isEmpty);
});

t.test("what was returned does not change", async (t) => {
  const set = new RangeSet([1, 4]);
  const { ranges } = set;
  set.add(4, 5);
  set.removeAll([1, 2]);
  t.same([ranges, set.ranges], [[1, 4], [2, 5]]);
});
