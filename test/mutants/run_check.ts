import type { Check } from "./mutant.ts";
import type { PatchedCopy } from "./patched_copy.ts";
import { runChaos } from "./run_chaos.ts";
import { runTests } from "./run_tests.ts";
import type { Verdict } from "./verdict.ts";

const simulationMsMax = 120_000;

/**
 * Runs a check in a copy.
 *
 * @throws {Error} if it neither held nor failed by its own judgement: a patch that merely does not run proves nothing.
 */
export async function runCheck(copy: PatchedCopy, check: Check): Promise<Verdict> {
  switch (check.kind) {
    case "simulation":
      return await simulate(copy, check.seeds);
    case "test":
      return (await runTests(copy, check.file, [check]))[0]!;
    case "chaos":
      return await runChaos(copy, check);
  }
}

async function simulate(copy: PatchedCopy, seeds: number): Promise<Verdict> {
  const { code, output } = await copy.run(
    ["bun", "test/sim/main.ts", "--seeds", String(seeds)],
    simulationMsMax,
  );
  if (code === 0 && output.includes(`${seeds} seeds from 0 hold`)) return { failed: null, output };
  // behind the lines of source that Bun shows
  const violation = /^seed (\d+):[^]*?^(?:Violation|error): ((?:I\d+|C8|sum)\b.*)$/m.exec(output);
  if (code !== 1 || violation === null) {
    throw new Error(`The simulation ended with ${code}:\n${output.slice(-4_000)}`);
  }
  return { failed: `seed ${violation[1]}: ${violation[2]}`, output };
}
