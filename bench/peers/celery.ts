import { join } from "node:path";
import type { Rig } from "../rig.ts";
import type { Load, System } from "../system.ts";
import { findRedis, redisStored, serveRedis } from "./redis.ts";
import { findAll, findModule, python, pythonEnv } from "./versions.ts";

const app = join(import.meta.dirname!, "celery_app.py");

export const celery: System = {
  id: "celery",
  label: "Celery on Redis",
  kind: "peer",
  setting:
    "one message a job, two worker processes (prefork), prefetch of 64 each as its guide advises for short " +
    `tasks, results ignored, no gossip, mingle or heartbeat; one producer. ${redisStored}`,
  jobs: { small: 3_000, row: 3_000 },
  find: () =>
    findAll(findRedis(), findModule("celery", "python3-celery"), findModule("redis", "python3-redis")),
  async run({ shape, jobs }: Load, rig: Rig) {
    const broker = `redis://127.0.0.1:${await serveRedis(rig)}/0`;
    const env = { ...pythonEnv, PYTHONPATH: import.meta.dirname!, BROKER: broker, JOBS: String(jobs) };
    const quiet = ["--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"];
    const worker = rig.start(
      python,
      ["-m", "celery", "-A", "celery_app", "worker", "-c", "2", ...quiet],
      env,
    );
    await worker.printed(/^ready$/m);
    return rig.measure(rig.start(python, [app, shape, String(jobs)], env), worker);
  },
};
