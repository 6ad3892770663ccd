import { join } from "node:path";
import { portOf, Scenario } from "../kit/scenario.ts";
import { until } from "../kit/until.ts";
import { appendSteps, saveSteps, type Step } from "./steps.ts";
import { type Call, trace } from "./strace.ts";

/** What was called, in which thread; null is a call that is not in the list. */
export type Recorded = Readonly<{ thread: string; call: string; step: Step | null }>;

const jobs = 600;

/** Every call that a run without a fault makes in its folder: saves alone, then appends alone. */
export async function record(): Promise<Readonly<Record<"save" | "append", readonly Recorded[]>>> {
  const bad = Array.from({ length: 20 }, (_, i) => `${25 * i + 20}:throw`).join(",");
  return {
    save: inOrder(await callsOfRun(["bytes=40000", "--checkpoint", "200ms"]), saveSteps),
    append: inOrder(await callsOfRun([`bad=${bad}`, "--attempts", "1", "--checkpoint", "1h"]), appendSteps),
  };
}

/** From the middle of a run to its end, but the last save and what follows it. */
async function callsOfRun(words: readonly string[]): Promise<Call[]> {
  const scenario = new Scenario();
  try {
    const master = scenario.master([`jobs=${jobs}`, "pause=1", ...words]);
    scenario.slave(await portOf(master), ["--procs", "2"]);
    await until(() => scenario.records().ended.size > jobs / 6, "a sixth of the jobs ended");
    const path = join(scenario.folder, "trace");
    const tracer = trace(scenario, master.process.pid!, path, ["-e", "trace=%file,%desc"]);
    await tracer.attached();
    await master.ended;
    const calls = (await tracer.calls()).filter(({ text }) =>
      /\/probe\.(?:state|dead)/.test(text) || isOfFolder(text, scenario.folder)
    );
    const last = calls.findLastIndex(({ text }) => saveSteps[0]!.line.test(text));
    return calls.slice(0, last);
  } finally {
    await scenario.end();
  }
}

function isOfFolder(text: string, folder: string): boolean {
  return text.includes(`"${folder}"`) || text.includes(`<${folder}>)`);
}

/** Names each call. A call that is in no list, or comes out of its turn, has no step. */
function inOrder(calls: readonly Call[], steps: readonly Step[]): Recorded[] {
  const always = steps.filter(({ isForLarge }) => !isForLarge);
  const recorded: Recorded[] = [];
  // tracing may begin within a save
  let due = -1;
  for (const { thread, text } of calls) {
    const alike = steps.filter((step) => text.startsWith(`${step.call}(`) && step.line.test(text));
    const step = alike.find((step) => always[due] === step) ?? alike[0];
    const at = step === undefined ? -1 : always.indexOf(step);
    const isDue = step !== undefined && (step.isForLarge || due < 0 || at === due);
    recorded.push({ thread, call: text, step: isDue ? step : null });
    if (at >= 0) due = (at + 1) % always.length;
  }
  return recorded;
}
