import t from "tap";
import { measureOnce } from "../../bench/rounds.ts";
import { systems } from "../../bench/systems.ts";

// A loose guard: what it measures on a busy machine is far from the truth of docs/performance.md, but a mistake that
// costs most of the speed is seen.
const ratioMin = 0.15;
const jobs = 1_000_000;

async function rate(id: string): Promise<number> {
  const system = systems.find((system) => system.id === id)!;
  const outcome = await measureOnce(system, "small", jobs, AbortSignal.timeout(50_000));
  if ("failure" in outcome) throw new Error(outcome.failure);
  return outcome.jobsPerSecond;
}

t.test("taskmaster is not far from the bare loop, in one run", async (t) => {
  let ratio = 0;
  for (let attempt = 0; attempt < 2 && ratio < ratioMin; attempt++) {
    const bare = await rate("bare");
    const ours = await rate("run");
    ratio = ours / bare;
    t.comment(
      `bare loop ${Math.round(bare)} jobs/s, taskmaster ${Math.round(ours)}: ratio ${ratio.toFixed(2)}`,
    );
  }
  t.ok(ratio >= ratioMin, `the ratio is ${ratio.toFixed(2)}, at least ${ratioMin}`);
});
