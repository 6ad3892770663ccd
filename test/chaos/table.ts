import type { ScenarioResult } from "./run_scenario.ts";

/** One row of the table for people, in Markdown. */
export function row(result: ScenarioResult): string {
  const { scenario, seed, injected, jobs, lost, repeated, bound, elapsedMs, problems } = result;
  const faults = [...injected].map(([name, count]) => `${count} ${name}`).join(", ") || "none";
  const seconds = `${(elapsedMs / 1000).toFixed(0)} s`;
  const verdict = problems.length === 0 ? "" : " FAILED";
  return `| ${scenario}${verdict} | ${seed} | ${faults} | ${jobs} | ${lost} | ${repeated} / ${bound} | ${seconds} |`;
}

export const head = "| scenario | seed | faults injected | jobs | lost | repeated / bound | time |\n" +
  "| --- | --- | --- | --- | --- | --- | --- |";
