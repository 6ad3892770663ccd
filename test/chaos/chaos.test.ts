import t from "tap";
import { NamespaceNetwork } from "./namespaces.ts";
import { faultLine } from "./plan.ts";
import { runScenario, type ScenarioResult } from "./run_scenario.ts";
import { scenarios } from "./scenarios.ts";

// Most scenarios for some seconds, with a fixed seed, two at a time: two minutes in all. `npm run chaos` runs them longer,
// and with other seeds.

const seed = 1;
const seconds = 3;
const secondsMixed = 15;
t.setTimeout(900_000);

const refusal = NamespaceNetwork.refusal();
const results = new Map<string, Promise<ScenarioResult>>();
const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];
const chosen = scenarios.filter(({ long }) => !long);
for (const [place, scenario] of [...chosen].reverse().entries()) {
  if (scenario.namespaces && refusal !== null) continue;
  const lane = place % lanes.length;
  const result = lanes[lane]!.then(() =>
    runScenario(scenario, { seed, seconds: scenario.name === "mixed" ? secondsMixed : seconds })
  );
  results.set(scenario.name, result);
  lanes[lane] = result.catch(() => {});
}

for (const { name, about, namespaces } of chosen) {
  const skip = namespaces && refusal !== null ? refusal : false;
  t.test(`${name}: ${about}`, { skip }, async (t) => {
    const { plan, problems, bound, jobs } = await results.get(name)!;
    t.same(problems, [], `seed ${seed}: ${plan.map(faultLine).join("; ").replace(/ +/g, " ")}`);
    t.ok(bound < jobs, "the bound says something");
  });
}
