import type { FaultName } from "./faults.ts";
import type { Runtime } from "./fleet.ts";

export type ChaosScenario = Readonly<{
  name: string;
  /** What is tried, for the list of names. */
  about: string;
  /** How long faults are injected. */
  seconds: number;
  /** Longest pause between two faults. */
  gapMs: number;
  /** Faults with how likely they are, against each other. */
  faults: Readonly<Partial<Record<FaultName, number>>>;
  slaves: readonly Runtime[];
  /** Runtimes of the masters, one after the other, round. @default ["binary"] */
  masters?: readonly Runtime[];
  procs?: number;
  concurrency?: number;
  args?: Readonly<Record<string, string>>;
  masterWords?: readonly string[];
  /** Slot 0 is never killed. */
  sparesFirst?: true;
  /** Left out of the gate: something else there tries the same. */
  long?: true;
  /** Slaves are in network namespaces, not behind proxies. */
  namespaces?: true;
}>;

/** One of each runtime. */
const mixedSlaves: readonly Runtime[] = ["binary", "bun", "deno"];
const mixedMasters: readonly Runtime[] = ["binary", "deno", "bun"];
/** Most jobs take 2 ms, some 200 ms: those are in flight whatever happens. */
const some = { pause: "2", long: "50:200" };
const steady = { gapMs: 1_500, seconds: 8, args: some };
/** A mean job misbehaves; it must be noticed soon. */
const strict = ["--timeout", "1s", "--backoff", "50ms"];

const everything: Partial<Record<FaultName, number>> = {
  "kill slave": 4,
  "stop supervisor": 2,
  "stop slave": 2,
  "stop slave briefly": 2,
  "drain slave": 2,
  "kill worker": 4,
  "stop worker": 1,
  "reset": 4,
  "cut": 3,
  "half-open": 2,
  "partition": 3,
  "partition briefly": 2,
  "one-way up": 2,
  "one-way down": 2,
  "slow link": 4,
  "flip": 3,
  "stale answers": 4,
  "forged answers": 2,
  "kill master": 4,
  "stop master": 2,
  "end master": 1,
};

export const scenarios: readonly ChaosScenario[] = [
  {
    name: "no-fault",
    about: "nothing: no job runs twice",
    long: true,
    ...steady,
    faults: {},
    slaves: mixedSlaves,
    seconds: 4,
  },
  {
    name: "slave-kill",
    about: "SIGKILL of supervisors",
    ...steady,
    faults: { "kill slave": 1 },
    slaves: mixedSlaves,
    procs: 2,
  },
  {
    name: "slave-stop",
    about: "SIGSTOP of supervisors alone and of whole slaves, beyond the silence limit and below it",
    ...steady,
    faults: { "stop supervisor": 2, "stop slave": 2, "stop slave briefly": 1 },
    slaves: mixedSlaves,
  },
  {
    name: "slave-drain",
    about: "SIGTERM of slaves: nothing is repeated",
    ...steady,
    faults: { "drain slave": 1 },
    slaves: mixedSlaves,
  },
  {
    name: "worker-kill",
    about: "SIGKILL and SIGSTOP of workers that run several jobs at once",
    ...steady,
    faults: { "kill worker": 3, "stop worker": 1 },
    slaves: mixedSlaves,
    procs: 2,
    concurrency: 4,
    gapMs: 800,
  },
  {
    name: "master-kill",
    about: "SIGKILL of the master; the next one runs under another runtime",
    long: true,
    ...steady,
    faults: { "kill master": 1 },
    slaves: mixedSlaves,
    masters: mixedMasters,
    gapMs: 2_500,
  },
  {
    name: "master-kill-inclusive",
    about: "the same, with a source that reads `last` as inclusive, and slaves that die too",
    ...steady,
    faults: { "kill master": 2, "kill slave": 1 },
    slaves: mixedSlaves,
    gapMs: 2_000,
    args: { ...some, reading: "inclusive" },
  },
  {
    name: "all-killed",
    about: "SIGKILL of the master and all slaves at once, while jobs run that take longer than a checkpoint",
    long: true,
    ...steady,
    faults: { "kill all": 1 },
    slaves: mixedSlaves,
    concurrency: 2,
    args: { pause: "2", long: "20:1500" },
  },
  {
    name: "master-stop",
    about: "SIGSTOP of the master: nobody is given up, nothing is repeated",
    ...steady,
    faults: { "stop master": 1 },
    slaves: mixedSlaves,
  },
  {
    name: "master-end",
    about: "SIGTERM of the master: nothing is repeated",
    long: true,
    ...steady,
    faults: { "end master": 1 },
    slaves: mixedSlaves,
    masters: mixedMasters,
  },
  {
    name: "reset",
    about: "RST to both ends",
    long: true,
    ...steady,
    faults: { "reset": 1 },
    slaves: mixedSlaves,
    gapMs: 700,
  },
  {
    name: "cut-after-n",
    about: "RST after so many bytes, in the middle of frames",
    long: true,
    ...steady,
    faults: { "cut": 1 },
    slaves: mixedSlaves,
    gapMs: 700,
  },
  {
    name: "half-open",
    about: "a connection goes silent, and another one can be made",
    long: true,
    ...steady,
    faults: { "half-open": 1 },
    slaves: mixedSlaves,
  },
  {
    name: "one-way",
    about: "bytes pass in one direction only, each in turn",
    ...steady,
    faults: { "one-way up": 1, "one-way down": 1 },
    slaves: mixedSlaves,
  },
  {
    name: "partition-heal",
    about: "nothing passes; then all that was held arrives, stale",
    ...steady,
    faults: { "partition": 3, "partition briefly": 1 },
    slaves: mixedSlaves,
  },
  {
    name: "stale-answers",
    about: "old and forged answers arrive in sessions that they are not of; masters change",
    ...steady,
    faults: { "stale answers": 5, "forged answers": 3, "kill master": 1 },
    slaves: mixedSlaves,
    gapMs: 900,
    args: { pause: "20", long: "10:300", reading: "back" },
  },
  {
    name: "slow-link",
    about: "latency, little bandwidth, a byte a segment: slower, nobody is given up, nothing is repeated",
    ...steady,
    faults: { "slow link": 1 },
    slaves: mixedSlaves,
    args: { pause: "10" },
  },
  {
    name: "bit-flips",
    about: "a bit flips in a greeting or in the head of a frame",
    ...steady,
    faults: { "flip": 1 },
    slaves: mixedSlaves,
    gapMs: 900,
  },
  {
    name: "reconnect-storm",
    about: "the master dies, and three hundred slaves come back at once",
    ...steady,
    faults: { "storm": 1 },
    slaves: ["binary", "deno"],
    gapMs: 3_000,
  },
  {
    name: "bad-jobs",
    about: "jobs that throw, exit, loop, kill and skip: just those are dead, no neighbour is charged",
    long: true,
    ...steady,
    faults: {},
    slaves: mixedSlaves,
    procs: 2,
    args: { ...some, worse: "70" },
    masterWords: strict,
  },
  {
    name: "bad-jobs-and-faults",
    about: "the same while slaves, workers and masters die",
    ...steady,
    faults: { "kill slave": 2, "kill worker": 1, "kill master": 1, "reset": 1 },
    slaves: mixedSlaves,
    procs: 2,
    args: { ...some, worse: "150" },
    masterWords: strict,
  },
  {
    name: "netns",
    about: "network namespaces: link down, blackhole routes one way, sockets killed by the kernel",
    ...steady,
    seconds: 12,
    faults: {
      "link down": 2,
      "link down briefly": 1,
      "blackhole up": 2,
      "blackhole down": 2,
      "kill sockets": 2,
    },
    slaves: ["binary", "deno"],
    namespaces: true,
  },
  {
    name: "mixed",
    about: "everything that a proxy and signals can do, bad jobs too",
    seconds: 600,
    gapMs: 2_000,
    faults: everything,
    slaves: ["binary", "bun", "deno", "binary"],
    masters: ["binary", "binary", "deno", "bun"],
    procs: 1,
    concurrency: 2,
    args: { ...some, worse: "2003" },
    masterWords: ["--timeout", "5s", "--backoff", "50ms"],
  },
];
