// Attacks a real master over the network, and says what is left of a real slave's rate: npm run flood
//   --only NAME   one attack alone
//   --seconds N   of watching before and after; twice as long during the attack
// Prints the tables of docs/hostile-input.md; exits 1 if less than 80 % of a rate is kept, or anything else fails.
import { parseArgs } from "node:util";
import { runtimes } from "../kit/runtimes.ts";
import { noStranger } from "../e2e/stranger.ts";
import { faultsOf, type Flood, floods, runFlood } from "./floods.ts";
import { outOfFiles } from "./out_of_files.ts";
import { reconnectStorm } from "./storm.ts";
import { floodLock, floodWorkers, localFaults } from "./strangers.ts";

const { values } = parseArgs({
  options: { only: { type: "string" }, seconds: { type: "string", default: "5" } },
});
const seconds = Number(values.seconds);
const isChosen = (name: string): boolean => values.only === undefined || values.only === name;
const failures: string[] = [];

function must(isFine: boolean, what: string): void {
  if (!isFine) failures.push(what);
}

console.log(
  "| attack | connections | made in all | rate before | during | after | kept | memory before | during | log lines |",
);
console.log("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
for (const flood of floods.filter(({ name }) => isChosen(name))) await flooded(flood);
if (isChosen("storm")) await stormed();
// Not under Deno: see docs/hostile-input.md.
for (const runtime of ["binary", "bun"] as const) {
  if (isChosen("files") || isChosen(`files-${runtime}`)) await withoutFiles(runtime);
}
for (const which of ["lock", "workers"] as const) if (isChosen(which)) await floodedLocally(which);
for (const failure of failures) console.error(failure);
process.exit(failures.length > 0 ? 1 : 0);

async function flooded(flood: Flood): Promise<void> {
  const report = await runFlood(flood, seconds, 1);
  const { connections, made, before, during, after, logLines } = report;
  const kept = during.ratePerSecond / before.ratePerSecond;
  const cells = [
    `${flood.name}: ${flood.what}`,
    connections,
    made,
    ...[before, during, after].map(({ ratePerSecond }) => `${Math.round(ratePerSecond)}/s`),
    `${Math.round(kept * 100)} %`,
    ...[before, during].map(({ peakMiB }) => `${Math.round(peakMiB)} MiB`),
    logLines,
  ];
  console.log(`| ${cells.join(" | ")} |`);
  must(kept >= 0.8, `${flood.name}: less than 80 % of the rate`);
  for (const fault of faultsOf(flood, report)) must(false, `${flood.name}: ${fault}`);
}

async function stormed(): Promise<void> {
  const { slaves, backMs, silent, ratePerSecond } = await reconnectStorm(500);
  console.log(
    `storm: ${slaves} slaves were back ${
      (backMs / 1_000).toFixed(1)
    } s after a master was killed and started again; ` +
      `${silent} given up for silence; the real slave's rate then: ${Math.round(ratePerSecond)}/s`,
  );
  must(silent === 0, "storm: heartbeats starved");
}

/** By another user of this machine, at a socket that is not in the network. */
async function floodedLocally(which: "lock" | "workers"): Promise<void> {
  const reason = noStranger();
  if (reason !== false) return console.log(`${which}: not tried: ${reason}`);
  const [flood, filesMax] = which === "lock" ? [floodLock, 16] : [floodWorkers, 264];
  const report = await flood({ teardown: () => {} }, 1_000, seconds);
  const { before, during, files, mib, joinedMs } = report;
  const kept = during.ratePerSecond / before.ratePerSecond;
  const from = ([a, b]: readonly [number, number]) => `${Math.round(a)} to ${Math.round(b)}`;
  console.log(
    `${which}: 1,000 connections of another user: ${Math.round(kept * 100)} % of the rate kept; files from ${
      from(files)
    }, memory from ${from(mib)} MiB; ${
      which === "lock" ? "a new slave was" : "new workers were"
    } at work in ${(joinedMs / 1_000).toFixed(1)} s meanwhile`,
  );
  must(kept >= 0.8, `${which}: less than 80 % of the rate`);
  for (const fault of localFaults(report, filesMax)) must(false, `${which}: ${fault}`);
}

async function withoutFiles(runtime: keyof typeof runtimes): Promise<void> {
  const { before, during, joinedMs, lines, exitCode } = await outOfFiles(runtimes[runtime], 64, seconds);
  const kept = during.ratePerSecond / before.ratePerSecond;
  console.log(
    `files: a master under ${runtime} that may open 64 files: ${
      Math.round(kept * 100)
    } % of the rate kept while strangers hold ` +
      `them; a new slave was in ${
        (joinedMs / 1_000).toFixed(1)
      } s after they left; ${lines.length} log lines`,
  );
  must(kept >= 0.8, `files-${runtime}: less than 80 % of the rate`);
  must(exitCode === 130, `files-${runtime}: the master ended with ${exitCode}`);
}
