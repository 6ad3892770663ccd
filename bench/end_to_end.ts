// Taskmaster beside the bare loop and its peers, in one go: `npm run bench`.
//   --rounds N    how often each is measured (5)
//   --quick       two rounds of a tenth of the jobs: to see that it works
//   --only ID     just this system; may be given several times
//   --write       put tables and chart into docs/performance.md and docs/performance.svg
// It ends with 1 if a round failed or, unless it is quick, a target is not met.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Bars, drawChart } from "./chart.ts";
import { circumstances } from "./circumstances.ts";
import { describe, type Findings, marks } from "./document.ts";
import { replaceBetween } from "./marks.ts";
import { root } from "../test/kit/runtimes.ts";
import { measureRounds, medianRate, type Result } from "./rounds.ts";
import { shapes } from "./rows.ts";
import { stopSignal } from "./stop.ts";
import type { System } from "./system.ts";
import { mainId, systems } from "./systems.ts";
import { targetsOf } from "./targets.ts";

const documentPath = join(root, "docs", "performance.md");

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    only: { type: "string", multiple: true },
    write: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
const unknown = (values.only ?? []).find((id) => !systems.some((system) => system.id === id));

if (!Number.isInteger(rounds) || rounds < 1) {
  refuse(`--rounds ${values.rounds}: it must be a whole number from 1`);
} else if (unknown !== undefined) {
  refuse(`--only ${unknown}: the systems are ${systems.map(({ id }) => id).join(", ")}`);
} else if (values.write && values.only !== undefined) {
  refuse("--write with --only: the document shows what was measured together");
} else if (values.write && values.quick) {
  refuse("--write with --quick: small counts show that it works, not how fast it is");
} else await main();

async function main(): Promise<void> {
  const signal = stopSignal();
  // a document without its marks is an error now, not after ten minutes
  if (values.write) replaceBetween(marks, readFileSync(documentPath, "utf8"), "");
  const findings = await measure(signal);
  const text = describe(findings);
  console.log(text);
  if (values.write) {
    writeFileSync(documentPath, replaceBetween(marks, readFileSync(documentPath, "utf8"), text));
    writeFileSync(join(root, "docs", "performance.svg"), chart(findings.results));
  }
  const hasFailed = findings.results.some(({ failures }) => failures.length > 0);
  const isMet = values.quick || targetsOf(findings.results).every(({ isMet }) => isMet);
  if (hasFailed || !isMet) process.exitCode = 1;
}

async function measure(signal: AbortSignal): Promise<Findings> {
  const found = systems.filter(({ id }) => values.only?.includes(id) ?? true)
    .map((system) => ({ system, presence: system.find() }));
  const missing = found.flatMap(({ system, presence }) =>
    "missing" in presence ? [{ system, missing: presence.missing }] : []
  );
  for (const { system, missing: what } of missing) console.error(`not measured, ${system.id}: ${what}`);
  const present = found.flatMap(({ system, presence }) =>
    "version" in presence ? [{ system, version: presence.version }] : []
  );
  const before = circumstances(rounds, values.quick);
  const scale = values.quick ? 0.1 : 1;
  const chosen = present.map(({ system }) => system);
  const results = await measureRounds(chosen, rounds, scale, (line) => console.error(line), signal);
  const versions = new Map(present.map(({ system, version }) => [system.id, version]));
  return { circumstances: before, results, missing, versions };
}

function chart(results: readonly Result[]): string {
  const isShown = ({ id, kind }: System) => kind === "peer" || [mainId, "run-2", "bare"].includes(id);
  const shown = [...new Set(results.map(({ system }) => system))].filter(isShown);
  const bars: Bars[] = shown.map((system) => ({
    label: (system.kind === "taskmaster" ? `taskmaster ${system.label}` : system.label).replaceAll("`", ""),
    kind: system.kind,
    rates: shapes.map((shape) => {
      const result = results.find((other) => other.system === system && other.shape === shape);
      return medianRate(result);
    }),
  }));
  const fastestFirst = bars.toSorted((a, b) => (b.rates[0] || 0) - (a.rates[0] || 0));
  const title = "Jobs a second on one machine, handlers that do nothing (logarithmic scale)";
  return drawChart(title, ["small jobs", "rows of 230 bytes"], fastestFirst);
}

function refuse(what: string): void {
  console.error(`Cannot measure with ${what}.`);
  process.exitCode = 2;
}
