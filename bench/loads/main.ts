// Loads that are slow, uneven, bursty, crowded or interrupted, each with its targets: `npm run bench:loads`.
//   npm run bench:loads -- uneven storms   just these
//   npm run bench:loads -- --quick         so short that it only shows that the measurements work
//   npm run bench:loads -- --write         puts the tables into docs/performance.md, the curves into docs/growth.svg
// It ends with 1 if a load failed or, unless it is quick, a target is not met.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { root } from "../../test/kit/runtimes.ts";
import { stopSignal } from "../stop.ts";
import { changing } from "./changing.ts";
import { checkpoints } from "./checkpoints.ts";
import { handlers } from "./handlers.ts";
import { failed, type Findings, type Load } from "./load.ts";
import { manySlaves, storms } from "./many_slaves.ts";
import { memory } from "./memory.ts";
import { drawCurves } from "./drawing.ts";
import { endPlaces } from "./place.ts";
import { conditions, curvesOf, growth, replaceSection, section } from "./report.ts";
import { requeue } from "./requeue.ts";
import { sources } from "./sources.ts";
import { starts } from "./starts.ts";
import { uneven } from "./uneven.ts";

const loads: readonly Load[] = [
  handlers,
  uneven,
  changing,
  sources,
  manySlaves,
  storms,
  memory,
  starts,
  checkpoints,
  requeue,
];

const { positionals, values: { quick, write } } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, write: { type: "boolean", default: false } },
});
const unknown = positionals.filter((name) => !loads.some((load) => load.name === name));
if (unknown.length > 0) {
  throw new Error(`There is no load "${unknown[0]}"; there are ${loads.map(({ name }) => name).join(", ")}.`);
}
if (write && (quick || positionals.length > 0)) {
  throw new Error("--write takes a whole run: no names, no --quick.");
}

const documentPath = join(root, "docs", "performance.md");
// a document without its marks is an error now, not after ten minutes
if (write) replaceSection(readFileSync(documentPath, "utf8"), "");
const signal = stopSignal();
signal.addEventListener("abort", endPlaces);
const about = conditions();
const results: [Load, Findings][] = [];
for (const load of loads.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const beganMs = performance.now();
  const findings = await load.measure(quick, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    process.exitCode = 1;
    return failed(error);
  });
  signal.throwIfAborted();
  results.push([load, findings]);
  for (const { what, measured, target, isMet } of findings.rows) {
    if (isMet === false && !quick) process.exitCode = 1;
    const met = isMet === null ? "    " : isMet ? "met " : "NOT ";
    console.error(`${met} ${load.name}: ${what}: ${measured}${target === "" ? "" : `; ${target}`}`);
  }
  console.error(`     (${load.name} took ${Math.round((performance.now() - beganMs) / 1000)} s)`);
}
const text = section(about, results);
if (write) {
  writeFileSync(documentPath, replaceSection(readFileSync(documentPath, "utf8"), text));
  writeFileSync(join(root, "docs", "growth.svg"), drawCurves(growth, curvesOf(results)));
} else console.log(`\n${text}`);
