import { nodeDisk } from "../../src/state/disk.ts";
import { readStateFile } from "../../src/state/read_state.ts";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Program } from "../kit/program.ts";
import type { Records } from "../kit/records.ts";
import { runtimes } from "../kit/runtimes.ts";
import { portOf, type Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";

/** How a job takes its process with it. */
export type Killing = "kill" | "exit" | "outside" | "memory";

/** Some jobs kill every worker that runs them, among jobs that do not. */
export type PoisonPlan = Readonly<{
  how: Killing;
  /** How long a job takes; 0 is microseconds. */
  pauseMs: number;
  concurrency: number;
  procs: number;
  killers: number;
  /** How its master ends in the middle: orderly, or so that what was not saved yet is forgotten. */
  restart: "SIGINT" | "SIGKILL";
  /** Words of the slave's command line that come first. */
  within?: readonly string[];
}>;

export type PoisonResult = Readonly<{
  jobs: number;
  /** Worker deaths that the records show. */
  deaths: number;
  /** Runs of neighbours beyond each one's first. */
  repeated: number;
  ms: number;
  /** What was not as promised. */
  problems: readonly string[];
}>;

const crashesMax = 3;

/** Every other killer is the neighbour of another one: they are in progress together. */
function killersOf(jobs: number, count: number): number[] {
  const pairs = Math.ceil(count / 2);
  return Array.from({ length: count }, (_, i) => Math.floor(jobs * (1 + (i >> 1)) / (pairs + 1)) + i % 2);
}

function jobsOf({ pauseMs, concurrency, procs }: PoisonPlan): number {
  return pauseMs === 0 ? 8_000 : Math.min(2_000, 200 * concurrency * procs);
}

/** Runs a plan; its master is ended and started again once the first killer has begun. */
export async function poison(scenario: Scenario, plan: PoisonPlan): Promise<PoisonResult> {
  const { how, pauseMs, concurrency, procs, within = [] } = plan;
  const problems: string[] = [];
  const startedMs = performance.now();
  const jobs = jobsOf(plan);
  const killers = killersOf(jobs, plan.killers);
  const bad = killers.map((id) => `${id}:${how}`).join(",");
  const words = [
    `jobs=${jobs}`,
    `pause=${pauseMs}`,
    `bad=${bad}`,
    "--backoff",
    "20ms",
    "--checkpoint",
    "200ms",
  ];
  const first = scenario.master(words);
  const port = await portOf(first);
  const sizes = ["--procs", String(procs), "--concurrency", String(concurrency)];
  const slave = scenario.slave(port, sizes, [...within, ...runtimes.binary]);
  await until(
    () => killers.some((id) => scenario.records().begun.has(id)) || slave.hasEnded,
    "a killer began",
  );
  first.signal(plan.restart);
  const stopped = await first.ended;
  if (stopped !== (plan.restart === "SIGINT" ? 130 : plan.restart)) {
    problems.push(`the first master: ${stopped}`);
  }
  const restartedAtMs = Date.now();
  await checkState(scenario, killers, problems);
  const second = scenario.master(words, runtimes.binary, port);
  await until(() => /joined/.test(second.stderr) || second.hasEnded, "the slave is back");
  const backAtMs = Date.now();
  await checkEnds(second, slave, problems);
  await checkState(scenario, killers, problems);
  checkLetters(scenario, plan, killers, problems);
  const records = scenario.records();
  checkNeighbours(records, jobs, killers, problems);
  const deaths = checkDeaths(scenario, plan, { restartedAtMs, backAtMs }, killers, problems);
  const repeats = killers.reduce((sum, id) => sum + (records.begun.get(id) ?? 1) - 1, 0);
  return {
    jobs,
    deaths,
    repeated: records.repeated - repeats,
    ms: performance.now() - startedMs,
    problems,
  };
}

/** A slave that is back tells what it saw meanwhile; then its workers die under the second master. */
const settleMs = 200;

/**
 * Three deaths of a worker for each killer, and no more: each is charged to one job. A killer may begin more often, in
 * the company of another one that was quicker. The second master does not know which deaths in company the first one
 * saw, and nothing that a killed one had not saved.
 */
function checkDeaths(
  scenario: Scenario,
  { restart, pauseMs, concurrency }: PoisonPlan,
  { restartedAtMs, backAtMs }: Readonly<{ restartedAtMs: number; backAtMs: number }>,
  killers: readonly number[],
  problems: string[],
): number {
  const deathsAtMs = killersAtMs(scenario.folder, killers);
  const isInCompany = pauseMs === 0 || concurrency > 1;
  const untilMs = restart === "SIGKILL" ? backAtMs + settleMs : isInCompany ? restartedAtMs : 0;
  const forgotten = deathsAtMs.filter((atMs) => atMs <= untilMs).length;
  const expected = crashesMax * killers.length;
  if (deathsAtMs.length < expected || deathsAtMs.length > expected + forgotten) {
    problems.push(`${deathsAtMs.length} workers died instead of ${expected}, or up to ${forgotten} more`);
  }
  return deathsAtMs.length;
}

/** When each worker that began a killer did so last: it died of it. */
function killersAtMs(folder: string, killers: readonly number[]): number[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".records"));
  return files.flatMap((name) => {
    const lines = readFileSync(join(folder, name), "utf8").split("\n").map((line) => line.split(" "));
    const last = lines.findLast(([kind, id]) => kind === "B" && killers.includes(Number(id)));
    return last === undefined ? [] : [Number(last[2])];
  });
}

async function checkEnds(master: Program, slave: Program, problems: string[]): Promise<void> {
  const ended = await master.ended;
  if (ended !== 3) problems.push(`the master ended with ${ended}\n${master.stderr}`);
  const left = ended === 3 ? await slave.ended : slave.hasEnded;
  if (left !== 0) problems.push(`the slave ended: ${left}\n${slave.stderr}`);
}

/** Nobody but a killer is charged in what is on disk, and no killer more often than it began. */
async function checkState(scenario: Scenario, killers: readonly number[], problems: string[]): Promise<void> {
  const read = await readStateFile(nodeDisk, join(scenario.folder, "probe.state"));
  // Behind the state: what it knows of has left its record.
  const { begun } = scenario.records();
  for (const { span, history } of read?.state.stranded ?? []) {
    const charged = history.failures + history.crashes;
    for (let { seq } = span; seq < span.end; seq++) {
      const began = killers.includes(seq) ? begun.get(seq) ?? 0 : 0;
      if (charged > began) {
        problems.push(`job ${seq} is charged ${charged} times in the state, instead of ${began}`);
      }
    }
  }
}

function checkLetters(
  scenario: Scenario,
  { restart }: PoisonPlan,
  killers: readonly number[],
  problems: string[],
): void {
  const letters = scenario.deadLetters();
  const all = letters.map(({ seq }) => seq).sort((a, b) => a - b);
  // A master that is killed between a letter and its next save leaves a job that is buried once more.
  const seqs = restart === "SIGKILL" ? [...new Set(all)] : all;
  if (seqs.join() !== killers.join()) problems.push(`dead letters of ${seqs} instead of ${killers}`);
  for (const { seq, crashes, failures } of letters) {
    if (crashes !== crashesMax || failures !== 0) {
      problems.push(`${seq}: ${crashes} crashes, ${failures} failures`);
    }
  }
}

function checkNeighbours(
  records: Records,
  jobs: number,
  killers: readonly number[],
  problems: string[],
): void {
  const lost = records.lost(jobs).filter((id) => !killers.includes(id));
  if (lost.length > 0) problems.push(`${lost.length} neighbours never ended: ${lost.slice(0, 10)}`);
  for (const [id, begins] of records.begins) {
    if (killers.includes(id) || begins.every(({ attempt }) => attempt === 1)) continue;
    problems.push(`neighbour ${id} was told of attempts ${begins.map(({ attempt }) => attempt)}`);
  }
}
