import { Buffer } from "node:buffer";
import { encode } from "../../src/protocol/cbor.ts";
import * as tables from "../../src/protocol/messages.ts";
import type {
  ControlReply,
  ControlRequest,
  Failure,
  MasterMessage,
  Message,
  SlaveMessage,
  SupervisorMessage,
  WorkerMessage,
} from "../../src/protocol/messages.ts";
import {
  parseControlReply,
  parseControlRequest,
  parseMasterMessage,
  parseSlaveMessage,
  parseSupervisorMessage,
  parseWorkerMessage,
} from "../../src/protocol/parse.ts";
import type { Messages } from "../../src/protocol/schema.ts";

// Messages of every kind, for all tests that go through them.

const lease = { masterId: "m-1", number: 7 };
const hash = new Uint8Array(32).fill(9);
export const failure: Failure = { seq: 2 ** 40, how: "threw", message: "no", stack: "at x", durationMs: 1.5 };
/** Three jobs, one behind the other. */
export const threeJobs: Uint8Array = new Uint8Array(
  Buffer.concat([encode({ id: 1 }), encode("two"), encode([3])]),
);

/** An answer with something in each of its fields, and one with nothing. */
export const fullAnswer: SlaveMessage = {
  kind: "answer",
  number: 1,
  lease,
  credit: 5,
  done: [0, 2],
  skipped: [2, 3],
  failed: [failure, { ...failure, seq: 5, how: "fatal" }],
  crash: { suspects: [4, 6], reason: "killed" },
  released: [6, 9, 10, 2 ** 52],
};
export const emptyAnswer: SlaveMessage = {
  kind: "answer",
  number: 2,
  lease,
  credit: 5,
  done: [],
  skipped: [],
  failed: [],
  crash: null,
  released: [],
};

const slaveMessages: readonly SlaveMessage[] = [
  { kind: "ready", credit: 2, held: [] },
  { kind: "ready", credit: 10_000_000, held: [{ lease, jobs: [0, 5, 9, 10] }, { lease, jobs: [] }] },
  { kind: "ready", credit: 3, held: [{ lease, jobs: [0, 9] }], untouched: [{ lease, jobs: [5, 9] }] },
  { kind: "credit", credit: 0 },
  fullAnswer,
  emptyAnswer,
  { kind: "excused", jobs: [0, 2, 5, 6] },
  { kind: "again", count: 10_000_000 },
  { kind: "late", errors: [{ seq: 7, message: "gone" }, { seq: null, message: "" }], count: 2 ** 40 },
  { kind: "notice", text: "worker 123 is in setup since 12 s" },
  { kind: "leaving" },
  { kind: "bye", reason: "drained" },
  { kind: "beat" },
];

export const leased: MasterMessage = {
  kind: "lease",
  number: 1,
  seq: 2 ** 40,
  count: 3,
  attempt: 1,
  alone: "in worker",
  probe: false,
  jobs: threeJobs,
};
const masterMessages: readonly MasterMessage[] = [
  { kind: "keep", leases: [{ lease, jobs: [] }] },
  { kind: "keep", leases: [{ lease, jobs: [0, 1] }] },
  leased,
  { kind: "saved", through: 12 },
  { kind: "drain" },
  { kind: "dismiss" },
  { kind: "bye", reason: "replaced" },
  { kind: "beat" },
];

const supervisorMessages: readonly SupervisorMessage[] = [
  { kind: "load", plugin: "/x/posts.ts", exportName: "", hash: new Uint8Array(0) },
  { kind: "setup", args: { a: "b" }, runId: "r", concurrency: 1, timeoutMs: 0 },
  { kind: "slice", slice: 1, seq: 0, count: 3, attempt: 1, jobs: threeJobs },
  { kind: "withdraw" },
  { kind: "abort", jobs: [1, 2], why: "lost" },
  { kind: "quit", waitMs: 5_000, isSick: false },
];

const workerMessages: readonly WorkerMessage[] = [
  { kind: "hello", pid: 12, runtime: "bun" },
  { kind: "loaded", hash, options: { size: 1, odd: { deep: [new Date(0), 1n, new Set(["x"])] } } },
  { kind: "prepared" },
  { kind: "changed", message: "edited" },
  { kind: "unloadable", message: "no handleJob" },
  { kind: "answer", slice: 1, done: [0, 3], skipped: [], failed: [failure], released: [], busyMs: 3.25 },
  { kind: "overdue", jobs: [] },
  { kind: "late", errors: [{ seq: 7, message: "gone" }], count: 1 },
  { kind: "resting" },
  { kind: "over" },
  { kind: "broken", message: "rejected" },
  { kind: "beat" },
];

export const asked: ControlRequest = { kind: "ask", id: 1, command: "pause", value: null };
const controlRequests: readonly ControlRequest[] = [
  asked,
  { kind: "ask", id: 2 ** 53 - 1, command: "buffer", value: "x".repeat(1_000) },
  { kind: "bye", reason: "told" },
  { kind: "beat" },
];

const controlReplies: readonly ControlReply[] = [
  { kind: "answer", id: 1, result: { paused: true, slaves: [{ name: "a:1", rate: 0.5, at: new Date(0) }] } },
  { kind: "answer", id: 2, result: null },
  { kind: "refused", id: 3, message: "there is no such command" },
  { kind: "bye", reason: "the run is complete" },
  { kind: "beat" },
];

/** What one side may say: its messages here, who reads them, and its rows of the schema. */
export type Sender = Readonly<{
  who: string;
  messages: readonly Message[];
  parse: (body: Uint8Array) => Message;
  rows: Messages;
}>;

export const senders: readonly Sender[] = [
  { who: "slave", messages: slaveMessages, parse: parseSlaveMessage, rows: tables.slaveMessages },
  { who: "master", messages: masterMessages, parse: parseMasterMessage, rows: tables.masterMessages },
  {
    who: "supervisor",
    messages: supervisorMessages,
    parse: parseSupervisorMessage,
    rows: tables.supervisorMessages,
  },
  { who: "worker", messages: workerMessages, parse: parseWorkerMessage, rows: tables.workerMessages },
  {
    who: "control request",
    messages: controlRequests,
    parse: parseControlRequest,
    rows: tables.controlRequests,
  },
  { who: "control reply", messages: controlReplies, parse: parseControlReply, rows: tables.controlReplies },
];
