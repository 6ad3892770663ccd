// Tries mutants: bun test/mutants/main.ts [NAME...] [--quick] [--at-once 2]
// Each NAME is a part of the names of those that are tried; --quick leaves out the checks that the gate leaves out.
// Prints a row for each check of each mutant: what caught it. Exits 1 if one is not caught, or if a check fails for
// the source as it is.
import { parseArgs } from "node:util";
import { type Check, checkName, isQuick, type Mutant } from "./mutant.ts";
import { mutants } from "./mutants.ts";
import { eachOf, type Trial, tryMutant, tryUnchanged } from "./try_mutants.ts";

const charsMax = 200;
const { values, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: "boolean", default: false }, "at-once": { type: "string", default: "2" } },
});
// by way of the exit, so that no copy is left, and nothing that runs in one
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130));

const atOnce = Number(values["at-once"]);
const chosen = mutants.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)));
if (chosen.length === 0) fail(`No mutant is called so: ${names.join(", ")}`);

const checksOf = ({ checks }: Mutant): readonly Check[] => values.quick ? checks.filter(isQuick) : checks;
const failed = await tryUnchanged(chosen.flatMap(checksOf), atOnce);
if (failed.length > 0) fail(`The source as it is fails:\n${failed.join("\n")}`);

console.log("| mutant | caught by | first failing assertion | s |\n| --- | --- | --- | --- |");
let survivors = 0;
await eachOf(chosen, atOnce, async (mutant) => {
  for (const trial of await tryMutant(mutant, checksOf(mutant))) {
    if (!isCaught(trial)) survivors++;
    console.log(row(mutant, trial));
  }
});
console.log(`\n${chosen.length} mutants, ${survivors} checks that did not catch theirs`);
process.exitCode = survivors > 0 ? 1 : 0;

function isCaught({ verdict }: Trial): boolean {
  return !(verdict instanceof Error) && verdict.failed !== null;
}

function row({ name }: Mutant, { check, verdict, seconds }: Trial): string {
  const what = verdict instanceof Error ? `**${verdict.message}**` : verdict.failed ?? "**not caught**";
  const cells = [name, checkName(check), cut(what), seconds.toFixed(1)];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

/** Enough to know it by. */
function cut(text: string): string {
  return text.length <= charsMax ? text : `${text.slice(0, charsMax)}...`;
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
