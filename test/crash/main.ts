// `npm run crash [-- WORD ...]`: kills, fills up or breaks the disk at each system call of the save, of the append to the
// dead letters, of the last save and of a start, in turn, in real runs of the binary, and prints a row for each. Words
// choose: of what ("save", "append", "last save", "start"), a fault, or a part of a call's name. First it records, by
// thread, what a save and an append call without a fault, and fails if that is not the list that is struck;
// `npm run crash -- record` does only that.
import process from "node:process";
import { type Row, strike } from "./cell.ts";
import { record } from "./record.ts";
import { appendSteps, type Fault, faults, lastSaveSteps, saveSteps, startSteps, type Step } from "./steps.ts";
import { straceMissing } from "./strace.ts";

const widths = [10, 28, 9, 8, 8, 7, 5, 9, 9];

async function main(words: readonly string[]): Promise<number> {
  const missing = straceMissing();
  if (missing !== false) throw new Error(missing);
  const unknown = await showRecord();
  if (unknown > 0 || words.includes("record")) return unknown > 0 ? 1 : 0;
  print(["of", "call", "", "fault", "exit", "loaded", "lost", "repeated", "bound"]);
  let problems = 0, rows = 0;
  for (const step of [...saveSteps, ...appendSteps, ...lastSaveSteps, ...startSteps]) {
    for (const fault of faults) {
      if (!words.every((word) => word === step.of || word === fault || step.name.includes(word))) continue;
      const row = await strike(step, fault);
      show(step, fault, row);
      rows += 1;
      problems += row.problems.length;
    }
  }
  console.log(`${rows} calls struck, ${problems} problems`);
  return problems === 0 && rows > 0 ? 0 : 1;
}

/** One whole save and one whole append, and what is in neither list. */
async function showRecord(): Promise<number> {
  let unknown = 0;
  for (const [of, calls] of Object.entries(await record())) {
    const begins = calls.flatMap(({ step }, at) =>
      step === saveSteps[0] || step === appendSteps[0] ? [at] : []
    );
    for (const { thread, call, step } of calls.slice(begins[0], begins[1])) {
      console.log(`${of.padEnd(7)} ${thread} ${call.slice(0, 150).padEnd(150)} ${step?.name ?? "?"}`);
    }
    for (const { call } of calls.filter(({ step }) => step === null)) {
      console.log(`${of}: not expected: ${call}`);
    }
    unknown += calls.filter(({ step }) => step === null).length;
    console.log(`${of}: ${begins.length} recorded, ${calls.length} calls`);
  }
  return unknown;
}

function show(step: Step, fault: Fault, row: Row): void {
  const { ended, loaded, lost, repeated, bound, problems } = row;
  print([
    step.of,
    step.name,
    step.call,
    fault,
    ended,
    loaded ?? "",
    lost,
    repeated,
    Number.isFinite(bound) ? bound : "",
  ]);
  for (const problem of problems) console.log(`           ! ${problem}`);
}

function print(cells: readonly (string | number)[]): void {
  console.log(cells.map((cell, at) => String(cell).padEnd(widths[at]!)).join(" ").trimEnd());
}

process.exitCode = await main(process.argv.slice(2));
