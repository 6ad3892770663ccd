import t from "tap";
import { bareRate } from "../../bench/loads/bare.ts";
import { drawCurves } from "../../bench/loads/drawing.ts";
import { atLeast, figure, type Load } from "../../bench/loads/load.ts";
import { section } from "../../bench/loads/report.ts";
import { endedWithin, rateOver, type Timed } from "../../bench/loads/times.ts";

/** Jobs of a worker, one after the other without a gap, each of the same length. */
function worker(beganMs: number, jobMs: number, jobs: number): Timed[] {
  return Array.from({ length: jobs }, (_, id) => {
    const begunMs = beganMs + id * jobMs;
    return { id, yieldedMs: 0, begunMs, endedMs: begunMs + jobMs };
  });
}

t.test("a rate over a stretch counts what ended in it, from when all workers had begun", async (t) => {
  // at 5,000 both work; 100 jobs a second and 50 a second
  const workers = [worker(1_000, 10, 1_000), worker(5_000, 20, 500)];
  t.equal(
    rateOver(workers, [0, 2_000]),
    149.5,
    "what ends just as it begins counts, just as it ends does not",
  );
  t.equal(rateOver(workers, [2_000, 4_000]), 150);
  t.equal(endedWithin(workers, 0, 5_000).length, 399, "one alone");
});

t.test("a rate over a stretch that a worker did not live to see is no rate", async (t) => {
  const workers = [worker(0, 10, 1_000), worker(0, 10, 500)];
  t.equal(rateOver(workers, [4_000, 5_000]), 200);
  t.throws(() => rateOver(workers, [4_000, 6_000]), {
    message: "Cannot measure up to 6000 ms: a worker was done after 5000. It is to have more jobs.",
  });
});

t.test("bare loops count from their own first job on", async (t) => {
  t.equal(bareRate([worker(0, 10, 100), worker(700, 20, 100)]), 150);
});

t.test("a curve has a line for each of its figures; a row without a target is neither met nor missed", async (t) => {
  const load = { name: "handlers", about: "Work" } as Load;
  const text = section("Somewhere.", [[load, {
    rows: [figure("first 4 s", 81.26, "%"), atLeast("later", 94, 95, "%")],
    curves: [{
      title: "Rate",
      x: "million jobs",
      y: ["taskmaster", "bare loop"],
      points: [[0.1, 1_000, 2_000], [1, 3_000, 4_000]],
    }],
  }]]);
  t.match(text, "| handlers | first 4 s | 81.3 % |  |  |");
  t.match(text, "| handlers | later | 94 % | at least 95 % | **no** |");
  const lines = ["| Rate: million jobs | 0.1 | 1 |", "| --- | --- | --- |"];
  t.match(text, [...lines, "| taskmaster | 1,000 | 3,000 |", "| bare loop | 2,000 | 4,000 |"].join("\n"));
});

t.test("curves are drawn from 0 on, over a logarithmic scale of the work", async (t) => {
  const picture = drawCurves("A & B", [
    {
      title: "Rate",
      x: "jobs",
      y: ["taskmaster", "bare <loop>"],
      points: [[1, 25, 50], [10, 50, 75], [100, 75, 100]],
    },
    { title: "Time", x: "jobs", y: ["ms"], points: [[1_000, 3], [1_000_000, 30]] },
  ]);
  t.match(picture, "A &amp; B");
  t.match(picture, "bare &lt;loop&gt;");
  t.match(picture, ">1k</text>");
  const dots = [...picture.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)" r="4" class="(\w+)"/g)]
    .map(([, x, y, fill]) => ({ x: Number(x), y: Number(y), fill }));
  t.same(dots.map(({ fill }) => fill), ["own0", "own0", "own0", "peer0", "peer0", "peer0", "own0", "own0"]);
  const [first, second, third, other] = dots as [
    typeof dots[0],
    typeof dots[0],
    typeof dots[0],
    typeof dots[0],
  ];
  t.equal(second.x - first.x, third.x - second.x, "ten times the work is the same step everywhere");
  t.equal(other.x, first.x);
  t.ok(Math.abs(first.y - second.y - (second.y - third.y)) < 0.11, "as much more is as much higher");
  t.ok(Math.abs(other.y - second.y) < 0.11, "50 is 50 in either curve");
  const bottom = Math.max(
    ...[...picture.matchAll(/<path d="M[\d.]+ ([\d.]+)h/g)].slice(0, 3).map(([, y]) => Number(y)),
  );
  t.ok(Math.abs(bottom - first.y - (first.y - second.y)) < 0.11, "and 0 is the line at the bottom");
});
