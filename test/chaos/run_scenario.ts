import { rmSync } from "node:fs";
import { processesOf } from "../kit/processes.ts";
import { until } from "../kit/until.ts";
import { type Evidence, judge, type Verdict } from "./checker.ts";
import { sessionEvents } from "./events.ts";
import { Fleet, lastLines } from "./fleet.ts";
import { FrameBook } from "./frame_book.ts";
import { Injector } from "./injector.ts";
import { NamespaceNetwork } from "./namespaces.ts";
import { ProxyNetwork } from "./network.ts";
import { countByName, drawPlan, type Fault } from "./plan.ts";
import type { ChaosScenario } from "./scenarios.ts";

export type ScenarioResult =
  & Readonly<{
    scenario: string;
    seed: number;
    plan: readonly Fault[];
    /** Faults that were injected, with how often. */
    injected: ReadonlyMap<string, number>;
    jobs: number;
    elapsedMs: number;
    /** Where the records are, if anything was wrong: else they are gone. */
    folder: string | null;
  }>
  & Verdict;

export type RunOptions = Readonly<{
  seed: number;
  /** Longest time in which faults are injected. */
  seconds: number;
  /** It is enough once so many jobs were yielded. @default Infinity */
  jobs?: number;
  /** Jobs yielded at most beyond those settled. @default 200 */
  bufferJobs?: number;
  /** All processes run. */
  onStarted?: (fleet: Fleet) => void;
}>;

/** Jobs that only the fault-free tail sees, beside what is buffered: of as much. */
const tailJobsMin = 250;
/** The tail must be complete by then. */
const tailMsMax = 60_000;
/** So long without a turn of the event loop is a stall. */
const stallMs = 500;
/** A slave that was dismissed is gone by then. */
const slaveMsMax = 20_000;
/** How often the state is read in passing. */
const stateEachMs = 2_500;

/** Runs one scenario, and judges it. */
export async function runScenario(
  scenario: ChaosScenario,
  { seed, seconds, jobs: enough = Infinity, bufferJobs = 200, onStarted }: RunOptions,
): Promise<ScenarioResult> {
  const { name, slaves, gapMs, faults, args = {} } = scenario;
  const { sparesFirst = false } = scenario;
  const plan = drawPlan({ seed, seconds, slots: slaves.length, gapMs, faults, sparesFirst });
  const beganMs = performance.now();
  const fleet = new Fleet({
    slaves,
    masters: scenario.masters ?? ["binary"],
    procs: scenario.procs ?? 1,
    concurrency: scenario.concurrency ?? 1,
    args,
    masterWords: scenario.masterWords ?? [],
    bufferJobs,
    lifeMsMax: seconds * 1000 + 2 * tailMsMax,
  });
  const book = new FrameBook();
  const isListening = "stale answers" in faults || "forged answers" in faults;
  const network = scenario.namespaces
    ? new NamespaceNetwork()
    : new ProxyNetwork(isListening ? (slot) => book.listener(slot) : () => () => {});
  const injector = new Injector(fleet, book);
  let jobs = 0;
  try {
    await fleet.start(network);
    onStarted?.(fleet);
    const watcher = setInterval(() => void fleet.readState(), stateEachMs);
    const stalls = watchStalls(fleet);
    try {
      const isEnough = () => fleet.yielded() >= enough;
      await injector.play(plan, isEnough);
      if (!isEnough()) await rest(beganMs + seconds * 1000);
    } finally {
      clearInterval(watcher);
      clearInterval(stalls);
    }
    jobs = await finish(fleet, Math.max(tailJobsMin, bufferJobs));
  } catch (error) {
    fleet.timeline.problems.push(error instanceof Error ? error.stack ?? error.message : String(error));
  }
  await fleet.close();
  const verdict = judge(evidenceOf(fleet, jobs, args));
  const isWell = verdict.problems.length === 0;
  if (isWell) rmSync(fleet.folder, { recursive: true, force: true });
  return {
    scenario: name,
    seed,
    plan,
    injected: countByName(injector.injected),
    jobs,
    elapsedMs: performance.now() - beganMs,
    folder: isWell ? null : fleet.folder,
    ...verdict,
  };
}

/** While this process itself stands still, so do all its proxies: on a loaded machine that is a fault as well. */
function watchStalls(fleet: Fleet): ReturnType<typeof setInterval> {
  let atMs = Date.now();
  return setInterval(() => {
    const beforeMs = atMs;
    atMs = Date.now();
    if (atMs - beforeMs < stallMs) return;
    for (const { slave } of fleet.slots) {
      const disturbance = fleet.timeline.disturb(slave.process.pid!, true);
      Object.assign(disturbance, { fromMs: beforeMs, toMs: atMs });
    }
  }, stallMs / 5);
}

async function rest(untilMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, untilMs - performance.now())));
}

/** The fault-free tail: everybody is back, then the source is told its end, and all must end well. Returns how many jobs there are. */
async function finish(fleet: Fleet, tailJobs: number): Promise<number> {
  const { timeline } = fleet;
  for (const { road } of fleet.slots) road.heal();
  await fleet.allJoined();
  const jobs = fleet.yielded() + tailJobs;
  fleet.tellJobs(jobs);
  const late = setTimeout(() => {
    timeline.problems.push(`not complete ${tailMsMax / 1000} s after the last fault`);
    fleet.masterMayEnd();
    fleet.master.signal("SIGKILL");
  }, tailMsMax);
  fleet.masterMayEnd();
  const code = await fleet.master.ended;
  clearTimeout(late);
  const expected = fleet.letters().length > 0 ? 3 : 0;
  if (code !== expected) {
    timeline.problems.push(
      `the master ended with ${code}, not ${expected}: ${lastLines(fleet.master.stderr)}`,
    );
  }
  await slavesEnd(fleet);
  await fleet.readState();
  return jobs;
}

async function slavesEnd(fleet: Fleet): Promise<void> {
  const { timeline, slots } = fleet;
  const limit = setTimeout(() => slots.forEach(({ slave }) => slave.signal("SIGKILL")), slaveMsMax);
  for (const { number, slave } of slots) {
    const code = await slave.ended;
    if (code !== 0) timeline.problems.push(`slave ${number} ended with ${code}: ${lastLines(slave.stderr)}`);
  }
  clearTimeout(limit);
  await until(() => processesOf(fleet.folder).length === 0, "no process is left").catch((error: Error) =>
    void timeline.problems.push(error.message)
  );
}

function evidenceOf(fleet: Fleet, jobs: number, args: Readonly<Record<string, string>>): Evidence {
  return {
    folder: fleet.folder,
    jobs,
    args,
    timeline: fleet.timeline,
    events: sessionEvents(fleet.masters),
    states: fleet.states,
    letters: fleet.letters(),
  };
}
