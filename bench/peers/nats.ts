// NATS JetStream: a stream with work-queue retention on disk, one job a message or 256 packed by hand. As a program
// it is one side of the measurement:
//   bun bench/peers/nats.ts produce|consume PORT SHAPE JOBS JOBS_A_MESSAGE
import { join } from "node:path";
import process from "node:process";
import { decode, encode } from "cbor-x/index-no-eval";
import type { Rig } from "../rig.ts";
import { makerOf } from "../rows.ts";
import type { Load, System } from "../system.ts";
import { produceAndConsume } from "./sides.ts";
import { findAll, findLibrary, findProgram } from "./versions.ts";

/** What is used of npm's `nats`. */
type Nats = {
  connect(options: { port: number }): Promise<Connection>;
  AckPolicy: { Explicit: string };
  RetentionPolicy: { Workqueue: string };
  StorageType: { File: string };
};
type Connection = { jetstream(): JetStream; jetstreamManager(): Promise<Manager>; close(): Promise<void> };
type JetStream = {
  publish(subject: string, data: Uint8Array): Promise<unknown>;
  consumers: { get(stream: string, name: string): Promise<Consumer> };
};
type Manager = {
  streams: { add(config: object): Promise<unknown> };
  consumers: { add(stream: string, config: object): Promise<unknown> };
};
type Consumer = { consume(options: { max_messages: number }): Promise<AsyncIterable<Message>> };
type Message = { data: Uint8Array; ack(): void; ackAck(): Promise<boolean> };

/** Messages published and not confirmed. */
const publishedOf = (jobsPerMessage: number) => jobsPerMessage === 1 ? 1000 : 32;
/** Messages fetched and not acknowledged; 100 is the client's default. */
const fetchedOf = (jobsPerMessage: number) => jobsPerMessage === 1 ? 1000 : 100;

const stored = "The stream is on disk, synced every 2 minutes, as it is by default";
export const natsSingle = nats("nats", "NATS JetStream", 1, {
  jobs: { small: 120_000, row: 120_000 },
  setting:
    "one job a message, an ack for each; work-queue stream, pull consumer; 1,000 messages under way; one " +
    `producer, one consumer. ${stored}`,
});
export const natsPacked = nats("nats-packed", "NATS JetStream, 256 packed", 256, {
  jobs: { small: 10_000_000, row: 2_000_000 },
  setting:
    "256 jobs packed into a message by hand, with cbor-x, and acknowledged together: one that fails fails 256; " +
    `32 messages published and not confirmed, 100 fetched; one producer, one consumer. ${stored}`,
});

function nats(
  id: string,
  label: string,
  jobsPerMessage: number,
  rest: Pick<System, "jobs" | "setting">,
): System {
  return {
    id,
    label,
    kind: "peer",
    ...rest,
    find: () => findAll(findProgram("nats-server", ["--version"], "nats-server"), findLibrary("nats")),
    async run({ shape, jobs }: Load, rig: Rig) {
      const data = join(rig.folder, "jetstream");
      const port = await rig.serve(
        "nats-server",
        (port) => ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", data],
      );
      return produceAndConsume(rig, import.meta.filename!, [port, shape, jobs, jobsPerMessage]);
    },
  };
}

async function produce(
  connection: Connection,
  make: (id: number) => unknown,
  jobs: number,
  jobsPerMessage: number,
): Promise<void> {
  const jetstream = connection.jetstream();
  const window = publishedOf(jobsPerMessage);
  const underWay: Promise<unknown>[] = [];
  console.log("begin");
  for (let id = 0; id < jobs;) {
    const packed: unknown[] = [];
    for (const end = Math.min(jobs, id + jobsPerMessage); id < end; id++) packed.push(make(id));
    underWay.push(jetstream.publish("jobs", encode(packed)));
    if (underWay.length === window) await underWay.shift();
  }
  await Promise.all(underWay);
  await connection.close();
}

async function consume(
  { AckPolicy, RetentionPolicy, StorageType }: Nats,
  connection: Connection,
  jobs: number,
  jobsPerMessage: number,
): Promise<void> {
  const manager = await connection.jetstreamManager();
  const [retention, storage] = [RetentionPolicy.Workqueue, StorageType.File];
  await manager.streams.add({ name: "jobs", subjects: ["jobs"], retention, storage });
  const acks = { ack_policy: AckPolicy.Explicit, max_ack_pending: 10_000 };
  await manager.consumers.add("jobs", { durable_name: "workers", ...acks });
  const consumer = await connection.jetstream().consumers.get("jobs", "workers");
  const messages = await consumer.consume({ max_messages: fetchedOf(jobsPerMessage) });
  console.log("ready");
  let handled = 0;
  for await (const message of messages) {
    for (const job of decode(message.data) as unknown[]) if (job !== undefined) handled++;
    if (handled < jobs) {
      message.ack();
      continue;
    }
    // acks of one connection arrive in order: with the last, all have
    await message.ackAck();
    break;
  }
  console.log("end");
  await connection.close();
}

if (import.meta.main) {
  const [side, port, shape = "", jobs, jobsPerMessage] = process.argv.slice(2);
  const name = "nats"; // not a dependency of the project: neither resolved nor typed when it is checked
  const library: Nats = await import(name);
  const connection = await library.connect({ port: Number(port) });
  if (side === "produce") await produce(connection, makerOf(shape), Number(jobs), Number(jobsPerMessage));
  else await consume(library, connection, Number(jobs), Number(jobsPerMessage));
}
