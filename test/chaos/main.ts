// Runs chaos scenarios over real processes of dist/taskmaster and prints a table.
//   bun test/chaos/main.ts [NAME...] [--seed N] [--seconds N] [--times N]
// Without a name: all of them, each for as long as its table entry says.
import { parseArgs } from "node:util";
import { NamespaceNetwork } from "./namespaces.ts";
import { faultLine } from "./plan.ts";
import { runScenario, type ScenarioResult } from "./run_scenario.ts";
import { scenarios } from "./scenarios.ts";
import { head, row } from "./table.ts";

const { values, positionals } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    seconds: { type: "string" },
    times: { type: "string", default: "1" },
    list: { type: "boolean", default: false },
  },
  allowPositionals: true,
});
if (values.list) {
  for (const { name, about } of scenarios) console.log(`${name.padEnd(24)}${about}`);
  process.exit(0);
}
const unknown = positionals.filter((name) => !scenarios.some((scenario) => scenario.name === name));
if (unknown.length > 0) {
  console.error(
    `There is no scenario "${unknown[0]}"; there are: ${scenarios.map(({ name }) => name).join(", ")}`,
  );
  process.exit(2);
}

let failed = 0;
console.log(head);
for (let seed = Number(values.seed); seed < Number(values.seed) + Number(values.times); seed++) {
  for (const scenario of scenarios) {
    if (positionals.length > 0 && !positionals.includes(scenario.name)) continue;
    const refusal = scenario.namespaces ? NamespaceNetwork.refusal() : null;
    if (refusal !== null) {
      console.log(`| ${scenario.name} | ${seed} | skipped: ${refusal} | | | | |`);
      continue;
    }
    const seconds = values.seconds === undefined ? scenario.seconds : Number(values.seconds);
    const result = await runScenario(scenario, { seed, seconds });
    console.log(row(result));
    if (result.problems.length > 0) {
      failed++;
      explain(result, seconds);
    }
  }
}
process.exitCode = failed > 0 ? 1 : 0;

function explain({ scenario, seed, plan, problems, folder }: ScenarioResult, seconds: number): void {
  console.error(`\n${scenario} failed:`);
  for (const problem of problems) console.error(`  - ${problem}`);
  console.error("  The plan was:");
  for (const fault of plan) console.error(`    ${faultLine(fault)}`);
  console.error(`  The records are in ${folder}`);
  console.error(`  To repeat it: npm run chaos -- ${scenario} --seed ${seed} --seconds ${seconds}\n`);
}
