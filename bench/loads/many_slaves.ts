import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { mainThreadMs, memoryMB } from "../proc.ts";
import { root } from "../../test/kit/runtimes.ts";
import type { Rig } from "../rig.ts";
import { measureOnce } from "../rounds.ts";
import { type Shape, shapes } from "../rows.ts";
import { median, sum } from "../statistics.ts";
import type { Load as Work } from "../system.ts";
import { runTaskmaster } from "../taskmaster.ts";
import { atLeast, atMost, type Curve, type Load, type Row, shown } from "./load.ts";
import type { Program } from "../../test/kit/program.ts";
import { portOf } from "../../test/kit/scenario.ts";
import { Place, pluginPath, type Status, statusesOf } from "./place.ts";
import { endedWithin, nowMs, readTimes } from "./times.ts";

const heartbeatMs = 1_000;
/** Jobs that the master buffers where nobody says otherwise. */
const buffered = 10_000;
const empty = join(root, "bench", "plugins", "empty.ts");

type Crowd = Readonly<{ rate: number; cpuMicros: number; silenceMs: number; lost: number; memoryMB: number }>;

/** One to a thousand slaves that speak the protocol and do nothing, and a few real ones. */
export const manySlaves: Load = {
  name: "slaves",
  about:
    "Light slaves, one in ten without credit, `--size` 200 a slave; or two that hold 5,000 jobs each, the default size, in turns with `run`, three rounds. Real slaves: handlers wait 20 ms, concurrency 20; once their first seconds are over",
  async measure(isQuick, signal) {
    const counts = isQuick ? [10, 200] : [1, 10, 100, 1000];
    const rounds = isQuick ? 1 : 3;
    const crowds = new Map<number, Crowd[]>(counts.map((count) => [count, []]));
    for (let round = 0; round < rounds; round++) {
      for (const count of counts) crowds.get(count)!.push(await crowd(count, isQuick ? 1_000 : 2_500));
    }
    const rate = (count: number) => median(crowds.get(count)!.map(({ rate }) => rate));
    // of each round: the machine changes its speed
    const share = (count: number) =>
      median(crowds.get(count)!.map(({ rate }, at) => rate / crowds.get(10)![at]!.rate));
    const memory = (count: number) => median(crowds.get(count)!.map(({ memoryMB }) => memoryMB));
    const cpu = (count: number) => median(crowds.get(count)!.map(({ cpuMicros }) => cpuMicros));
    const burdens: Row[] = [];
    for (const shape of shapes) burdens.push(await burden(shape, isQuick, signal));
    const most = counts.at(-1)!;
    const all = crowds.get(most)!;
    const reals = isQuick ? [2] : [1, 12];
    const real: [number, number][] = [];
    for (const count of reals) {
      const settleMs = isQuick ? 1_500 : 4_000 + 1_800 * count;
      real.push([count, await percentOfReal(count, settleMs, isQuick ? 1_500 : 4_000)]);
    }
    return {
      rows: [
        atLeast(`rate at ${most} slaves`, share(most) * 100, 80, "% of that at 10"),
        ...burdens,
        {
          what: "the same with slaves that hold 200 small jobs each",
          measured: `${shown(cpu(10))} us a job (10 slaves), ${shown(cpu(most))} (${most})`,
          target: "",
          isMet: null,
        },
        atMost(
          "longest silence of the master towards an idle slave (heartbeat 1 s)",
          Math.max(...all.map(({ silenceMs }) => silenceMs)),
          heartbeatMs + 250,
          "ms",
        ),
        atMost("slaves lost", sum(all.map(({ lost }) => lost)), 0, ""),
        atMost("memory of the master a slave", (memory(most) - memory(10)) / (most - 10) * 1000, 100, "kB"),
        atLeast(`${reals.at(-1)} real slaves`, real.at(-1)![1], 90, "% of their own ideal"),
      ],
      curves: isQuick ? [] : [
        {
          title: "Light slaves",
          x: "slaves",
          y: ["jobs/s"],
          points: counts.map((count) => [count, rate(count)]),
        },
        {
          title: "Memory of the master",
          x: "slaves",
          y: ["MB"],
          points: counts.map((count) => [count, memory(count)]),
        },
        { title: "Real slaves on this machine", x: "slaves", y: ["% of their own ideal"], points: real },
      ] satisfies Curve[],
    };
  },
};

/**
 * What a job costs the master when its slaves are two machines that cost it nothing, once its code is compiled: it is to
 * carry twice what `run` does here with two workers. Both are measured in each round, for the machine changes its speed.
 */
async function burden(shape: Shape, isQuick: boolean, signal: AbortSignal): Promise<Row> {
  const rounds: Readonly<{ cpuMicros: number; rate: number; percent: number }>[] = [];
  for (let round = 0; round < (isQuick ? 1 : 3); round++) {
    const runMicros = await microsOfRun(shape, isQuick, signal);
    using place = new Place();
    const master = startMaster(place, [`shape=${shape}`]);
    const slaves = place.script("light_slaves", [await portOf(master), 2, "--credit", buffered / 2]);
    await slaves.event(isJoined);
    await pause(isQuick ? 500 : 10_000);
    const work = await workOf(master, isQuick ? 500 : 4_000);
    rounds.push({ ...work, percent: work.cpuMicros / (runMicros / 2) * 100 });
  }
  const middle = (of: (round: typeof rounds[number]) => number) => median(rounds.map(of));
  return atMost(
    `CPU of the master's main thread a job, two light slaves, ${
      shape === "row" ? "rows" : "small jobs"
    }: to half of what \`run\` takes with two workers`,
    middle(({ percent }) => percent),
    100,
    "%",
    ` (${shown(middle(({ cpuMicros }) => cpuMicros))} us a job, ${
      shown(middle(({ rate }) => rate) / 1e6)
    } million/s)`,
  );
}

/** How long `run` takes for a job with two workers, in microseconds. */
async function microsOfRun(shape: Shape, isQuick: boolean, signal: AbortSignal): Promise<number> {
  const jobs = (shape === "row" ? 2_000_000 : 20_000_000) / (isQuick ? 20 : 1);
  const setup = { start: "binary", command: "run", procs: 2, member: "default" } as const;
  const run = (load: Work, rig: Rig) => runTaskmaster(setup, load, rig);
  const outcome = await measureOnce({ run }, shape, jobs, signal);
  if ("failure" in outcome) throw new Error(outcome.failure);
  return 1e6 / outcome.jobsPerSecond;
}

/** Ten slaves at work, and hundreds that come at once and go at once. */
export const storms: Load = {
  name: "storms",
  about: "10 light slaves at work, 500 that join at once and, two seconds later, are killed at once",
  async measure(isQuick) {
    const count = isQuick ? 100 : 500;
    using place = new Place();
    const master = startMaster(place, ["--size", 200 * (count + 10)]);
    const port = await portOf(master);
    await place.script("light_slaves", [port, 10]).event(isJoined);
    await pause(2_500);
    const stormMs = Date.now();
    const storm = place.script("light_slaves", [port, count, "--dials", count]);
    await storm.event(isJoined);
    const joinedMs = Date.now();
    await pause(2_000);
    const leftMs = Date.now();
    storm.signal("SIGKILL");
    await storm.ended;
    await pause(2_500);
    const statuses = statusesOf(master);
    const before = statuses.filter(({ atMs }) => atMs > stormMs - 1_500 && atMs < stormMs);
    const usual = assertWork(median(rates(before)));
    return {
      rows: [
        atMost(
          `${count} join: longest time under half the rate`,
          dentMs(statuses, stormMs, leftMs, usual),
          1000,
          "ms",
          ` (all joined in ${joinedMs - stormMs} ms)`,
        ),
        atMost(
          `${count} are killed: longest time under half the rate`,
          dentMs(statuses, leftMs, Infinity, usual),
          1000,
          "ms",
        ),
      ],
    };
  },
};

const isJoined = ({ event }: { event: string }) => event === "joined all";

function startMaster(place: Place, more: readonly (string | number)[]): Program {
  const words = [
    "jobs=1e15",
    "workers=0", // light slaves have none that could say that they are ready
    ...more,
    "--heartbeat",
    `${heartbeatMs}ms`,
    "--status-interval",
    "100ms",
  ];
  return place.taskmaster("master", empty, [...words, "--log-level", "warn"]);
}

/** Jobs a second with so many light slaves, and what they cost. */
async function crowd(count: number, ms: number): Promise<Crowd> {
  using place = new Place();
  const master = startMaster(place, ["--size", 200 * count]);
  const slaves = place.script("light_slaves", [
    await portOf(master),
    count,
    "--quiet",
    Math.floor(count / 10),
  ]);
  await slaves.event(isJoined);
  await pause(1_500);
  const work = await workOf(master, ms);
  const memory = memoryMB(master.pid, "now");
  slaves.process.stdin!.end();
  const { silenceMs } = await slaves.event(({ event }) => event === "silence") as unknown as {
    silenceMs: number;
  };
  const lost = slaves.events().filter(({ event }) => event === "lost").length;
  return { ...work, silenceMs, lost, memoryMB: memory };
}

/** Jobs a second over so long, and what each costs the main thread of the master. */
async function workOf(master: Program, ms: number): Promise<{ rate: number; cpuMicros: number }> {
  const fromMs = Date.now();
  const before = mainThreadMs(master.pid);
  await pause(ms);
  const cpuMs = mainThreadMs(master.pid) - before;
  const rate = assertWork(rateOf(statusesOf(master, fromMs)));
  return { rate, cpuMicros: cpuMs * 1000 / (rate * ms / 1000) };
}

/** The rate again. @throws {Error} if nothing was handed out: then nothing was measured. */
function assertWork(jobsPerSecond: number): number {
  if (jobsPerSecond > 0) return jobsPerSecond;
  throw new Error(`The master handed out ${jobsPerSecond} jobs a second: its slaves did nothing.`);
}

function rateOf(statuses: readonly Status[]): number {
  const first = statuses[0]!, last = statuses.at(-1)!;
  return (last.done - first.done) / (last.atMs - first.atMs) * 1000;
}

/** The rate between each status and the next. */
function rates(statuses: readonly Status[]): number[] {
  return statuses.slice(1).map((status, at) => rateOf([statuses[at]!, status]));
}

/** The longest stretch with less than half the usual rate; a master that says nothing has none. */
function dentMs(statuses: readonly Status[], fromMs: number, toMs: number, usual: number): number {
  let longestMs = 0;
  let sinceMs = Infinity;
  for (let at = 1; at < statuses.length; at++) {
    const before = statuses[at - 1]!, status = statuses[at]!;
    if (before.atMs < fromMs - 100 || status.atMs > toMs) continue;
    if (rateOf([before, status]) >= usual / 2) sinceMs = Infinity;
    else longestMs = Math.max(longestMs, status.atMs - (sinceMs = Math.min(sinceMs, before.atMs)));
  }
  return longestMs;
}

/**
 * How much of 1,000 jobs a second each so many real slaves reach once the first seconds are over: Bun compiles the code
 * of each of their processes anew, and on two cores those of twelve slaves take 25 s with that.
 */
async function percentOfReal(count: number, settleMs: number, ms: number): Promise<number> {
  using place = new Place();
  const master = place.taskmaster("master", pluginPath("timed"), [
    "jobs=1e15",
    `dir=${place.folder}`,
    "work=wait:20",
  ]);
  const port = await portOf(master);
  const words = ["--host", `127.0.0.1:${port}`, "--procs", 1, "--concurrency", 20];
  const slaves = Array.from({ length: count }, () => place.taskmaster("slave", pluginPath("timed"), words));
  for (let seen = 0; seen < count; seen++) {
    await master.event((event) =>
      event.event === "joined" && master.events().filter(isJoin).indexOf(event) === seen
    );
  }
  await pause(settleMs);
  const fromMs = nowMs();
  await pause(ms);
  const toMs = nowMs();
  for (const slave of slaves) slave.signal("SIGTERM");
  for (const slave of slaves) await slave.endedWith(0);
  const done = endedWithin(readTimes(place.folder), fromMs, toMs);
  // what 20 loops would do that wait as long as these handlers really waited
  const waitMs = median(done.map(({ begunMs, endedMs }) => endedMs - begunMs));
  return done.length / (20 * count * (toMs - fromMs) / waitMs) * 100;
}

const isJoin = ({ event }: { event: string }) => event === "joined";
