import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { mainThreadMs } from "../proc.ts";
import { median } from "../statistics.ts";
import { atMost, type Curve, type Load, shown } from "./load.ts";
import type { Program } from "../../test/kit/program.ts";
import { portOf } from "../../test/kit/scenario.ts";
import { Place, pluginPath, statusesOf } from "./place.ts";

/** What it costs to save the state of many stranded jobs, of 230 bytes each. */
export const checkpoints: Load = {
  name: "checkpoints",
  about: "A light slave that always holds 10,000 jobs of 230 bytes, `--checkpoint` 200 ms and 1 h, in turns",
  async measure(isQuick) {
    const seconds = isQuick ? 2 : 4;
    const points: [number, number][] = [];
    for (const held of isQuick ? [10_000] : [1_000, 10_000, 100_000]) {
      points.push([held, await loopMs(held, seconds)]);
    }
    const [with_, without] = [await gaps("200ms", seconds), await gaps("1h", seconds)];
    const costs: number[] = [], saves: number[] = [];
    for (let round = 0; round < (isQuick ? 1 : 3); round++) {
      const [often, never] = [await rate("100ms", seconds), await rate("1h", seconds)];
      const savesPerSecond = often.savesPerSecond - never.savesPerSecond;
      saves.push(savesPerSecond);
      costs.push((1 - often.jobsPerSecond / never.jobsPerSecond) / savesPerSecond * 100);
    }
    const curve: Curve = {
      title: "One checkpoint",
      x: "stranded jobs",
      y: ["ms of the main thread"],
      points,
    };
    return {
      rows: [
        atMost(
          "one checkpoint, CPU of the main thread",
          points.find(([held]) => held === 10_000)![1],
          10,
          "ms",
        ),
        atMost(
          "longest hold of the event loop in a checkpoint, median",
          median(with_),
          10,
          "ms",
          ` (without checkpoints ${shown(median(without))})`,
        ),
        atMost(
          "throughput lost to one a second",
          median(costs),
          2,
          "%",
          ` (measured with ${shown(median(saves))} a second)`,
        ),
      ],
      curves: isQuick ? [] : [curve],
    };
  },
};

async function open(
  place: Place,
  held: number,
  checkpoint: string,
  slave: readonly (string | number)[],
  args: readonly string[] = [],
): Promise<Program> {
  const words = [
    "--size",
    held + 4_000,
    "--size-bytes",
    "1GiB",
    "--checkpoint",
    checkpoint,
    "--status-interval",
    "100ms",
  ];
  const master = place.taskmaster("master", pluginPath("loop_gaps"), [...args, ...words]);
  const light = place.script("light_slaves", [await portOf(master), 1, ...slave]);
  await light.event(({ event }) => event === "joined all");
  await master.event(({ event, inFlight }) => event === "status" && Number(inFlight) >= held);
  await pause(1_000);
  return master;
}

/** CPU of the main thread for one checkpoint, while one job in 20 ms is answered. */
async function loopMs(held: number, seconds: number): Promise<number> {
  const slave = ["--credit", held, "--trickle", 20];
  const cost = async (checkpoint: string) => {
    using place = new Place();
    const master = await open(place, held, checkpoint, slave);
    const count = countSaves(join(place.folder, "loop_gaps.state"));
    const before = mainThreadMs(master.pid);
    await pause(seconds * 1000);
    return { ms: mainThreadMs(master.pid) - before, saves: count() };
  };
  const [with_, without] = [await cost("200ms"), await cost("1h")];
  return (with_.ms - without.ms) / (with_.saves - without.saves);
}

/**
 * Counts how often a file is replaced, until the count is asked for: by the time of its contents, since that of its
 * entry changes a second time when the next save keeps it as the one before.
 */
function countSaves(path: string): () => number {
  let saves = 0;
  let changed = statSync(path).mtimeMs;
  const timer = setInterval(() => {
    const now = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? changed;
    if (now !== changed) saves++;
    changed = now;
  }, 5).unref();
  return () => (clearInterval(timer), saves);
}

/** The longest hold of the event loop in each fifth of a second. */
async function gaps(checkpoint: string, seconds: number): Promise<number[]> {
  using place = new Place();
  const path = join(place.folder, "gaps");
  await open(place, 10_000, checkpoint, ["--credit", 10_000, "--trickle", 20], [`gaps=${path}`]);
  await pause(seconds * 1000);
  return readFileSync(path, "utf8").trim().split("\n").slice(-5 * seconds).map(Number);
}

/** At full speed, with 10,000 jobs stranded all the time. */
async function rate(
  checkpoint: string,
  seconds: number,
): Promise<{ jobsPerSecond: number; savesPerSecond: number }> {
  using place = new Place();
  const master = await open(place, 10_000, checkpoint, ["--credit", 12_000, "--hold", 10_000]);
  const count = countSaves(join(place.folder, "loop_gaps.state"));
  const fromMs = Date.now();
  await pause(seconds * 1000);
  const savesPerSecond = count() / (Date.now() - fromMs) * 1000;
  const statuses = statusesOf(master, fromMs);
  const first = statuses[0]!, last = statuses.at(-1)!;
  return { jobsPerSecond: (last.done - first.done) / (last.atMs - first.atMs) * 1000, savesPerSecond };
}
