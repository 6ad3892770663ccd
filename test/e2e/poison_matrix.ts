// `npm run poison [-- WORD ...]`: jobs that kill their worker, fast and slow, one and eight, among neighbours one and a
// hundred at once, in one worker and in eight, the master ended in the middle; one row each. Words choose how they kill
// (`kill` themselves, `exit`, `outside`: a fault that nobody waits for) and how the master ends (`SIGINT`, `SIGKILL`).
import process from "node:process";
import { Scenario } from "../kit/scenario.ts";
import { type Killing, poison, type PoisonPlan } from "./poison.ts";

/** With three deaths each: more, left alone at the end, are a quarter of the last 100 attempts, and tested for an outage. */
const killersMax = 8;
const widths = [8, 8, 5, 12, 8, 8, 7, 7, 9, 8];
const words = process.argv.slice(2);

/** Of these the ones that a word names; all of them if none does. */
function chosen<T extends string>(all: readonly T[]): readonly T[] {
  const named = all.filter((one) => words.includes(one));
  return named.length > 0 ? named : all;
}

function* plans(): Generator<PoisonPlan> {
  for (const how of chosen<Killing>(["kill", "exit", "outside"])) {
    for (const restart of chosen(["SIGINT", "SIGKILL"])) {
      for (const pauseMs of [0, 20]) {
        for (const concurrency of [1, 100]) {
          for (const procs of [1, 8]) {
            for (const killers of [1, killersMax]) {
              yield { how, restart, pauseMs, concurrency, procs, killers };
            }
          }
        }
      }
    }
  }
}

let cells = 0, problems = 0;
print(["how", "master", "job", "concurrency", "workers", "killers", "jobs", "deaths", "repeated", "seconds"]);
for (const plan of plans()) {
  const scenario = new Scenario();
  try {
    const { jobs, deaths, repeated, ms, problems: found } = await poison(scenario, plan);
    const { how, restart, pauseMs, concurrency, procs, killers } = plan;
    const job = pauseMs === 0 ? "fast" : "slow";
    print([how, restart, job, concurrency, procs, killers, jobs, deaths, repeated, (ms / 1000).toFixed(1)]);
    for (const problem of found) console.log(`         ! ${problem}`);
    cells += 1;
    problems += found.length;
  } finally {
    await scenario.end();
  }
}
console.log(`${cells} cells, ${problems} problems`);
process.exitCode = problems === 0 && cells > 0 ? 0 : 1;

function print(row: readonly (string | number)[]): void {
  console.log(row.map((cell, at) => String(cell).padEnd(widths[at]!)).join(" ").trimEnd());
}
