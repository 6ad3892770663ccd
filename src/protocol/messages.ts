import {
  creditMax,
  errorMessageCharsMax,
  hashBytes,
  idCharsMax,
  lateErrorsMax,
  nameCharsMax,
  remarkCharsMax,
  sentenceCharsMax,
} from "../lib/limits.ts";
import {
  anything,
  boolean,
  bytes,
  type Check,
  elapsedMs,
  list,
  mapOf,
  type MessageOf,
  nullable,
  oneOf,
  optional,
  ranges,
  record,
  text,
  trueOrMissing,
  type TypeOf,
  whole,
} from "./schema.ts";

// All messages, each a row: who sends it, what it does, its fields and their limits. Types and checks come from these
// rows. Whoever switches over the kinds of a sender must handle a new row, or does not compile. docs/protocol.md says
// the same in words for those who write another slave. All ranges are of seqs; times are in milliseconds.

/** The path of a plugin, between a supervisor and its workers. */
const pathCharsMax = 4_096;
/** The stack of one error; 50 lines that are longer are nobody's stack. */
const stackCharsMax = 16_384;
/** A heartbeat, a timeout or a grace: a bit more than three weeks, what a timer can wait. */
const durationMsMax = 2_147_483_647;
/** Features that a side may name, and the length of each name. */
const featuresMax = 64, featureCharsMax = 64;
/** Arguments of a run, and the length of each value. */
const argsMax = 1_000, argCharsMax = 1 << 16;
/** Worker processes of one slave. */
const procsMax = 100_000;
/** Options that a plugin exports. */
const pluginOptionsMax = 1_000;

const id = text(idCharsMax);
const name = text(nameCharsMax);
const sentence = text(sentenceCharsMax);
const remark = text(remarkCharsMax);
const number = whole(0, Number.MAX_SAFE_INTEGER);
const counted = whole(1, Number.MAX_SAFE_INTEGER);
const credit = whole(0, creditMax);
const jobCount = whole(1, creditMax);
const duration = whole(0, durationMsMax);
const args = mapOf(argsMax, text(argCharsMax));
const features = list(text(featureCharsMax), featuresMax);
const plugin = record({ name, export: name, hash: bytes(hashBytes) });

const leaseName = record({ masterId: id, number });
/** The right of one slave to run one batch. Never reused: the number counts up within one master process. */
export type LeaseName = TypeOf<typeof leaseName>;

const leaseJobs = record({ lease: leaseName, jobs: ranges });
/** Jobs of one lease: those a slave holds or has finished, or those it may keep. */
export type LeaseJobs = TypeOf<typeof leaseJobs>;

const failure = record({
  seq: number,
  /** `fatal` buries the job at once. */
  how: oneOf("threw", "timed out", "fatal"),
  message: text(errorMessageCharsMax),
  stack: text(stackCharsMax),
  durationMs: elapsedMs,
});
/** One attempt that failed at a slave. */
export type Failure = TypeOf<typeof failure>;

/**
 * An error that came after its job was acked. Written out, as the public API has it.
 *
 * `seq` is null where nobody knows which job it came from.
 */
export type LateError = Readonly<{ seq: number | null; message: string }>;
const lateError: Check<LateError> = record({ seq: nullable(number), message: text(errorMessageCharsMax) });

const answerFields = {
  lease: leaseName,
  done: ranges,
  skipped: ranges,
  failed: list(failure),
  /**
   * Jobs that may have been running when a worker died, and how it died; a sole one is charged. All suspects of that
   * death are named, in the answer of each lease that has one of them.
   */
  crash: nullable(record({ suspects: ranges, reason: sentence })),
  /** Handed back untried; nothing is spent. */
  released: ranges,
};
const answer = record(answerFields);
/**
 * What a slave says of jobs of one lease. Each job stands in at most one of the fields. One that stands in several
 * counts for the first: done, skipped, failed, crash, released.
 */
export type Answer = TypeOf<typeof answer>;

/** Errors since the `late` before: `count` in all, some of them named. */
const late = { errors: list(lateError, lateErrorsMax), count: number };

/** The texts that a long message repeats: those of the members of its lists. */
export const repeatedWords: readonly string[] = [
  ...new Set([leaseJobs, failure, lateError].flatMap(({ words = [] }) => words)),
];

export const slaveMessages = {
  /** First after WELCOME, and only then. The master answers with `keep`. */
  ready: {
    credit,
    /** All jobs that the slave holds, or finished and does not know to be saved. */
    held: list(leaseJobs),
    /** Those of them under leases of other masters that did not begin. To a master with the feature `untouched`. */
    untouched: optional(list(leaseJobs)),
  },
  /** The new total of jobs that this slave may hold. */
  credit: { credit },
  /** Settles jobs of one lease, names suspects, hands back the released. */
  answer: {
    /** Counts the answers of this session from 1. */
    number: counted,
    /** The new total, as in `credit`. */
    credit,
    ...answerFields,
  },
  /** Of these jobs, the failures that this slave reported last were its worker's doing, not the jobs'. */
  excused: { jobs: ranges },
  /** Errors that came after their job was acked. */
  late,
  /**
   * So many jobs had ended in a worker that died before it said how, and are run again here. To a master with the
   * feature `again`.
   */
  again: { count: jobCount },
  /** What this slave waits for, for people; empty once it waits no more. */
  notice: { text: remark },
  /** The slave takes nothing new from now on, and closes when what runs has ended. */
  leaving: {},
  /** The last message before a close: why, for the master's log. */
  bye: { reason: remark },
  /** Says nothing else: any byte proves that the peer is alive. */
  beat: {},
};
/** What a slave says to its master. */
export type SlaveMessage = MessageOf<typeof slaveMessages>;

export const masterMessages = {
  /** The answer to `ready`: of the jobs named there, those the slave keeps. It drops the rest and aborts them. */
  keep: { leases: list(leaseJobs) },
  /** One batch: `count` jobs numbered from `seq`, encoded one behind the other in `jobs`. */
  lease: {
    /** The lease's name is this number and this master's id. */
    number: counted,
    seq: number,
    count: jobCount,
    /** Counts from 1. */
    attempt: counted,
    /** Whether each job must have a worker, or the slave, to itself. */
    alone: oneOf("no", "in worker", "in slave"),
    /** A test at low load, whose failures charge nobody. */
    probe: boolean,
    jobs: bytes(),
  },
  /** The answers of this session up to this number are in a durable state: the slave may forget them. */
  saved: { through: number },
  /** The slave takes nothing new, hands back the untried, finishes what runs, and closes. */
  drain: {},
  /** The run is complete: the slave leaves and exits with 0. */
  dismiss: {},
  /** The last message before a close: why, for the slave's log. */
  bye: { reason: remark },
  /** As a slave's. */
  beat: {},
};
/** What a master says to a slave. */
export type MasterMessage = MessageOf<typeof masterMessages>;

export const supervisorMessages = {
  /**
   * First. The worker imports the plugin and says `loaded`, `unloadable` or `changed`; it calls none of its functions
   * yet.
   */
  load: {
    plugin: text(pathCharsMax),
    /** Empty for the default export. */
    exportName: name,
    /** What the hash of the plugin's code must be. Empty for the first worker, which says what it is. */
    hash: bytes(),
  },
  /** Once a master was found. The worker calls the plugin's `setup`, then says `prepared` or `unloadable`. */
  setup: { args, runId: id, concurrency: jobCount, timeoutMs: duration },
  /** Run these jobs in order: `count` encoded jobs numbered from `seq`. */
  slice: {
    /** Slices of a worker are numbered from 1. */
    slice: counted,
    seq: number,
    count: jobCount,
    attempt: counted,
    jobs: bytes(),
  },
  /** Hand back what has not begun. */
  withdraw: {},
  /** Fire the signal of these jobs: their lease is lost, or the grace of a stop ended. */
  abort: { jobs: ranges, why: oneOf("lost", "stop") },
  /** Finish what runs, call `teardown`, wait for what goes on all the same, exit 0. */
  quit: {
    /** Longest that the worker waits after `teardown`. */
    waitMs: duration,
    /** What `setup` opened may be broken, so `teardown` may well fail. */
    isSick: boolean,
  },
};
/** What a slave's supervisor says to one of its workers. Same frames as on the network. */
export type SupervisorMessage = MessageOf<typeof supervisorMessages>;

export const workerMessages = {
  /** First, once each has proved to the other that it is who it should be. */
  hello: { pid: counted, runtime: name },
  /** The plugin was imported and has a handler. */
  loaded: {
    hash: bytes(hashBytes),
    /** The plugin's own, as it exports them; read and judged elsewhere. */
    options: mapOf(pluginOptionsMax, anything),
  },
  /** `setup` ended: the worker takes slices. */
  prepared: {},
  /** The plugin's code is not what the other workers of this slave run; nothing of it was. The sentence says so. */
  changed: { message: sentence },
  /** The plugin did not load, or its `setup` threw; the sentence says why. */
  unloadable: { message: sentence },
  /** How jobs of one slice ended. */
  answer: {
    slice: counted,
    done: ranges,
    skipped: ranges,
    failed: list(failure),
    released: ranges,
    /**
     * How long, since the answer before, the worker had jobs to run. With the number of jobs it gives the worker's
     * speed.
     */
    busyMs: elapsedMs,
  },
  /** These jobs passed the timeout and still run: the worker takes nothing until they end. Empty: it takes jobs again. */
  overdue: { jobs: ranges },
  /** Errors that came after their job was acked. */
  late,
  /** `teardown` ended: the worker only waits for what goes on all the same. */
  resting: {},
  /** All of that has ended, or is told to be cut off: the process ends next. */
  over: {},
  /** Something threw outside of any job; the worker is about to exit. */
  broken: { message: sentence },
  /** The event loop turns. */
  beat: {},
};
/** What a worker says to its supervisor. */
export type WorkerMessage = MessageOf<typeof workerMessages>;

export const controlRequests = {
  /** Do, or tell, this. The master answers with `answer` or `refused`. */
  ask: {
    /** Chosen by the client; the reply names it. */
    id: counted,
    command: name,
    /** What the command is given; null if nothing. */
    value: nullable(remark),
  },
  /** The last message before a close: why, for the master's log. */
  bye: { reason: remark },
  /** As a slave's. */
  beat: {},
};
/** What a client of role `control` says to a master. */
export type ControlRequest = MessageOf<typeof controlRequests>;

export const controlReplies = {
  /** What became of the `ask` with this id: plain data, as the command says. */
  answer: { id: counted, result: anything },
  /** The `ask` with this id had no effect; the sentence says why. */
  refused: { id: counted, message: sentence },
  /** The last message before a close: why, for the client. */
  bye: { reason: remark },
  /** As a slave's. */
  beat: {},
};
/** What a master says to a client of role `control`. */
export type ControlReply = MessageOf<typeof controlReplies>;

/** Any message of any sender. */
export type Message =
  | SlaveMessage
  | MasterMessage
  | SupervisorMessage
  | WorkerMessage
  | ControlRequest
  | ControlReply;

// What both sides say of themselves in the handshake has room for more: fields that are not known are ignored.

export const welcome = record({
  runId: id,
  masterId: id,
  key: id,
  epoch: number,
  plugin,
  args,
  /** 0 if there is none. */
  timeoutMs: duration,
  heartbeatMs: whole(1, durationMsMax),
  graceMs: duration,
  features,
}, true);
/** WELCOME's body: what a slave must know of the run before it says `ready`. */
export type Welcome = TypeOf<typeof welcome>;

export const introduction = record({
  /** Of the slave's process, for as long as it lives. */
  slaveId: id,
  /** For people: host and pid. */
  name,
  version: name,
  procs: whole(0, procsMax),
  plugin: nullable(plugin),
  runtime: name,
  features,
  /** Its plugin is meant, though it is not the master's: `--any-plugin`. */
  anyPlugin: trueOrMissing,
}, true);
/** AUTH's info: who asks to join. */
export type Introduction = TypeOf<typeof introduction>;
