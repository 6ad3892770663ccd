import { encode } from "../../../src/protocol/cbor.ts";
import type {
  ControlReply,
  ControlRequest,
  Failure,
  MasterMessage,
  SlaveMessage,
  SupervisorMessage,
  WorkerMessage,
} from "../../../src/protocol/messages.ts";
import { encodeMessage } from "../../../src/protocol/parse.ts";
import { introduction, welcome } from "../../protocol/samples.ts";
import { join } from "../mutate.ts";

const lease = { masterId: "m1", number: 1 };
const failure: Failure = { seq: 4, how: "threw", message: "no", stack: "at x", durationMs: 1.5 };
const hash = new Uint8Array(32).fill(3);
/** Three jobs, one behind the other. */
export const threeJobs: Uint8Array = join(encode({ id: 1 }), encode("two"), encode([3]));

const slaveMessages: readonly SlaveMessage[] = [
  { kind: "ready", credit: 2, held: [] },
  { kind: "ready", credit: 2, held: [{ lease, jobs: [0, 9] }], untouched: [{ lease, jobs: [3, 9] }] },
  { kind: "ready", credit: 10_000_000, held: [{ lease, jobs: [0, 3, 5, 9] }, { lease, jobs: [] }] },
  { kind: "credit", credit: 0 },
  {
    kind: "answer",
    number: 1,
    lease,
    credit: 7,
    done: [0, 2],
    skipped: [2, 3],
    failed: [failure, { ...failure, seq: 5, how: "fatal" }],
    crash: { suspects: [6, 8], reason: "exited (3)" },
    released: [9, 2 ** 52],
  },
  {
    kind: "answer",
    number: 2,
    lease,
    credit: 1,
    done: [],
    skipped: [],
    failed: [],
    crash: null,
    released: [],
  },
  { kind: "excused", jobs: [4, 6] },
  { kind: "again", count: 3 },
  { kind: "late", errors: [{ seq: 4, message: "no" }, { seq: null, message: "" }], count: 3 },
  { kind: "notice", text: "worker 7 is in setup since 12 s" },
  { kind: "leaving" },
  { kind: "bye", reason: "drained" },
  { kind: "beat" },
];

const masterMessages: readonly MasterMessage[] = [
  { kind: "keep", leases: [{ lease, jobs: [0, 1] }] },
  {
    kind: "lease",
    number: 1,
    seq: 0,
    count: 3,
    attempt: 1,
    alone: "in worker",
    probe: true,
    jobs: threeJobs,
  },
  { kind: "saved", through: 4 },
  { kind: "drain" },
  { kind: "dismiss" },
  { kind: "bye", reason: "" },
];

const supervisorMessages: readonly SupervisorMessage[] = [
  { kind: "load", plugin: "/p.ts", exportName: "", hash: new Uint8Array(0) },
  { kind: "setup", args: { a: "b" }, runId: "r", concurrency: 1, timeoutMs: 0 },
  { kind: "slice", slice: 1, seq: 0, count: 3, attempt: 1, jobs: threeJobs },
  { kind: "withdraw" },
  { kind: "abort", jobs: [1, 2], why: "lost" },
  { kind: "quit", waitMs: 5_000, isSick: false },
];

const workerMessages: readonly WorkerMessage[] = [
  { kind: "hello", pid: 7, runtime: "bun" },
  { kind: "loaded", hash, options: { size: 1, odd: { deep: [new Date(0), 1n, new Set(["x"])] } } },
  { kind: "prepared" },
  { kind: "changed", message: "no" },
  { kind: "unloadable", message: "no" },
  { kind: "answer", slice: 1, done: [0, 1], skipped: [], failed: [failure], released: [], busyMs: 0.5 },
  { kind: "overdue", jobs: [] },
  { kind: "broken", message: "no" },
];

const controlRequests: readonly ControlRequest[] = [
  { kind: "ask", id: 1, command: "pause", value: null },
  { kind: "ask", id: 2, command: "buffer", value: "500" },
  { kind: "bye", reason: "told" },
];

const controlReplies: readonly ControlReply[] = [
  { kind: "answer", id: 1, result: { paused: true, slaves: [{ name: "a:1", rate: 0.5 }], at: new Date(0) } },
  { kind: "refused", id: 2, message: "there is no such command" },
  { kind: "bye", reason: "" },
];

/** A body of every kind, with the number of its reader in messages.ts. */
export function messageSamples(): { reader: number; body: Uint8Array }[] {
  const sets = [
    slaveMessages,
    masterMessages,
    supervisorMessages,
    workerMessages,
    controlRequests,
    controlReplies,
  ];
  const bodies = sets.map((set) => set.map((message) => encodeMessage(message).subarray(4)));
  // As the corpus numbers them: WELCOME and AUTH are 4 and 5.
  bodies.splice(4, 0, [encode(welcome)], [encode(introduction)]);
  return bodies.flatMap((set, reader) => set.map((body) => ({ reader, body })));
}
