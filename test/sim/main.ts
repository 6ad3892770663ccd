// Runs seeds of the simulation: bun test/sim/main.ts --seeds 100000 --from 0
// On a violation it prints the seed, the trace and what was violated, and exits 1. With --hashes it prints the hash
// of each seed's trace instead of a sum.
import { performance } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { Simulation } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "0" },
    hashes: { type: "boolean", default: false },
  },
});
const from = Number(values.from);
const seeds = Number(values.seeds);
const startMs = performance.now();
let events = 0;
for (let seed = from; seed < from + seeds; seed++) {
  try {
    const result = new Simulation(seed).run();
    events += result.events;
    if (values.hashes) console.log(result.hash);
  } catch (error) {
    explain(seed);
    console.error(`\nseed ${seed}:`, error);
    process.exit(1);
  }
}
const seconds = (performance.now() - startMs) / 1000;
const sum = `${seeds} seeds from ${from} hold: ${events} events, ${
  Math.round(seeds / seconds)
} seeds a second`;
if (!values.hashes) console.log(sum);

/** Replays a seed and prints what happened. */
function explain(seed: number): void {
  const simulation = new Simulation(seed, true);
  try {
    simulation.run();
  } catch {
    // the same violation as before
  }
  console.error(simulation.plan);
  console.error(simulation.world.trace.lines.slice(-400).join("\n"));
}
