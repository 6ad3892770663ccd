import { Buffer } from "node:buffer";
import { cborItemsMax, errorMessageCharsMax } from "../base/limits.ts";
import {
  creditMax,
  durationMsMax,
  featureCharsMax,
  featuresMax,
  hashBytes,
  idCharsMax,
  lateErrorsMax,
  nameCharsMax,
  pathCharsMax,
  remarkCharsMax,
  sentenceCharsMax,
  stackCharsMax,
} from "../base/wire_limits.ts";
import {
  anything,
  boolean,
  bytes,
  type Check,
  elapsedMs,
  fields,
  list,
  nullable,
  oneOf,
  openFields,
  optional,
  ranges,
  record,
  type Shape,
  text,
  whole,
} from "./checks.ts";
import { encode } from "./codec.ts";
import { checkDensity, messageItemsMax } from "./density.ts";
import { FrameError } from "./frame_error.ts";
import { bytesHead } from "./heads.ts";
import { prefixBytes, writePrefix } from "./frames.ts";
import type {
  Failure,
  Introduction,
  LateError,
  LeaseJobs,
  LeaseName,
  MasterMessage,
  SlaveMessage,
  Welcome,
} from "./messages.ts";
import { decodeMessage } from "./value_reader.ts";
import { ValueWriter } from "./value_writer.ts";
import { prescan } from "./prescan.ts";
import type { SupervisorMessage, WorkerMessage } from "./worker_messages.ts";

type Kinds = { readonly kind: string };
/** For each kind of message, the checks of its fields: a new kind or field does not compile without its row. */
type Table<M extends Kinds> = { readonly [K in M["kind"]]: Shape<Omit<Extract<M, { kind: K }>, "kind">> };

const id = text(idCharsMax);
const name = text(nameCharsMax);
const number = whole(0, Number.MAX_SAFE_INTEGER);
const counted = whole(1, Number.MAX_SAFE_INTEGER);
const credit = whole(0, creditMax);
const duration = whole(0, durationMsMax);
const jobCount = whole(1, creditMax);

const leaseName = fields<LeaseName>({ masterId: id, number });
const leaseJobs = fields<LeaseJobs>({ lease: leaseName, jobs: ranges });
const failure = fields<Failure>({
  seq: number,
  how: oneOf("threw", "timed out", "fatal"),
  message: text(errorMessageCharsMax),
  stack: text(stackCharsMax),
  durationMs: elapsedMs,
});
const lateError = fields<LateError>({ seq: nullable(number), message: text(errorMessageCharsMax) });
const remark = text(remarkCharsMax);
const features = list(text(featureCharsMax), featuresMax);
/** Texts that a long message may hold many of: those of lists. */
const words: readonly string[] = [
  "lease",
  "jobs",
  "masterId",
  "number",
  "seq",
  "how",
  "message",
  "stack",
  "durationMs",
  "threw",
  "timed out",
  "fatal",
];
const crash = fields<{ suspects: readonly number[]; reason: string }>({
  suspects: ranges,
  reason: text(sentenceCharsMax),
});
const args = record(1_000, text(1 << 16));
const plugin = fields<Welcome["plugin"]>({ name, export: name, hash: bytes(hashBytes) });

const slaveMessages: Table<SlaveMessage> = {
  ready: { credit, held: list(leaseJobs), untouched: optional(list(leaseJobs)) },
  credit: { credit },
  answer: {
    number: counted,
    lease: leaseName,
    credit,
    done: ranges,
    skipped: ranges,
    failed: list(failure),
    crash: nullable(crash),
    released: ranges,
  },
  excused: { jobs: ranges },
  late: { errors: list(lateError, lateErrorsMax), count: number },
  again: { count: whole(1, creditMax) },
  notice: { text: remark },
  leaving: {},
  bye: { reason: remark },
  beat: {},
};

const masterMessages: Table<MasterMessage> = {
  keep: { leases: list(leaseJobs) },
  lease: {
    number: counted,
    seq: number,
    count: jobCount,
    attempt: counted,
    alone: oneOf("no", "in worker", "in slave"),
    probe: boolean,
    jobs: bytes(),
  },
  saved: { through: number },
  drain: {},
  dismiss: {},
  bye: { reason: remark },
  beat: {},
};

const supervisorMessages: Table<SupervisorMessage> = {
  load: { plugin: text(pathCharsMax), exportName: name, hash: bytes() },
  setup: { args, runId: id, concurrency: whole(1, creditMax), timeoutMs: duration },
  slice: { slice: counted, seq: number, count: jobCount, attempt: counted, jobs: bytes() },
  withdraw: {},
  abort: { jobs: ranges, why: oneOf("lost", "stop") },
  quit: { waitMs: duration, isSick: boolean },
};

const workerMessages: Table<WorkerMessage> = {
  hello: { pid: counted, runtime: name },
  loaded: { hash: bytes(hashBytes), options: record(1_000, anything) },
  prepared: {},
  changed: { message: text(sentenceCharsMax) },
  unloadable: { message: text(sentenceCharsMax) },
  answer: {
    slice: counted,
    done: ranges,
    skipped: ranges,
    failed: list(failure),
    released: ranges,
    busyMs: elapsedMs,
  },
  overdue: { jobs: ranges },
  late: { errors: list(lateError, lateErrorsMax), count: number },
  resting: {},
  over: {},
  broken: { message: text(sentenceCharsMax) },
  beat: {},
};

// What both sides say of themselves at first has room for more: fields that are not known are ignored.
const welcome = openFields<Welcome>({
  runId: id,
  masterId: id,
  key: id,
  epoch: number,
  plugin,
  args,
  timeoutMs: duration,
  heartbeatMs: whole(1, durationMsMax),
  graceMs: duration,
  features,
});

const introduction = openFields<Omit<Introduction, "anyPlugin">>({
  slaveId: id,
  name,
  version: name,
  procs: whole(0, 100_000),
  plugin: nullable(plugin),
  runtime: name,
  features,
});

/**
 * Each of these pre-scans, decodes and checks one body. What it returns holds just the fields of its type; byte
 * strings are views of the body.
 *
 * @throws {FrameError} in words, whatever the bytes are; the session is to be closed.
 */
export const parseSlaveMessage: (body: Uint8Array) => SlaveMessage = parser<SlaveMessage>(slaveMessages);
export const parseMasterMessage: (body: Uint8Array) => MasterMessage = parser<MasterMessage>(masterMessages);
export const parseSupervisorMessage: (body: Uint8Array) => SupervisorMessage = parser<SupervisorMessage>(
  supervisorMessages,
);
export const parseWorkerMessage: (body: Uint8Array) => WorkerMessage = parser<WorkerMessage>(workerMessages);

/** WELCOME's body; only to be called once its MAC held. @throws {FrameError} */
export function parseWelcome(body: Uint8Array): Welcome {
  return welcome(decodeChecked(body), "welcome");
}

/** AUTH's info; only to be called once its MAC held. @throws {FrameError} */
export function parseIntroduction(body: Uint8Array): Introduction {
  const value = decodeChecked(body);
  const checked = introduction(value, "introduction");
  return (value as { anyPlugin?: unknown }).anyPlugin === true ? { ...checked, anyPlugin: true } : checked;
}

type Message = SlaveMessage | MasterMessage | SupervisorMessage | WorkerMessage;

/** A whole frame, in memory of its own. */
export function encodeMessage(message: Message): Uint8Array {
  return Buffer.concat(encodeParts(message));
}

/**
 * The same in parts, to be sent one behind the other: jobs are not copied.
 *
 * @param jobs What `jobs` of a lease or slice are, in parts; the message's own are then not looked at.
 */
export function encodeParts(message: Message, jobs?: readonly Uint8Array[]): readonly Uint8Array[] {
  if (!("jobs" in message) || !(message.jobs instanceof Uint8Array)) return [framed(message)];
  const parts = jobs ?? [message.jobs];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const { jobs: _, ...rest } = message;
  // The last field is written as an empty byte string, whose one byte makes way for the head of the true one.
  const empty = framed({ ...rest, jobs: new Uint8Array(0) }).subarray(0, -1);
  const head = Buffer.concat([empty, bytesHead(length)]);
  writePrefix(head, head.length - prefixBytes + length);
  return [head, ...parts];
}

/** For all messages; their length is a matter of frames. */
const writer = new ValueWriter(Infinity);
const noPrefix = new Uint8Array(prefixBytes);

function framed(message: object): Uint8Array {
  writer.length = 0; // whatever became of the message before
  writer.copy(noPrefix);
  if (!writer.write(message)) writer.copy(encode(message));
  const bytes = writer.take();
  writePrefix(bytes, bytes.length - prefixBytes);
  return bytes;
}

function parser<M extends Kinds>(table: Table<M>): (body: Uint8Array) => M {
  const checks = new Map<string, Check<object>>();
  for (const [kind, shape] of Object.entries(table)) {
    checks.set(kind, fields<object>({ kind: () => kind, ...(shape as object) } as Shape<object>));
  }
  return (body) => {
    const value = decodeChecked(body);
    const kind = typeof value === "object" && value !== null ? (value as { kind?: unknown }).kind : undefined;
    const check = typeof kind === "string" ? checks.get(kind) : undefined;
    if (!check) {
      throw new FrameError(
        `Cannot accept this message: its kind is none of ${[...checks.keys()].join(", ")}`,
      );
    }
    return check(value, kind as string) as M;
  };
}

function decodeChecked(body: Uint8Array): unknown {
  prescan(body, { itemsMax: Math.min(cborItemsMax, messageItemsMax(body.length)) });
  checkDensity(body, words);
  try {
    return decodeMessage(body);
  } catch (error) {
    throw new FrameError("Cannot decode this message", { cause: error });
  }
}
