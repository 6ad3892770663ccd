// BullMQ on Redis. As a program it is one side of the measurement:
//   bun bench/peers/bullmq.ts produce|consume PORT SHAPE JOBS
import process from "node:process";
import type { Rig } from "../rig.ts";
import { makerOf } from "../rows.ts";
import type { Load, System } from "../system.ts";
import { findRedis, redisStored, serveRedis } from "./redis.ts";
import { produceAndConsume } from "./sides.ts";
import { findAll, findLibrary } from "./versions.ts";

/** What is used of npm's `bullmq`. */
type BullMq = {
  Queue: new (name: string, options: object) => Queue;
  Worker: new (name: string, handle: (job: { data: unknown }) => Promise<void>, options: object) => Worker;
};
type Queue = {
  waitUntilReady(): Promise<unknown>;
  addBulk(jobs: { name: string; data: unknown }[]): Promise<unknown>;
  close(): Promise<void>;
};
type Worker = {
  waitUntilReady(): Promise<unknown>;
  on(event: "completed", call: () => void): void;
  close(): Promise<void>;
};

const bulkJobs = 1000;
const concurrency = 200;

export const bullmq: System = {
  id: "bullmq",
  label: "BullMQ on Redis",
  kind: "peer",
  setting: `\`addBulk\` of ${bulkJobs} jobs at a time, one worker process with concurrency ${concurrency}, ` +
    `\`removeOnComplete\`, one producer. ${redisStored}`,
  jobs: { small: 100_000, row: 100_000 },
  find: () => findAll(findRedis(), findLibrary("bullmq"), findLibrary("ioredis")),
  async run({ shape, jobs }: Load, rig: Rig) {
    const port = await serveRedis(rig);
    return produceAndConsume(rig, import.meta.filename!, [port, shape, jobs]);
  },
};

async function produce(queue: Queue, make: (id: number) => unknown, jobs: number): Promise<void> {
  await queue.waitUntilReady();
  console.log("begin");
  for (let id = 0; id < jobs;) {
    const bulk: { name: string; data: unknown }[] = [];
    for (const end = Math.min(jobs, id + bulkJobs); id < end; id++) {
      bulk.push({ name: "job", data: make(id) });
    }
    await queue.addBulk(bulk);
  }
  await queue.close();
}

async function consume(worker: Worker, jobs: number): Promise<void> {
  let completed = 0;
  worker.on("completed", () => {
    if (++completed < jobs) return;
    console.log("end");
    worker.close();
  });
  await worker.waitUntilReady();
  console.log("ready");
}

if (import.meta.main) {
  const [side, port, shape = "", jobs] = process.argv.slice(2);
  const name = "bullmq"; // not a dependency of the project: neither resolved nor typed when it is checked
  const { Queue, Worker }: BullMq = await import(name);
  const connection = { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: null };
  if (side === "produce") {
    const defaultJobOptions = { removeOnComplete: true };
    await produce(new Queue("jobs", { connection, defaultJobOptions }), makerOf(shape), Number(jobs));
  } else {
    await consume(new Worker("jobs", async () => {}, { connection, concurrency }), Number(jobs));
  }
}
