import { beanstalkd } from "./peers/beanstalkd.ts";
import { bullmq } from "./peers/bullmq.ts";
import { celery } from "./peers/celery.ts";
import { manager } from "./peers/manager.ts";
import { natsPacked, natsSingle } from "./peers/nats.ts";
import { parallel } from "./peers/parallel.ts";
import type { System } from "./system.ts";
import { findTaskmaster, runBareLoop, runTaskmaster, type Setup, type Start } from "./taskmaster.ts";

/** The bare loop under the runtime of each start, by id. */
const bareLoops: Readonly<Record<Start, string>> = { binary: "bare", deno: "bare-deno" };

/**
 * Jobs of one round, by runtime: what is compiled in the first seconds is a small part of it. Under Deno half as
 * many, for a round must not last for ever.
 */
export const jobsOf: Readonly<Record<Start, System["jobs"]>> = {
  binary: { small: 30_000_000, row: 3_000_000 },
  deno: { small: 15_000_000, row: 1_500_000 },
};

/** The configuration that peers are compared with. */
export const mainId = "run";

const plain: Setup = { start: "binary", command: "run", procs: 1, member: "default" };

export const systems: readonly System[] = [
  bareLoop("bare", "bare loop", "binary"),
  {
    ...bareLoop("bare-plain", "bare loop as it comes, with Nagle's delay and Bun's memory", "binary", false),
    bareLoop: "bare",
  },
  taskmaster(mainId, "`run`, one worker", {}),
  taskmaster("run-2", "`run`, two workers", { procs: 2 }),
  taskmaster("master-slave", "`master` and `slave`, one worker", { command: "master" }),
  taskmaster("master-slave-2", "`master` and `slave`, two workers", { command: "master", procs: 2 }),
  taskmaster("tls", "`master` and `slave` over TLS, one worker", { command: "master", tls: true }),
  taskmaster("async-source", "`run`, async `getJobs`", { member: "asyncSource" }),
  taskmaster("async-handler", "`run`, async `handleJob`", { member: "asyncHandler" }),
  taskmaster("awaiting-handler", "`run`, async `handleJob` that awaits", { member: "awaitingHandler" }),
  bareLoop("bare-deno", "bare loop under Deno", "deno"),
  taskmaster("deno", "`run` under Deno, one worker", { start: "deno" }),
  taskmaster("deno-2", "`run` under Deno, two workers", { start: "deno", procs: 2 }),
  natsPacked,
  beanstalkd,
  natsSingle,
  bullmq,
  manager,
  celery,
  parallel,
];

function taskmaster(id: string, label: string, differs: Partial<Setup>): System {
  const setup = { ...plain, ...differs };
  return {
    id,
    label,
    kind: "taskmaster",
    bareLoop: bareLoops[setup.start],
    setting: "",
    jobs: jobsOf[setup.start],
    find: () => findTaskmaster(setup.start),
    run: (load, rig) => runTaskmaster(setup, load, rig),
  };
}

function bareLoop(id: string, label: string, start: Start, isTuned = true): System {
  return {
    id,
    label,
    kind: "bare loop",
    setting: "",
    jobs: jobsOf[start],
    find: () => ({ version: start }),
    run: (load, rig) => runBareLoop(start, load, rig, isTuned),
  };
}
