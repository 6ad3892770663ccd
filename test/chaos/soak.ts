// Ten million jobs with a fault every few seconds: none is lost, memory does not grow.
//   bun test/chaos/soak.ts [--jobs N] [--seed N]
import { parseArgs } from "node:util";
import type { Fleet } from "./fleet.ts";
import { type MemorySlope, MemoryWatch } from "./memory_watch.ts";
import { runScenario } from "./run_scenario.ts";
import type { ChaosScenario } from "./scenarios.ts";
import { head, row } from "./table.ts";

const { values } = parseArgs({
  options: { jobs: { type: "string", default: "10000000" }, seed: { type: "string", default: "1" } },
});

/** Handlers do nothing but write their two records, so that millions pass. */
const soak: ChaosScenario = {
  name: "soak",
  about: "millions of jobs, a fault every few seconds",
  seconds: 7_200,
  gapMs: 4_000,
  faults: {
    "kill slave": 6,
    "kill worker": 6,
    "stop slave": 3,
    "stop master": 3,
    "reset": 6,
    "cut": 5,
    "half-open": 3,
    "partition": 5,
    "one-way up": 3,
    "one-way down": 3,
    "kill master": 1,
  },
  sparesFirst: true,
  slaves: ["binary", "binary", "bun"],
  args: { pause: "0" },
};

let memory: MemoryWatch | undefined;
const result = await runScenario(soak, {
  seed: Number(values.seed),
  seconds: soak.seconds,
  jobs: Number(values.jobs),
  bufferJobs: 10_000,
  onStarted: (fleet: Fleet) => memory = new MemoryWatch(fleet),
});
const slopes = memory?.stop() ?? [];

console.log(`${head}\n${row(result)}\n`);
console.log(
  "| process that lived longest | lived | second, third, last quarter of its life | peak | slope |",
);
console.log("| --- | --- | --- | --- | --- |");
for (const slope of slopes) console.log(slopeRow(slope));
const problems = [...result.problems, ...growthOf(slopes)];
for (const problem of problems) console.error(`  - ${problem}`);
if (result.folder !== null) console.error(`  The records are in ${result.folder}`);
process.exitCode = problems.length > 0 ? 1 : 0;

/** What grew although its life went on as before: by more than a fifth from the second quarter to the last. */
function growthOf(slopes: readonly MemorySlope[]): string[] {
  if (slopes.length < 3) return ["the memory of some processes was not seen"];
  return slopes.filter(({ quartersMib: [second, , last] }) => last! > second! * 1.2)
    .map(({ role, quartersMib }) => `the memory of the ${role} grew: ${quartersMib.map(Math.round)} MiB`);
}

function slopeRow({ role, seconds, quartersMib, peakMib, mibPerMinute }: MemorySlope): string {
  const quarters = quartersMib.map((mib) => mib.toFixed(0)).join(", ");
  return `| ${role} | ${seconds.toFixed(0)} s | ${quarters} MiB | ${peakMib.toFixed(0)} MiB | ${
    mibPerMinute.toFixed(1)
  } MiB a minute |`;
}
