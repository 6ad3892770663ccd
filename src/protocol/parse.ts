import { Buffer } from "node:buffer";
import {
  cborItemsMax,
  creditMax,
  errorMessageCharsMax,
  hashBytes,
  idCharsMax,
  lateErrorsMax,
  nameCharsMax,
  remarkCharsMax,
  sentenceCharsMax,
} from "../lib/limits.ts";
import type { Ranges } from "../lib/ranges.ts";
import { decodeMessage } from "./cbor_reader.ts";
import { FrameError, prescan } from "./cbor_scan.ts";
import { bytesHead } from "./cbor_shapes.ts";
import { ValueWriter } from "./cbor_writer.ts";
import { encode } from "./codec.ts";
import { checkDensity, messageItemsMax, prefixBytes, writePrefix } from "./frames.ts";
import type {
  Failure,
  Introduction,
  LateError,
  LeaseJobs,
  LeaseName,
  MasterMessage,
  SlaveMessage,
  SupervisorMessage,
  Welcome,
  WorkerMessage,
} from "./messages.ts";

/** The path of a plugin, between a supervisor and its workers. */
const pathCharsMax = 4_096;
/** The stack of one error; 50 lines that are longer are nobody's stack. */
const stackCharsMax = 16_384;
/** A heartbeat, a timeout or a grace: a bit more than three weeks, what a timer can wait. */
const durationMsMax = 2_147_483_647;
/** Features that a side may name, and the length of each name. */
const featuresMax = 64, featureCharsMax = 64;

/** Turns a decoded value into what a field holds, or refuses it. `field` is for the words only. */
type Check<T> = (value: unknown, field: string) => T;

/** What an absent field is, in the check of one that may be absent. */
const absent = Symbol("absent");

/** Undefined where the field is absent, else what passes `check`. */
function optional<T>(check: Check<T>): Check<T | undefined> {
  return Object.assign((value: unknown, field: string) => check(value, field), { [absent]: true });
}

/** The checks of all fields of one record. */
type FieldChecks<R> = { readonly [F in keyof R]-?: Check<R[F]> };

/** A whole number from `min` to `max`; 64-bit encodings arrive as bigint. */
function whole(min: number, max: number): Check<number> {
  return (value, field) => {
    const number = typeof value === "bigint" ? Number(value) : value;
    if (typeof number !== "number" || !Number.isSafeInteger(number)) throw wrong(field, "is no whole number");
    if (number < min || number > max) throw wrong(field, `is ${number}, not within ${min} to ${max}`);
    return number;
  };
}

/** A number of milliseconds, with fractions, from 0. */
const elapsedMs: Check<number> = (value, field) => {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number !== "number" || !(number >= 0 && number < Infinity)) throw wrong(field, "is no duration");
  return number;
};

/** Text of at most `charsMax` UTF-16 units. */
function text(charsMax: number): Check<string> {
  return (value, field) => {
    if (typeof value !== "string") throw wrong(field, "is no text");
    if (value.length > charsMax) throw wrong(field, `has ${value.length} characters, more than ${charsMax}`);
    return value;
  };
}

/** Any byte string; or, with `length`, one of just that many bytes. */
function bytes(length?: number): Check<Uint8Array> {
  return (value, field) => {
    if (!(value instanceof Uint8Array)) throw wrong(field, "is no byte string");
    if (length !== undefined && value.length !== length) {
      throw wrong(field, `has ${value.length} bytes, not ${length}`);
    }
    return value;
  };
}

/** One of these words. */
function oneOf<const W extends string>(...words: readonly W[]): Check<W> {
  return (value, field) => {
    if (!words.includes(value as W)) throw wrong(field, `is none of ${words.join(", ")}`);
    return value as W;
  };
}

const boolean: Check<boolean> = (value, field) => {
  if (typeof value !== "boolean") throw wrong(field, "is neither true nor false");
  return value;
};

/** Whole numbers as half-open intervals, ascending, neither empty nor touching. */
const ranges: Check<Ranges> = (value, field) => {
  if (!Array.isArray(value) || value.length % 2 !== 0) throw wrong(field, "is no list of pairs");
  const numbers = value.map((bound) => typeof bound === "bigint" ? Number(bound) : bound);
  let last = -1;
  for (let index = 0; index < numbers.length; index++) {
    const bound: unknown = numbers[index];
    if (typeof bound !== "number" || !Number.isSafeInteger(bound)) {
      throw wrong(field, "has a bound that is no whole number");
    }
    if (bound <= last) throw wrong(field, "is not ascending");
    last = bound;
  }
  return numbers;
};

/** A list of at most `membersMax` members that pass `check`. */
function list<T>(check: Check<T>, membersMax = Infinity): Check<readonly T[]> {
  return (value, field) => {
    if (!Array.isArray(value)) throw wrong(field, "is no list");
    if (value.length > membersMax) {
      throw wrong(field, `has ${value.length} members, more than ${membersMax}`);
    }
    return value.map((member) => check(member, field));
  };
}

/** Null, or what passes `check`. */
function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, field) => value === null ? null : check(value, field);
}

/** A plain map from text to what passes `check`. */
function record<T>(entriesMax: number, check: Check<T>): Check<Readonly<Record<string, T>>> {
  return (value, field) => {
    const entries = Object.entries(plainObject(value, field));
    if (entries.length > entriesMax) {
      throw wrong(field, `has ${entries.length} entries, more than ${entriesMax}`);
    }
    return Object.fromEntries(
      entries.map(([key, member]) => [key, check(member, `${field}.${key.slice(0, 40)}`)]),
    );
  };
}

/** Anything at all: what a plugin exports, shown and read as such elsewhere. */
const anything: Check<unknown> = (value) => value;

/** A record with these fields. What else it holds is ignored. */
function openFields<R>(shape: FieldChecks<R>): Check<R> {
  return recordOf(shape, true);
}

/** A record with just these fields. */
function fields<R>(shape: FieldChecks<R>): Check<R> {
  return recordOf(shape, false);
}

function recordOf<R>(shape: FieldChecks<R>, isOpen: boolean): Check<R> {
  const names = Object.keys(shape) as (keyof R & string)[];
  return (value, field) => {
    const given = plainObject(value, field);
    const checked = {} as R;
    let absences = 0;
    for (const name of names) {
      if (Object.hasOwn(given, name)) checked[name] = shape[name](given[name], `${field}.${name}`);
      else if (absent in shape[name]) absences++;
      else throw wrong(`${field}.${name}`, "is missing");
    }
    if (!isOpen && Object.keys(given).length !== names.length - absences) {
      throw wrong(field, `has fields besides ${names.join(", ")}`);
    }
    return checked;
  };
}

function plainObject(value: unknown, field: string): Record<string, unknown> {
  const isPlain = typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain) throw wrong(field, "is no map");
  return value as Record<string, unknown>;
}

function wrong(field: string, what: string): FrameError {
  return new FrameError(`Cannot accept this message: ${field} ${what}`);
}

type Kinds = { readonly kind: string };
/** For each kind of message, the checks of its fields: a new kind or field does not compile without its row. */
type Table<M extends Kinds> = {
  readonly [K in M["kind"]]: FieldChecks<Omit<Extract<M, { kind: K }>, "kind">>;
};

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
    checks.set(kind, fields<object>({ kind: () => kind, ...(shape as object) } as FieldChecks<object>));
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
